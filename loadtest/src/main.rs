//! The benchmarks behind `cargo xtask bench`.
//!
//! Each starts the release build of `rouse` as a user would (`rouse local`), drives it over its real protocols, prints a table
//! and writes the same as Markdown and JSON. The processes that make load or answer it are this program again, under the
//! hidden commands `generate` and `serve`, so that nothing but Rouse's process is charged with Rouse's work.

mod activation;
mod affinity;
mod backend;
mod client;
mod cold_start;
mod generator;
mod haproxy;
mod hold;
mod k6;
mod manifests;
mod procfs;
mod proxy;
mod results;
mod rouse_process;
mod stats;
mod table;
mod wait;

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

/// Measures Rouse.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Wakes applications from zero: how long until the wake is signalled, until the application is reached, until the answer.
    ColdStart(cold_start::Args),
    /// CPU per proxied request, beside HAProxy.
    Proxy(proxy::Args),
    /// Resident memory per held request.
    Hold(hold::Args),
    /// Makes load; a benchmark starts it as a process of its own.
    #[command(hide = true)]
    Generate(generator::Args),
    /// Answers load; a benchmark starts it as a process of its own.
    #[command(hide = true)]
    Serve(backend::Args),
}

/// What every benchmark takes.
#[derive(Debug, Clone, clap::Args)]
struct Common {
    /// The program to measure.
    #[arg(long, env = "ROUSE_BIN", value_name = "FILE")]
    rouse: PathBuf,
    /// Where the results are written.
    #[arg(long, value_name = "DIRECTORY", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    results: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match &cli.command {
        // Before the runtime starts, whose threads take over what is set here.
        Command::Generate(generator::Args { cpu: Some(cpu), .. })
        | Command::Serve(backend::Args { cpu: Some(cpu), .. }) => affinity::pin(&[*cpu])?,
        _ => {}
    }
    // One thread: the processors belong to what is measured.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        match cli.command {
            Command::ColdStart(args) => cold_start::run(args).await,
            Command::Proxy(args) => proxy::run(args).await,
            Command::Hold(args) => hold::run(args).await,
            Command::Generate(args) => generator::run(args).await,
            Command::Serve(args) => backend::run(args).await,
        }
    })
}

/// Writes a line for the person who reads along.
fn say(line: impl std::fmt::Display) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{line}").context("write to standard output")
}
