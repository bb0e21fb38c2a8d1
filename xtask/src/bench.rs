//! Benchmarks: builds what they need and hands over to `rouse-loadtest`, which measures.

use std::{io, process::Command, process::ExitCode};

use anyhow::Context as _;

use crate::workspace::Workspace;

/// Runs `rouse-loadtest ARGUMENTS` against this workspace's release build of `rouse`.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<ExitCode> {
    // One build for each: built together they would share features, and the rouse measured would not be the rouse shipped.
    for package in ["rouse", "rouse-loadtest"] {
        let status = workspace
            .cargo(["build", "--release", "--locked", "--package", package])
            .status()
            .with_context(|| format!("build {package}"))?;
        anyhow::ensure!(status.success(), "build {package}: {status}");
    }
    let program = workspace.program("release", "rouse-loadtest");
    let status = Command::new(&program)
        .current_dir(workspace.root())
        .args(arguments)
        .env("ROUSE_BIN", workspace.program("release", "rouse"))
        .status()
        .with_context(|| format!("run {}", program.display()))?;
    let code = status
        .code()
        .ok_or_else(|| io::Error::other(status.to_string()))
        .context("run the benchmark")?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
