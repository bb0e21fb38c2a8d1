//! `values.yaml` as a document: every value is explained beside it, and the chart's README has the same as a table.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;
use serde_json::Value;

const BEGIN: &str = "<!-- values: written by UPDATE_GOLDEN=1 cargo xtask chart -->";
const END: &str = "<!-- end of values -->";

/// A value, or a group of values that are explained together.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// `interceptor.replicas.min`
    path: String,
    default: String,
    explanation: String,
}

/// Fails where a value has no comment, or where the README's table is not what the comments say.
pub(super) fn check(chart: &Path) -> anyhow::Result<()> {
    let values = fs::read_to_string(chart.join("values.yaml")).context("read values.yaml")?;
    let mut table = String::from("| value | default | |\n|---|---|---|\n");
    for entry in entries(&values)? {
        let Entry {
            path,
            default,
            explanation,
        } = entry;
        let explanation = explanation.replace('|', "\\|");
        _ = writeln!(table, "| `{path}` | `{default}` | {explanation} |");
    }
    let path = chart.join("README.md");
    let readme = fs::read_to_string(&path).context("read README.md")?;
    let (before, rest) = readme
        .split_once(BEGIN)
        .with_context(|| format!("README.md has no {BEGIN}"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("README.md has no {END}"))?;
    let expected = format!("{before}{BEGIN}\n\n{table}\n{END}{after}");
    if super::is_update() {
        return fs::write(&path, expected).context("write README.md");
    }
    anyhow::ensure!(
        readme == expected,
        "{} does not say what values.yaml says: UPDATE_GOLDEN=1 cargo xtask chart writes it anew",
        path.display()
    );
    Ok(())
}

/// The values in the order of the file.
fn entries(text: &str) -> anyhow::Result<Vec<Entry>> {
    let defaults: Value = serde_saphyr::from_str(text).context("read values.yaml")?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    // The keys above the line, with their indentation, and whether what is below them is explained already.
    let mut open: Vec<(usize, &str, bool)> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if trimmed.is_empty() {
            comment.clear();
            continue;
        }
        if let Some(said) = trimmed.strip_prefix('#') {
            comment.push(said.strip_prefix(' ').unwrap_or(said));
            continue;
        }
        open.retain(|(above, ..)| *above < indent);
        let (key, value) = trimmed
            .split_once(':')
            .with_context(|| format!("{line:?} is no value"))?;
        let explained_above = open.iter().any(|(.., explained)| *explained);
        let path: Vec<&str> = open.iter().map(|(_, key, _)| *key).chain([key]).collect();
        if !explained_above {
            let is_group = value.trim().is_empty();
            anyhow::ensure!(
                is_group || !comment.is_empty(),
                "values.yaml does not explain {}",
                path.join(".")
            );
            // A comment on a group whose members have comments of their own is about the group: the members speak below.
            if !comment.is_empty() {
                let default = defaults
                    .pointer(&format!("/{}", path.join("/")))
                    .with_context(|| format!("find {}", path.join(".")))?;
                entries.push(Entry {
                    path: path.join("."),
                    default: serde_json::to_string(default)?,
                    explanation: explanation(&comment),
                });
            }
        }
        open.push((indent, key, explained_above || !comment.is_empty()));
        comment.clear();
    }
    Ok(entries)
}

/// A comment as one line. An example, which is set in by two more blanks, stays in the file.
fn explanation(comment: &[&str]) -> String {
    let lines: Vec<&str> = comment
        .iter()
        .filter(|line| !line.starts_with("  "))
        .map(|line| line.trim())
        .collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_their_comments_and_groups_without() {
        let entries = entries(
            "# The file.\n\na:\n  # How many.\n  # Not less.\n  b: 1\n# All of it.\nc:\n  d: {}\n  e: 2\n",
        )
        .unwrap();
        let entry = |path: &str, default: &str, explanation: &str| Entry {
            path: path.to_owned(),
            default: default.to_owned(),
            explanation: explanation.to_owned(),
        };
        assert_eq!(
            entries,
            [
                entry("a.b", "1", "How many. Not less."),
                entry("c", r#"{"d":{},"e":2}"#, "All of it.")
            ]
        );
    }

    #[test]
    fn a_value_without_a_comment_is_an_error() {
        let error = entries("a:\n  # One.\n  b: 1\n  c: 2\n").unwrap_err();
        assert!(error.to_string().contains("a.c"), "{error}");
    }
}
