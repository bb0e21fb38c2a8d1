//! The commands of `docs/guide/migrate.md`, run as they are written there.
//!
//! Only what a reader has to replace is replaced: the reference to the add-on's chart and its version.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use tokio::process::Command;

use crate::{cluster::Cluster, command, trial::Trial};

const GUIDE: &str = "docs/guide/migrate.md";
/// `kubectl rollout status` and Helm wait for pods.
const COMMAND_BOUND: Duration = Duration::from_mins(3);

/// A shell in a directory of its own that looks like the workspace's root, as far as the guide is concerned.
#[derive(Debug)]
pub(super) struct Guide {
    text: String,
    directory: PathBuf,
    kubeconfig: PathBuf,
    /// What a reader replaces, and by what.
    replaced: Vec<(&'static str, String)>,
}

impl Guide {
    /// Opens the guide. `chart` is the add-on's.
    pub(super) fn open(
        cluster: &Cluster,
        directory: &Path,
        chart: &Path,
        version: &str,
    ) -> anyhow::Result<Self> {
        let guide = cluster.workspace().join(GUIDE);
        let text = fs::read_to_string(&guide).with_context(|| format!("read {}", guide.display()))?;
        let programs = directory.join("bin");
        fs::create_dir_all(&programs).with_context(|| format!("make {}", programs.display()))?;
        for program in ["kubectl", "helm"] {
            symlink(cluster.parts().program(program)?, programs.join(program)).context("link a program")?;
        }
        symlink(cluster.workspace().join("charts"), directory.join("charts")).context("link the charts")?;
        Ok(Self {
            text,
            directory: directory.to_owned(),
            kubeconfig: cluster.kubeconfig().to_owned(),
            replaced: vec![
                ("kedacore/keda-add-ons-http", chart.display().to_string()),
                ("THE-INSTALLED-ONE", version.to_owned()),
            ],
        })
    }

    /// The commands of one of the console blocks (the first is 0) below a heading.
    pub(super) fn block(&self, heading: &str, index: usize) -> anyhow::Result<Vec<String>> {
        blocks(&self.text, heading)
            .into_iter()
            .nth(index)
            .with_context(|| format!("{GUIDE} has no console block {index} below {heading:?}"))
    }

    /// Writes a file that the reader is to write.
    pub(super) fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.directory.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// Runs every command of a block and puts it into the evidence; gives what each wrote.
    pub(super) async fn run(
        &self,
        trial: &mut Trial,
        heading: &str,
        index: usize,
    ) -> anyhow::Result<Vec<String>> {
        let mut outputs = Vec::new();
        for command in self.block(heading, index)? {
            let output = self.output(&command).await?;
            trial.evidence.command(&command, &output);
            outputs.push(output);
        }
        Ok(outputs)
    }

    /// Runs a command and gives what it wrote.
    pub(super) async fn output(&self, command: &str) -> anyhow::Result<String> {
        let mut line = command.to_owned();
        for (written, meant) in &self.replaced {
            line = line.replace(written, meant);
        }
        // To count nothing is no failure, though grep has it so.
        let counts = line.contains("grep -c");
        let mut shell = Command::new("sh");
        shell.current_dir(&self.directory);
        shell.args([
            "-c",
            &if counts {
                format!("{{ {line}\n}} || test $? = 1")
            } else {
                line
            },
        ]);
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", self.directory.join("bin").display()));
        shell.env("KUBECONFIG", &self.kubeconfig);
        command::run(&mut shell, COMMAND_BOUND)
            .await
            .with_context(|| format!("{GUIDE}: {command}"))
    }
}

/// The commands of each console block between a heading and the next, a continued line joined.
fn blocks(text: &str, heading: &str) -> Vec<Vec<String>> {
    let mut blocks = Vec::new();
    let (mut is_below, mut is_inside) = (false, false);
    let mut block: Vec<String> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if !is_inside && trimmed.starts_with("## ") {
            is_below = trimmed.trim_start_matches("## ") == heading;
        } else if !is_inside && trimmed == "```console" {
            is_inside = true;
        } else if is_inside && trimmed == "```" {
            is_inside = false;
            let ended = std::mem::take(&mut block);
            if is_below {
                blocks.push(ended);
            }
        } else if is_inside {
            match (trimmed.strip_prefix("$ "), block.last_mut()) {
                (Some(command), _) => block.push(command.to_owned()),
                (None, Some(command)) if command.ends_with('\\') => {
                    command.pop();
                    command.push_str(trimmed);
                }
                (None, _) => {}
            }
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_by_their_heading() {
        let text = "## One\n\n```console\n$ a 1 \\\n    2\nits output\n$ b\n```\n\n1. Step:\n\n   ```console\n   $ c\n   ```\n\n\
                    ## Two\n\n```yaml\n$ no\n```\n\n```console\n$ d\n```\n";
        let one = blocks(text, "One");
        assert_eq!(
            one,
            [vec!["a 1 2".to_owned(), "b".to_owned()], vec!["c".to_owned()]]
        );
        assert_eq!(blocks(text, "Two"), [vec!["d".to_owned()]]);
        assert!(blocks(text, "Three").is_empty());
    }
}
