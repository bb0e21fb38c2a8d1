//! The generated files that are committed, so that a build needs no generator.
//!
//! Rust from the proto files is made here ([`crate::proto`]), and the chart's copy of the custom resource definitions
//! ([`crate::chart`]). Everything else is made by the crate that knows it, in a golden test: a test with `golden` or
//! `committed` in its path, which compares, or rewrites when `UPDATE_GOLDEN=1` is set.

use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;

use crate::{
    chart, proto,
    workspace::{Workspace, say},
};

const GOLDEN_TESTS: [&str; 6] = ["test", "--workspace", "--locked", "--lib", "--bins", "--tests"];

/// Writes every generated file.
pub(crate) fn write(workspace: &Workspace) -> anyhow::Result<ExitCode> {
    for (path, text) in proto_files(workspace)? {
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    let golden = golden(workspace, true)?;
    // After the golden tests, which write what is copied.
    chart::definitions(workspace.root(), true)?;
    Ok(golden)
}

/// Fails if a generated file is stale.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<ExitCode> {
    let stale = stale_proto_files(workspace)?;
    for path in &stale {
        say(format_args!(
            "stale: {} (`cargo xtask gen` writes it)",
            path.display()
        ))?;
    }
    let golden = golden(workspace, false)?;
    chart::definitions(workspace.root(), false)?;
    Ok(if stale.is_empty() {
        golden
    } else {
        ExitCode::FAILURE
    })
}

/// The files below `proto/src/generated/` that differ from what the proto files say now, missing and surplus ones included.
pub(crate) fn stale_proto_files(workspace: &Workspace) -> anyhow::Result<Vec<PathBuf>> {
    let expected = proto_files(workspace)?;
    let directory = workspace.root().join("proto/src/generated");
    let mut stale: Vec<PathBuf> = expected
        .iter()
        .filter(|(path, text)| fs::read_to_string(path).ok().as_ref() != Some(*text))
        .map(|(path, _)| path.clone())
        .collect();
    for entry in fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))? {
        let path = entry?.path();
        if !expected.contains_key(&path) {
            stale.push(path);
        }
    }
    Ok(stale)
}

fn proto_files(workspace: &Workspace) -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let directory = workspace.root().join("proto/src/generated");
    let files = proto::generate(workspace.root())?;
    Ok(files
        .into_iter()
        .map(|(name, text)| (directory.join(name), text))
        .collect())
}

fn golden(workspace: &Workspace, update: bool) -> anyhow::Result<ExitCode> {
    let mut command = workspace.cargo(GOLDEN_TESTS);
    command
        .args(["--", "golden", "committed"])
        .env_remove("UPDATE_GOLDEN");
    if update {
        command.env("UPDATE_GOLDEN", "1");
    }
    let status = command.status().context("run the golden tests")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
