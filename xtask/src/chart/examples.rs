//! The manifests in `examples/`: whole, and what the tenant chart makes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::Value;

use super::{
    case,
    helm::Helm,
    objects::{Objects, describe, text},
    references,
};

/// Every file has objects with kinds, names and namespaces, no two of them the same.
pub(super) fn check_manifests(root: &Path) -> anyhow::Result<()> {
    let mut count = 0;
    for path in manifests(&root.join("examples"))? {
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Objects::read(&text).with_context(|| format!("{}", path.display()))?;
        count += 1;
    }
    anyhow::ensure!(count > 10, "only {count} manifests were found");
    Ok(())
}

fn manifests(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            // Values of a chart are no objects.
            if path.ends_with("values") {
                continue;
            }
            found.extend(manifests(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The chart makes everything that the two tenants of `examples/tenant` consist of, and says the same of it: it may only say
/// more (labels, requests, names of ports).
pub(super) fn check_tenants(root: &Path, helm: &Helm) -> anyhow::Result<()> {
    let rendered = with_values(root, helm, "tenant", "tenants")?;
    for tenant in ["ahmed", "fatima"] {
        let path = root.join(format!("examples/tenant/{tenant}.yaml"));
        let wanted = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        for object in Objects::read(&wanted)?.iter() {
            let kind = text(object, "/kind");
            let (namespace, name) = (
                text(object, "/metadata/namespace"),
                text(object, "/metadata/name"),
            );
            let got = rendered
                .find(kind, namespace, name)
                .with_context(|| format!("{} is not made", describe(object)))?;
            says_as_much(got, object).with_context(|| describe(object))?;
        }
    }
    Ok(())
}

/// The values that bring back the add-on's defaults are values of Rouse's chart, and what they make fits together.
pub(super) fn check_add_on_defaults(root: &Path, helm: &Helm) -> anyhow::Result<()> {
    references::check(&with_values(root, helm, "rouse", "add-on-defaults")?)
}

/// What a chart makes of a file in `examples/values`.
fn with_values(root: &Path, helm: &Helm, chart: &str, name: &str) -> anyhow::Result<Objects> {
    let values = case::read(&root.join("examples/values"))?;
    let case = values
        .iter()
        .find(|case| case.name == name)
        .with_context(|| format!("there is no examples/values/{name}.yaml"))?;
    Objects::read(&helm.template(&root.join("charts").join(chart), case)?.manifest)
}

/// Whether everything that `wanted` says is said by `got`. A container's name is the user's business.
fn says_as_much(got: &Value, wanted: &Value) -> anyhow::Result<()> {
    match (got, wanted) {
        (Value::Object(got), Value::Object(wanted)) => {
            let is_container = wanted.contains_key("image");
            for (key, wanted) in wanted {
                if is_container && key == "name" {
                    continue;
                }
                let got = got.get(key).with_context(|| format!("{key} is missing"))?;
                says_as_much(got, wanted).with_context(|| key.clone())?;
            }
            Ok(())
        }
        (Value::Array(got), Value::Array(wanted)) => {
            anyhow::ensure!(got.len() == wanted.len(), "{got:?} is not {wanted:?}");
            got.iter()
                .zip(wanted)
                .try_for_each(|(got, wanted)| says_as_much(got, wanted))
        }
        (got, wanted) => {
            anyhow::ensure!(got == wanted, "{got} is not {wanted}");
            Ok(())
        }
    }
}
