//! Whether the containers are told what the program listens to: a variable that nothing reads is a setting without an effect.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Context as _;
use serde_json::Value;

use super::objects::{Objects, describe, list, text};

/// Where flags are declared, each with its variable.
const SOURCES: [&str; 4] = [
    "interceptor/src",
    "external-scaler/src",
    "controller/src",
    "crates",
];

/// Read by the log's filter, and declared nowhere.
const FILTER: &str = "RUST_LOG";

/// Every variable of every container is declared by some flag, and set once.
pub(super) fn check(root: &Path, objects: &Objects) -> anyhow::Result<()> {
    let mut declared = BTreeSet::from([FILTER.to_owned()]);
    for source in SOURCES {
        collect(&root.join(source), &mut declared)?;
    }
    for deployment in objects.of_kind("Deployment") {
        let mut set = BTreeSet::new();
        for variable in list(deployment, "/spec/template/spec/containers")
            .iter()
            .flat_map(|container| list(container, "/env"))
        {
            let name = text(variable, "/name");
            anyhow::ensure!(
                declared.contains(name),
                "{} sets {name}, which no flag reads",
                describe(deployment)
            );
            anyhow::ensure!(set.insert(name), "{} sets {name} twice", describe(deployment));
            // Helm reads every number as a floating-point one, and writes the larger with an exponent.
            let value = variable.get("value").and_then(Value::as_str).unwrap_or_default();
            anyhow::ensure!(!value.contains("e+"), "{name} is {value}");
        }
    }
    Ok(())
}

/// Collects what follows `env = "` in the sources below a folder.
fn collect(folder: &Path, declared: &mut BTreeSet<String>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, declared)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let names = source.split("env = \"").skip(1);
            declared.extend(
                names
                    .filter_map(|rest| rest.split_once('"'))
                    .map(|(name, _)| name.to_owned()),
            );
        }
    }
    Ok(())
}
