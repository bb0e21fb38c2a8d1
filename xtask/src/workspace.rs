//! Where the workspace and its build output are, and how cargo is called in it.

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;

/// The workspace that this task is for.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    cargo: OsString,
}

impl Workspace {
    pub(crate) fn find() -> anyhow::Result<Self> {
        // What `cargo run` says now: clones that share a target directory may share this program too.
        let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&package)
            .parent()
            .context("find the workspace's root")?;
        // This program is TARGET/debug/xtask, wherever the environment or cargo's configuration has put TARGET.
        let program = env::current_exe().context("find this program")?;
        let target = program.ancestors().nth(2).context("find the target directory")?;
        Ok(Self {
            root: root.to_owned(),
            target: target.to_owned(),
            cargo: env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where builds leave their output.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// A program that a build of `profile` (`debug`, `release`) leaves behind.
    pub(crate) fn program(&self, profile: &str, name: &str) -> PathBuf {
        self.target.join(profile).join(name)
    }

    /// `cargo ARGUMENTS` in the root of the workspace.
    pub(crate) fn cargo<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(&self.cargo);
        command.current_dir(&self.root).args(arguments);
        command
    }

    /// Whether a cargo subcommand that a toolchain may lack is installed.
    pub(crate) fn has_subcommand(&self, name: &str) -> bool {
        let mut command = self.cargo([name, "--version"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

/// Writes a line for the person (or the log) that reads along.
pub(crate) fn say(line: impl std::fmt::Display) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{line}").context("write to standard output")
}
