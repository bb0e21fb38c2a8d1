//! Helm as a program. It is given a cache of its own and no cluster.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use tempfile::TempDir;

use super::case::Case;
use crate::tools::Tool;

#[derive(Debug)]
pub(super) struct Helm {
    program: PathBuf,
    home: TempDir,
}

/// What a chart makes of a case's values.
#[derive(Debug)]
pub(super) struct Rendered {
    /// The objects, as documents of one text.
    pub(super) manifest: String,
    /// What the user reads after an installation.
    notes: String,
}

impl Rendered {
    /// What is committed: the notes, and the objects without the definitions, which are compared with their source instead.
    pub(super) fn golden(&self) -> String {
        let mut text = String::new();
        for line in self.notes.lines() {
            let line = line.trim_end();
            text.push_str(if line.is_empty() { "#" } else { "# " });
            text.push_str(line);
            text.push('\n');
        }
        for document in self.manifest.split("---\n").filter(|document| {
            !document.trim().is_empty() && !document.contains("\nkind: CustomResourceDefinition\n")
        }) {
            _ = write!(text, "---\n{}\n", document.trim_end());
        }
        text
    }
}

impl Helm {
    pub(super) fn find() -> anyhow::Result<Self> {
        Ok(Self {
            program: Tool::Helm.path()?,
            home: tempfile::tempdir().context("make a home for Helm")?,
        })
    }

    pub(super) fn version(&self) -> anyhow::Result<String> {
        let mut command = self.command();
        output(command.args(["version", "--short"])).map(|version| format!("Helm {}", version.trim()))
    }

    /// `helm lint`, warnings being errors.
    pub(super) fn lint(&self, chart: &Path, case: &Case) -> anyhow::Result<()> {
        let mut command = self.command();
        command
            .args(["lint", "--strict"])
            .arg(chart)
            .arg("--values")
            .arg(&case.path);
        output(&mut command).map(drop)
    }

    /// The objects and the notes that the chart makes of the case.
    pub(super) fn template(&self, chart: &Path, case: &Case) -> anyhow::Result<Rendered> {
        let mut command = self.command();
        command
            .args(["template", &case.release])
            .arg(chart)
            .args(["--namespace", &case.namespace])
            .arg("--values")
            .arg(&case.path);
        for api in &case.api_versions {
            command.args(["--api-versions", api]);
        }
        let manifest = output(&mut command)?;

        // The notes come with an installation only, which can be played without a cluster; it then knows no APIs.
        let mut command = self.command();
        command
            .args(["install", &case.release])
            .arg(chart)
            .args(["--dry-run=client", "--namespace", &case.namespace])
            .arg("--values")
            .arg(&case.path);
        let installed = output(&mut command)?;
        let (_, notes) = installed
            .split_once("\nNOTES:\n")
            .context("the chart has no notes")?;
        Ok(Rendered {
            manifest,
            notes: notes.to_owned(),
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (variable, folder) in [
            ("HELM_CACHE_HOME", "cache"),
            ("HELM_CONFIG_HOME", "config"),
            ("HELM_DATA_HOME", "data"),
        ] {
            command.env(variable, self.home.path().join(folder));
        }
        // Whatever cluster the user has, this is not about it.
        command.env("KUBECONFIG", self.home.path().join("no-cluster"));
        command
    }
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("run {}", command.get_program().display()))?;
    if !output.status.success() {
        let said = [output.stderr, output.stdout].concat();
        anyhow::bail!("{}", String::from_utf8_lossy(&said).trim());
    }
    String::from_utf8(output.stdout).context("read what Helm says")
}
