//! The project's tasks: `cargo xtask test`, `gen`, `bench`, `chart`, `image`, `cluster`, `tool`.
//!
//! A task needs nothing but cargo and what `build-essential` installs; what else it can use (rustfmt, clippy, k6, HAProxy)
//! it says how to get.

mod bench;
mod chart;
mod cluster;
mod generate;
mod image;
mod proto;
mod report;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    tools::Tool,
    workspace::{Workspace, say},
};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Check everything: formatting, clippy, generated files, tests, documentation.
    Test,
    /// Write the generated files that are committed.
    Gen {
        /// Change nothing; fail if a file is stale.
        #[arg(long)]
        check: bool,
    },
    /// Measure (release build): cold-start, proxy, hold. Results go to loadtest/results/.
    Bench {
        /// The benchmark and its own flags; `cargo xtask bench cold-start --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Test the Helm charts (lint, rendered cases, refused values). UPDATE_GOLDEN=1 writes the rendered cases anew.
    Chart,
    /// Build the container image as an archive, without a container engine.
    Image(image::Args),
    /// Print where a program is that tasks use, after getting it where it is not there yet.
    Tool {
        /// Which one.
        tool: Tool,
    },
    /// A real Kubernetes on this machine: build, up, test, down. Needs root, but for `test` with KUBECONFIG set.
    Cluster {
        /// What to do with it; `cargo xtask cluster --help` lists it.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let workspace = Workspace::find()?;
    match cli.task {
        Task::Test => test::run(&workspace),
        Task::Gen { check: false } => generate::write(&workspace),
        Task::Gen { check: true } => generate::check(&workspace),
        Task::Bench { arguments } => bench::run(&workspace, &arguments),
        Task::Chart => chart::run(&workspace),
        Task::Image(args) => image::run(&workspace, args),
        Task::Tool { tool } => {
            say(tool.path()?.display())?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Cluster { arguments } => cluster::run(&workspace, &arguments),
    }
}
