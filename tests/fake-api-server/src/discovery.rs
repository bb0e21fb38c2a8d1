//! What clients ask to learn which kinds there are.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kinds::Kind;

/// The answer to a path that names no objects; `None` if there is none.
pub(crate) fn answer(kinds: &[Kind], path: &str) -> Option<Value> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["version"] => Some(json!({
            "major": "1", "minor": "33", "gitVersion": "v1.33.0-fake", "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "",
        })),
        ["healthz" | "livez" | "readyz"] => Some(json!("ok")),
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["api", version] => resources(kinds, "", version),
        ["apis"] => {
            let groups: Vec<Value> = groups(kinds)
                .into_iter()
                .map(|(name, versions)| group(name, &versions))
                .collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", name] => {
            let versions = groups(kinds).remove(name)?;
            let mut group = group(name, &versions);
            group["kind"] = json!("APIGroup");
            group["apiVersion"] = json!("v1");
            Some(group)
        }
        ["apis", group, version] => resources(kinds, group, version),
        _ => None,
    }
}

fn groups(kinds: &[Kind]) -> BTreeMap<&str, Vec<&str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for kind in kinds.iter().filter(|kind| !kind.group.is_empty()) {
        let versions = groups.entry(&kind.group).or_default();
        if !versions.contains(&kind.version.as_str()) {
            versions.push(&kind.version);
        }
    }
    groups
}

fn group(name: &str, versions: &[&str]) -> Value {
    let version = |version: &&str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let versions: Vec<Value> = versions.iter().map(version).collect();
    json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
}

fn resources(kinds: &[Kind], group: &str, version: &str) -> Option<Value> {
    let here: Vec<&Kind> = kinds
        .iter()
        .filter(|kind| kind.group == group && kind.version == version)
        .collect();
    let api_version = here.first()?.api_version();
    let mut resources = Vec::new();
    for kind in here {
        let mut add = |name: String, of: &str, verbs: &[&str]| {
            resources.push(json!({
                "name": name, "singularName": "", "namespaced": kind.namespaced, "kind": of, "verbs": verbs,
            }));
        };
        let all = [
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ];
        add(kind.plural.clone(), &kind.kind, &all);
        if kind.has_status {
            add(
                format!("{}/status", kind.plural),
                &kind.kind,
                &["get", "patch", "update"],
            );
        }
        if kind.has_scale {
            add(
                format!("{}/scale", kind.plural),
                "Scale",
                &["get", "patch", "update"],
            );
        }
    }
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": resources}),
    )
}
