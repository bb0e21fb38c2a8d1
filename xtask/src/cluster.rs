//! The real cluster: hands over to `rouse-cluster`, which provides, starts, tests and ends it.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::workspace::Workspace;

/// Runs `rouse-cluster ARGUMENTS`.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let harness = [
        "run",
        "--quiet",
        "--locked",
        "--package",
        "rouse-cluster-tests",
        "--bin",
        "rouse-cluster",
        "--",
    ];
    let status = workspace
        .cargo(harness)
        .args(arguments)
        .status()
        .context("run rouse-cluster")?;
    Ok(ExitCode::from(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
    ))
}
