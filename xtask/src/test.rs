//! `cargo xtask test`: everything that has to hold before a change lands.
//!
//! A step that fails does not stop the ones after it, so that one run tells everything. The last line is
//! `N passed, N failed`.

use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{Command, ExitCode, Stdio},
};

use anyhow::Context as _;

use crate::{
    generate,
    report::{Outcome, Report, TestCounts},
    workspace::{Workspace, say},
};

/// Runs every step and prints the report.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<ExitCode> {
    let mut steps = Steps {
        report: Report::default(),
    };
    steps.run("formatting", || {
        let check = workspace.cargo(["fmt", "--all", "--", "--check"]);
        optional(workspace, "fmt", "rustfmt", check)
    })?;
    steps.run("clippy", || {
        let arguments = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ];
        optional(workspace, "clippy", "clippy", workspace.cargo(arguments))
    })?;
    steps.run("generated files", || {
        let stale = generate::stale_proto_files(workspace)?;
        Ok(match stale.first() {
            None => Outcome::Passed,
            Some(path) => Outcome::Failed(format!(
                "{} is stale, `cargo xtask gen` writes it",
                path.display()
            )),
        })
    })?;
    let is_built = steps.run("build", || {
        // The same targets as the tests, so that both share one set of features: nothing is built twice, and the program
        // that the process tests start is there.
        plain(workspace.cargo(["build", "--workspace", "--locked", "--lib", "--bins", "--tests"]))
    })?;
    steps.run("tests", || {
        if !is_built {
            return Ok(Outcome::Failed("not run, because the build failed".to_owned()));
        }
        let mut tests = workspace.cargo(["test", "--workspace", "--locked", "--no-fail-fast"]);
        tests
            .env("ROUSE_BIN", workspace.program("debug", "rouse"))
            .env_remove("UPDATE_GOLDEN");
        counted(tests)
    })?;
    steps.run("documentation", || {
        let mut doc = workspace.cargo([
            "doc",
            "--workspace",
            "--locked",
            "--no-deps",
            "--document-private-items",
        ]);
        doc.env("RUSTDOCFLAGS", "-D warnings");
        plain(doc)
    })?;

    say(format_args!("\n{}", steps.report))?;
    let (_, failed) = steps.report.totals();
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Steps {
    report: Report,
}

impl Steps {
    /// Runs a step and notes its time; says whether it passed.
    fn run(
        &mut self,
        name: &'static str,
        step: impl FnOnce() -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<bool> {
        say(format_args!("\n== {name}"))?;
        // A duration for people to read; no test pauses it.
        #[expect(
            clippy::disallowed_types,
            reason = "there is no runtime here whose time could be paused"
        )]
        let started = std::time::Instant::now();
        let outcome = step().unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        if let Outcome::Failed(why) | Outcome::Skipped(why) = &outcome {
            say(format_args!("{name}: {why}"))?;
        }
        let passed = outcome == Outcome::Passed;
        self.report.add(name, started.elapsed(), outcome);
        Ok(passed)
    }
}

/// Runs a command that succeeds or fails.
fn plain(mut command: Command) -> anyhow::Result<Outcome> {
    let status = command.status().context("run cargo")?;
    Ok(if status.success() {
        Outcome::Passed
    } else {
        Outcome::Failed(status.to_string())
    })
}

/// Runs a cargo subcommand that a minimal toolchain lacks. Only CI insists on it.
fn optional(
    workspace: &Workspace,
    subcommand: &str,
    component: &str,
    command: Command,
) -> anyhow::Result<Outcome> {
    if workspace.has_subcommand(subcommand) {
        return plain(command);
    }
    let why = format!(
        "{component} is not installed; `rustup component add {component}` adds it, or your distribution's package for it"
    );
    let is_ci = env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    Ok(if is_ci {
        Outcome::Failed(why)
    } else {
        Outcome::Skipped(why)
    })
}

/// Runs `cargo test`, showing its output as it comes and counting its results.
fn counted(mut command: Command) -> anyhow::Result<Outcome> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("run cargo test")?;
    let output = child.stdout.take().context("read the output of cargo test")?;
    let mut counts = TestCounts::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("read the output of cargo test")?;
        let line = String::from_utf8_lossy(&line);
        counts.add_line(&line);
        say(&line)?;
    }
    let status = child.wait().context("wait for cargo test")?;
    Ok(Outcome::Tested {
        counts,
        ended_well: status.success(),
    })
}
