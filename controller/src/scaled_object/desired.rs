//! The ScaledObject that an HTTPScaledObject asks for. Pure: what is written is decided here, when is decided by the reconciler.

use std::{collections::BTreeMap, fmt};

use rouse_api::http_scaled_object::{DEFAULT_MAX_REPLICAS, DEFAULT_SCALEDOWN_PERIOD};
use serde_json::{Map, Value, json};

use super::{API_VERSION, KIND};
use crate::observed::{Route, Spec};

/// How often KEDA asks, which is what the add-on sets.
const POLLING_INTERVAL: i32 = 15;

/// The annotations that are not copied. kubectl's names the whole object as it was applied: on another one it would make
/// the next `kubectl apply` of that take away what it did not say. Rouse's own say something of the object they are on.
const NOT_COPIED: [&str; 2] = ["kubectl.kubernetes.io/last-applied-configuration", "rouse.dev/"];

/// Where KEDA reaches the external scaler: `service.namespace:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScalerAddress {
    pub(crate) service: String,
    pub(crate) namespace: String,
    pub(crate) port: u16,
}

impl fmt::Display for ScalerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}:{}", self.service, self.namespace, self.port)
    }
}

/// The ScaledObject of `route`, as it is applied: exactly the fields that are Rouse's. `None` where none can be made of it.
pub(crate) fn desired(route: &Route, scaler: &ScalerAddress) -> Option<Value> {
    let Spec::HttpScaledObject(spec) = &route.spec else {
        return None;
    };
    let workload = spec.scale_target_ref.workload()?;
    let (namespace, name) = (&*route.id.namespace, &*route.id.name);
    let replicas = spec.replicas.unwrap_or_default();
    let mut object = json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "ownerReferences": [{
                "apiVersion": "http.keda.sh/v1alpha1",
                "kind": "HTTPScaledObject",
                "name": name,
                "uid": route.uid,
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "scaleTargetRef": {
                "apiVersion": workload.api_version,
                "kind": workload.kind,
                "name": workload.name,
            },
            "pollingInterval": POLLING_INTERVAL,
            "cooldownPeriod": spec.scaledown_period.unwrap_or(DEFAULT_SCALEDOWN_PERIOD),
            "minReplicaCount": replicas.min.unwrap_or(0),
            "maxReplicaCount": replicas.max.unwrap_or(DEFAULT_MAX_REPLICAS),
            "advanced": { "restoreToOriginalReplicaCount": true },
            "triggers": [{
                "type": "external-push",
                "metadata": {
                    "scalerAddress": scaler.to_string(),
                    "httpScaledObject": name,
                },
            }],
        },
    });
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        copy(metadata, "labels", &route.labels);
        copy(metadata, "annotations", &route.annotations);
    }
    if let (Some(period), Some(spec)) = (
        spec.initial_cooldown_period,
        object.get_mut("spec").and_then(Value::as_object_mut),
    ) {
        spec.insert("initialCooldownPeriod".to_owned(), period.into());
    }
    Some(object)
}

/// An empty map is left out: applied, it would be a field of its own.
fn copy(metadata: &mut Map<String, Value>, field: &str, entries: &BTreeMap<String, String>) {
    let copied: Map<String, Value> = entries
        .iter()
        .filter(|(name, _)| !NOT_COPIED.iter().any(|prefix| name.starts_with(prefix)))
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    if !copied.is_empty() {
        metadata.insert(field.to_owned(), copied.into());
    }
}
