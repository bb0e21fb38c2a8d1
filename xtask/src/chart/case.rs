//! Files of values below `tests/charts`, and what their comments ask for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// One file of values.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// `# release: NAME NAMESPACE`, by default `keda-http keda`.
    pub(super) release: String,
    pub(super) namespace: String,
    /// `# api: GROUP/VERSION/KIND`: what the cluster has.
    pub(super) api_versions: Vec<String>,
    /// `# says: …`: a part of the message with which the values are refused.
    pub(super) says: Option<String>,
    text: String,
}

impl Case {
    /// Whether the objects have the names that the chart gives where nobody asks for others.
    pub(super) fn has_default_names(&self) -> bool {
        !self.text.contains("nameOverride:")
    }
}

/// The cases of a folder, by name.
pub(super) fn read(folder: &Path) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            cases.push(read_one(path)?);
        } else {
            // What is left of a case that has gone would look like a test.
            anyhow::ensure!(
                path.with_extension("yaml").is_file(),
                "{} belongs to no case",
                path.display()
            );
        }
    }
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(cases)
}

fn read_one(path: PathBuf) -> anyhow::Result<Case> {
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let mut case = Case {
        name: path
            .file_stem()
            .context("a case has no name")?
            .to_string_lossy()
            .into_owned(),
        release: "keda-http".to_owned(),
        namespace: "keda".to_owned(),
        api_versions: Vec::new(),
        says: None,
        path,
        text,
    };
    let comments = case.text.lines().map_while(|line| line.strip_prefix("# "));
    for comment in comments {
        if let Some(release) = comment.strip_prefix("release: ") {
            let (name, namespace) = release
                .split_once(' ')
                .context("`# release:` needs a name and a namespace")?;
            (case.release, case.namespace) = (name.to_owned(), namespace.to_owned());
        } else if let Some(api) = comment.strip_prefix("api: ") {
            case.api_versions.push(api.to_owned());
        } else if let Some(says) = comment.strip_prefix("says: ") {
            case.says = Some(says.to_owned());
        }
    }
    Ok(case)
}
