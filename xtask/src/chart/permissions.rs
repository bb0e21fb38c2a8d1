//! What the components may do in the cluster, and no more.

use std::collections::BTreeSet;

use serde_json::Value;

use super::objects::{Objects, describe, list, text};

const READ: [&str; 3] = ["get", "list", "watch"];

/// Nobody reads Secrets, nothing is allowed by `*` but the `/scale` of whatever kind, and only the controller writes.
pub(super) fn check(objects: &Objects) -> anyhow::Result<()> {
    let roles = objects.of_kind("Role").chain(objects.of_kind("ClusterRole"));
    for role in roles {
        let component = text(role, "/metadata/labels/app.kubernetes.io~1component");
        let writes = component == "operator" || component == "rbac";
        let mut seen = BTreeSet::new();
        for rule in list(role, "/rules") {
            let said = || format!("{}: {rule}", describe(role));
            let (groups, resources, verbs) = (
                words(rule, "/apiGroups"),
                words(rule, "/resources"),
                words(rule, "/verbs"),
            );
            anyhow::ensure!(
                !groups.is_empty() && !resources.is_empty() && !verbs.is_empty(),
                "allows nothing: {}",
                said()
            );
            let is_named = rule.get("resourceNames").is_some();
            for (group, resource) in groups
                .iter()
                .flat_map(|group| resources.iter().map(move |resource| (*group, *resource)))
            {
                anyhow::ensure!(
                    seen.insert((group, resource, is_named)),
                    "speaks of {resource} twice: {}",
                    said()
                );
            }
            anyhow::ensure!(
                !resources.contains(&"secrets"),
                "allows to read Secrets: {}",
                said()
            );
            anyhow::ensure!(
                !resources.contains(&"*") && !verbs.contains(&"*"),
                "allows everything: {}",
                said()
            );
            anyhow::ensure!(
                !groups.contains(&"*") || resources == ["*/scale"],
                "allows it in every group: {}",
                said()
            );
            anyhow::ensure!(
                writes || verbs.iter().all(|verb| READ.contains(verb)),
                "only the controller writes: {}",
                said()
            );
            // Whoever can write these can become anybody.
            for forbidden in [
                "pods",
                "deployments",
                "services",
                "configmaps",
                "namespaces",
                "nodes",
                "roles",
                "clusterroles",
            ] {
                anyhow::ensure!(
                    !resources.contains(&forbidden) || verbs.iter().all(|verb| READ.contains(verb)),
                    "writes {forbidden}: {}",
                    said()
                );
            }
        }
    }
    Ok(())
}

fn words<'a>(rule: &'a Value, pointer: &str) -> Vec<&'a str> {
    list(rule, pointer).iter().filter_map(Value::as_str).collect()
}
