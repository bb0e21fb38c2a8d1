//! Rendered objects, as the API server would be given them.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde_json::Value;

/// The objects of one text.
#[derive(Debug)]
pub(super) struct Objects(Vec<Value>);

/// Kinds that belong to no namespace.
const CLUSTER_KINDS: [&str; 7] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "GatewayClass",
    "Namespace",
    "NodePool",
    "PriorityClass",
];

impl Objects {
    /// Reads documents; each has to be an object with a kind, a name and, where its kind has one, a namespace, and no two may
    /// be the same.
    pub(super) fn read(text: &str) -> anyhow::Result<Self> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("read the YAML")?;
        let mut identities = BTreeSet::new();
        let mut objects = Vec::new();
        for object in documents.into_iter().filter(|object| !object.is_null()) {
            let (kind, name) = (text_of(&object, "/kind")?, text_of(&object, "/metadata/name")?);
            let api = text_of(&object, "/apiVersion")?;
            let group = api.rsplit_once('/').map_or("", |(group, _)| group);
            let namespace = text_at(&object, "/metadata/namespace");
            anyhow::ensure!(
                namespace.is_none() == CLUSTER_KINDS.contains(&kind),
                "{kind} {name}: {}",
                namespace.map_or("has no namespace".to_owned(), |namespace| format!(
                    "has a namespace, {namespace}"
                ))
            );
            anyhow::ensure!(
                identities.insert(format!("{kind}.{group} {}/{name}", namespace.unwrap_or_default())),
                "there are two of {kind} {name}"
            );
            objects.push(object);
        }
        anyhow::ensure!(!objects.is_empty(), "there are no objects");
        Ok(Self(objects))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.0.iter()
    }

    pub(super) fn of_kind<'a>(&'a self, kind: &str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |object| text(object, "/kind") == kind)
    }

    /// The object of a kind with a name and a namespace.
    pub(super) fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.0.iter().find(|object| {
            text(object, "/kind") == kind
                && text(object, "/metadata/name") == name
                && (CLUSTER_KINDS.contains(&kind) || text(object, "/metadata/namespace") == namespace)
        })
    }
}

/// The text at a place, empty where there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    text_at(object, pointer).unwrap_or_default()
}

fn text_at<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

fn text_of<'a>(object: &'a Value, pointer: &str) -> anyhow::Result<&'a str> {
    text_at(object, pointer)
        .filter(|text| !text.is_empty())
        .with_context(|| format!("an object has no {pointer}: {object}"))
}

/// The list at a place, empty where there is none.
pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The value of an environment variable of a Deployment's first container.
pub(super) fn environment<'a>(deployment: &'a Value, name: &str) -> Option<&'a str> {
    list(deployment, "/spec/template/spec/containers/0/env")
        .iter()
        .find(|variable| text(variable, "/name") == name)
        .map(|variable| text(variable, "/value"))
}

/// `kind namespace/name`, for messages.
pub(super) fn describe(object: &Value) -> String {
    format!(
        "{} {}/{}",
        text(object, "/kind"),
        text(object, "/metadata/namespace"),
        text(object, "/metadata/name")
    )
}
