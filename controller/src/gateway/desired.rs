//! An object as it is to be in the cluster, and whether it already is.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use rouse_routing::RouteId;
use serde_json::{Value, json};

use super::{observed::WrittenObject, ownership::Ownership, resource::Resource};
use crate::observed::ObjectName;

/// Annotation: the fingerprint of what Rouse last applied. Without it a field that is to be taken away would not be
/// missed, as the API server adds fields of its own.
pub(super) const APPLIED_ANNOTATION: &str = "rouse.dev/applied";

/// The longest name of an object.
const MAX_NAME: usize = 253;

/// What an object is written for, and who is told where it cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// The HTTPRoutes of a namespace.
    Namespace(String),
    /// An HTTPRoute.
    HttpRoute(ObjectName),
    /// An HTTPScaledObject or InterceptorRoute.
    RouteObject(RouteId),
}

/// An object as it is to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Desired {
    pub(super) object: WrittenObject,
    pub(super) subject: Subject,
    pub(super) owner: OwnerReference,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) spec: Value,
    /// Whether there is one already, of Rouse's own.
    pub(super) is_update: bool,
}

// === impl Desired ===

impl Desired {
    /// The object to apply.
    pub(super) fn manifest(&self, version: &str, ownership: &Ownership) -> Value {
        let mut annotations = self.annotations.clone();
        annotations.insert(APPLIED_ANNOTATION.to_owned(), self.fingerprint());
        json!({
            "apiVersion": format!("{}/{version}", self.object.kind.group()),
            "kind": self.object.kind.kind(),
            "metadata": {
                "namespace": &*self.object.name.namespace,
                "name": &*self.object.name.name,
                "labels": ownership.labels(),
                "annotations": annotations,
                "ownerReferences": [self.owner],
            },
            "spec": self.spec,
        })
    }

    /// Whether the object in the cluster is what it should be: made from the same, and still holding all of it.
    pub(super) fn is_met_by<T>(&self, current: &Resource<T>) -> bool {
        current.annotation(APPLIED_ANNOTATION) == Some(&self.fingerprint())
            && self
                .annotations
                .iter()
                .all(|(name, value)| current.annotation(name) == Some(value))
            && owner_uid(&current.metadata) == Some(&self.owner.uid)
            && current
                .written
                .as_ref()
                .is_some_and(|spec| is_within(&self.spec, spec))
    }

    /// Tells one state of an object from another.
    pub(super) fn fingerprint(&self) -> String {
        let text = json!([self.annotations, self.owner.uid, self.spec]).to_string();
        format!("{:016x}", fnv1a(text.as_bytes()))
    }
}

/// The name of an object that is made for another: `prefix` and its name, or as much of it as fits and a hash.
pub(super) fn derived_name(prefix: &str, name: &str) -> String {
    let whole = format!("{prefix}{name}");
    if whole.len() <= MAX_NAME {
        return whole;
    }
    let hash = format!("-{:016x}", fnv1a(name.as_bytes()));
    // Names are ASCII: the API server takes no others.
    let kept: String = whole.chars().take(MAX_NAME - hash.len()).collect();
    format!("{}{hash}", kept.trim_end_matches(['.', '-']))
}

fn owner_uid(metadata: &ObjectMeta) -> Option<&String> {
    match metadata.owner_references.as_deref() {
        Some([owner]) => Some(&owner.uid),
        _ => None,
    }
}

/// Whether `wanted` is in `present`: maps may have more entries, as the API server fills in defaults; lists may not.
fn is_within(wanted: &Value, present: &Value) -> bool {
    match (wanted, present) {
        (Value::Object(wanted), Value::Object(present)) => wanted
            .iter()
            .all(|(key, value)| present.get(key).is_some_and(|present| is_within(value, present))),
        (Value::Array(wanted), Value::Array(present)) => {
            wanted.len() == present.len()
                && wanted
                    .iter()
                    .zip(present)
                    .all(|(wanted, present)| is_within(wanted, present))
        }
        _ => wanted == present,
    }
}

/// FNV-1a, 64 bits: the same on every build and machine, which the standard library's hasher does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{derived_name, is_within};

    #[test]
    fn defaults_that_the_api_server_adds_are_no_difference() {
        let wanted = json!({"rules": [{"name": "safe"}], "n": 1});
        assert!(is_within(
            &wanted,
            &json!({"rules": [{"name": "safe", "weight": 1}], "n": 1, "x": {}})
        ));
    }

    #[test]
    fn a_changed_value_and_a_changed_length_are_differences() {
        let wanted = json!({"rules": [{"name": "safe"}], "n": 1});
        for present in [
            json!({"rules": [{"name": "safe"}], "n": 2}),
            json!({"rules": [{"name": "safe"}, {"name": "any"}], "n": 1}),
            json!({"rules": [], "n": 1}),
            json!({"rules": [{"name": "safe"}]}),
            json!(null),
        ] {
            assert!(!is_within(&wanted, &present), "{present}");
        }
    }

    #[test]
    fn a_long_name_is_cut_where_a_name_may_end_and_stays_its_own() {
        assert_eq!(derived_name("rouse-", "a.b"), "rouse-a.b");
        let long = format!("{}.{}", "a".repeat(229), "b".repeat(23));
        let other = format!("{}.{}", "a".repeat(229), "c".repeat(23));
        let name = derived_name("rouse-", &long);
        assert_eq!(name.len(), 252, "{name}");
        assert!(!name.contains(".-"), "{name}");
        assert_ne!(name, derived_name("rouse-", &other));
    }
}
