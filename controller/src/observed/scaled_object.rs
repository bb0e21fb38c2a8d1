//! What is read of a ScaledObject, whoever wrote it.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use rouse_routing::{RouteId, RouteKind};
use serde_json::{Value, json};

use super::{ObjectName, Workload, WorkloadKind, route::is_newer};
use crate::scaled_object::FIELD_MANAGER;

/// The annotations by which a user stops KEDA from scaling.
const PAUSED_ANNOTATION: &str = "autoscaling.keda.sh/paused";
const PAUSED_REPLICAS_ANNOTATION: &str = "autoscaling.keda.sh/paused-replicas";

/// A ScaledObject.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScaledObject {
    pub(crate) name: ObjectName,
    pub(crate) uid: Box<str>,
    pub(crate) resource_version: Box<str>,
    /// What it scales.
    pub(crate) workload: Option<Workload>,
    /// The routes that its triggers ask the external scaler about.
    pub(crate) routes: Vec<RouteId>,
    /// The uids of its owners.
    pub(crate) owners: Box<[Box<str>]>,
    /// It is on its way out; KEDA's finalizer may hold it for a while.
    pub(crate) is_deleting: bool,
    /// The user has stopped KEDA from scaling.
    pub(crate) is_paused: bool,
    /// What KEDA says of it.
    pub(crate) ready: Option<Verdict>,
    /// Labels, annotations, owners and spec, in the form of the object.
    pub(crate) content: Value,
    /// Which fields Rouse has applied, in the API server's notation (`FieldsV1`). None where it has not.
    pub(crate) applied: Option<Value>,
}

/// KEDA's condition `Ready`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// `True`, `False` or `Unknown`.
    pub(crate) status: Box<str>,
    pub(crate) message: Box<str>,
}

impl ScaledObject {
    /// Reads an object. Never fails: what cannot be read is left out.
    pub(crate) fn read(metadata: &ObjectMeta, spec: &Value, status: &Value) -> Self {
        let name = ObjectName::of(metadata);
        let annotation = |name: &str| metadata.annotations.as_ref()?.get(name).map(String::as_str);
        let owners = metadata.owner_references.as_deref().unwrap_or_default();
        let text = |value: Option<&str>| Box::from(value.unwrap_or_default());
        Self {
            uid: text(metadata.uid.as_deref()),
            resource_version: text(metadata.resource_version.as_deref()),
            workload: workload(&name.namespace, spec),
            routes: routes(&name.namespace, spec),
            owners: owners.iter().map(|owner| Box::from(owner.uid.as_str())).collect(),
            is_deleting: metadata.deletion_timestamp.is_some(),
            is_paused: annotation(PAUSED_REPLICAS_ANNOTATION).is_some()
                || annotation(PAUSED_ANNOTATION).is_some_and(is_true_in_go),
            ready: verdict(status),
            content: json!({
                "metadata": {
                    "labels": metadata.labels,
                    "annotations": metadata.annotations,
                    "ownerReferences": metadata.owner_references,
                },
                "spec": spec,
            }),
            applied: applied(metadata.managed_fields.as_deref().unwrap_or_default()),
            name,
        }
    }

    /// Whether the object of this uid is among its owners.
    pub(crate) fn is_owned_by(&self, uid: &str) -> bool {
        self.owners.iter().any(|owner| **owner == *uid)
    }

    /// Whether all that is read of the two is the same, but for the version.
    pub(super) fn differs_in_version_alone(&mut self, other: &Self) -> bool {
        // Lent the other's version for the comparison: the content is too much to be copied for it.
        let version = std::mem::replace(&mut self.resource_version, other.resource_version.clone());
        let is_same = *self == *other;
        self.resource_version = version;
        is_same
    }

    /// Whether this version of the object came after `other`.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        self.uid == other.uid && is_newer(&self.resource_version, &other.resource_version)
    }
}

fn applied(entries: &[ManagedFieldsEntry]) -> Option<Value> {
    let ours = entries.iter().find(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().is_none_or(str::is_empty)
    })?;
    ours.fields_v1.as_ref().map(|fields| fields.0.clone())
}

fn workload(namespace: &Arc<str>, spec: &Value) -> Option<Workload> {
    let target = spec.get("scaleTargetRef")?;
    let text = |name: &str| {
        let value = target.get(name).and_then(Value::as_str);
        value.filter(|text| !text.is_empty())
    };
    // KEDA's own defaults.
    let kind = WorkloadKind::of(
        text("apiVersion").unwrap_or("apps/v1"),
        text("kind").unwrap_or("Deployment"),
    );
    Some(Workload::new(namespace, kind, text("name")?))
}

/// The routes that the triggers' metadata names, by the keys that the external scaler reads.
fn routes(namespace: &Arc<str>, spec: &Value) -> Vec<RouteId> {
    let triggers = spec.get("triggers").and_then(Value::as_array);
    let metadata = triggers
        .into_iter()
        .flatten()
        .filter_map(|trigger| trigger.get("metadata"));
    metadata
        .flat_map(|metadata| {
            [
                ("httpScaledObject", RouteKind::HttpScaledObject),
                ("interceptorRoute", RouteKind::InterceptorRoute),
            ]
            .into_iter()
            .filter_map(|(key, kind)| {
                let name = metadata.get(key)?.as_str()?;
                Some(RouteId::new(kind, Arc::clone(namespace), name))
            })
        })
        .collect()
}

fn verdict(status: &Value) -> Option<Verdict> {
    let conditions = status.get("conditions")?.as_array()?;
    let ready = conditions
        .iter()
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some("Ready"))?;
    let text = |name: &str| ready.get(name).and_then(Value::as_str).unwrap_or_default();
    Some(Verdict {
        status: text("status").into(),
        message: text("message").into(),
    })
}

/// As KEDA reads such an annotation: what is no boolean counts as true.
fn is_true_in_go(value: &str) -> bool {
    !matches!(value, "0" | "f" | "F" | "false" | "FALSE" | "False")
}
