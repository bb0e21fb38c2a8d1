//! A file of `examples/`, applied with a few of its lines changed: what a reader of the examples would do to try them within
//! minutes. A line that is not there, or is there twice, is an error, so that a case never applies other than it says.

use std::{fs, mem};

use anyhow::Context as _;

use crate::{cluster::Cluster, trial::Trial};

/// A file and what is changed in it.
#[derive(Debug)]
pub(super) struct Example {
    path: String,
    text: String,
    changes: Vec<String>,
}

impl Example {
    /// Reads the file, whose path starts at the root of the workspace.
    pub(super) fn read(cluster: &Cluster, path: &str) -> anyhow::Result<Self> {
        let file = cluster.workspace().join(path);
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        Ok(Self::new(path, text))
    }

    fn new(path: &str, text: String) -> Self {
        Self {
            path: path.to_owned(),
            text,
            changes: Vec::new(),
        }
    }

    /// Puts other lines in place of one. Indentation and comments of the line may be left out.
    pub(super) fn with(mut self, line: &str, instead: &[&str]) -> anyhow::Result<Self> {
        let is_meant = |found: &str| found.split(" #").next().unwrap_or(found).trim() == line;
        let count = self.text.lines().filter(|found| is_meant(found)).count();
        anyhow::ensure!(count == 1, "{} has {count} lines «{line}»", self.path);
        let mut text = String::new();
        for found in mem::take(&mut self.text).lines() {
            if !is_meant(found) {
                text.extend([found, "\n"]);
                continue;
            }
            self.changes.push(format!("-{found}"));
            let (indentation, _) = found.split_at(found.len() - found.trim_start().len());
            for instead in instead {
                text.extend([indentation, *instead, "\n"]);
                self.changes.push(format!("+{indentation}{instead}"));
            }
        }
        self.text = text;
        Ok(self)
    }

    /// Applies it, and puts the changes into the evidence.
    pub(super) async fn apply(self, trial: &mut Trial) -> anyhow::Result<()> {
        let Self { path, text, changes } = self;
        trial
            .evidence
            .note(format_args!("`{path}` with these lines changed:"));
        trial
            .evidence
            .note(format_args!("```diff\n{}\n```", changes.join("\n")));
        trial.apply(&text).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Example {
        Example::new(
            "a.yaml",
            "spec:\n  period: 30 # seconds\n  a: 1\n  a: 1\n".to_owned(),
        )
    }

    #[test]
    fn a_line_is_replaced_at_its_place() {
        let example = example().with("period: 30", &["period: 5", "b: 2"]).unwrap();
        assert_eq!(example.text, "spec:\n  period: 5\n  b: 2\n  a: 1\n  a: 1\n");
        assert_eq!(
            example.changes,
            ["-  period: 30 # seconds", "+  period: 5", "+  b: 2"]
        );
    }

    #[test]
    fn a_line_that_is_not_there_once_is_refused() {
        for line in ["period: 3", "a: 1"] {
            let error = example().with(line, &[]).unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
        }
    }
}
