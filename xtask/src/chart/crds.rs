//! The custom resource definitions in the chart: those of `crates/api` to the letter, and kept when the release goes.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::objects::{Objects, text};

const SOURCE: &str = "crates/api/crds";
const COPY: &str = "charts/rouse/files/crds";

/// Compares the chart's copies with their source, or writes them: a chart cannot reach out of its own folder.
pub(super) fn check_files(root: &Path, update: bool) -> anyhow::Result<()> {
    let (source, copy) = (files(&root.join(SOURCE))?, files(&root.join(COPY))?);
    if update {
        for name in copy.keys().filter(|name| !source.contains_key(*name)) {
            fs::remove_file(root.join(COPY).join(name)).with_context(|| format!("remove {COPY}/{name}"))?;
        }
        for (name, text) in &source {
            fs::write(root.join(COPY).join(name), text).with_context(|| format!("write {COPY}/{name}"))?;
        }
        return Ok(());
    }
    for name in source.keys().chain(copy.keys()) {
        anyhow::ensure!(
            source.get(name) == copy.get(name),
            "{COPY}/{name} is not {SOURCE}/{name}: `cargo xtask gen` copies it"
        );
    }
    Ok(())
}

/// What is rendered is the definition as it was generated, with the annotation that keeps it; or nothing at all.
pub(super) fn check_rendered(root: &Path, objects: &Objects) -> anyhow::Result<()> {
    let mut rendered: BTreeMap<&str, &Value> = BTreeMap::new();
    for crd in objects.of_kind("CustomResourceDefinition") {
        rendered.insert(text(crd, "/metadata/name"), crd);
    }
    if rendered.is_empty() {
        return Ok(());
    }
    for text in files(&root.join(SOURCE))?.values() {
        let source: Value = serde_saphyr::from_str(text).context("read a definition")?;
        let name = self::text(&source, "/metadata/name");
        let crd = rendered
            .remove(name)
            .with_context(|| format!("{name} is not rendered"))?;
        anyhow::ensure!(
            crd["spec"] == source["spec"],
            "{name} is not rendered as it was generated"
        );
        anyhow::ensure!(
            crd["metadata"]["annotations"]["helm.sh/resource-policy"] == json!("keep"),
            "{name} goes with the release, and every object with it"
        );
    }
    anyhow::ensure!(
        rendered.is_empty(),
        "rendered from nowhere: {:?}",
        rendered.keys()
    );
    Ok(())
}

/// The texts of a folder by the names of their files.
fn files(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        files.insert(
            entry.file_name().to_string_lossy().into_owned(),
            fs::read_to_string(entry.path()).with_context(|| format!("read {}", entry.path().display()))?,
        );
    }
    Ok(files)
}
