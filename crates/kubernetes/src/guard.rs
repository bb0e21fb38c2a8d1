//! An object as it comes from the API server: read, or known to be unreadable.
//!
//! A CustomResourceDefinition lets things through that a type does not hold (any text stands for a duration), and one such
//! object in a list must not take the others with it. kube has a guard for that; this one also says which field it was,
//! and drops what nobody here reads before it is turned into types.

use std::{borrow::Cow, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

/// Where `kubectl apply` keeps a second copy of the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How the names of Rouse's own field managers begin.
const OWN_MANAGERS: &str = "rouse-";

/// An object, or what is left of one that cannot be read.
#[derive(Debug, Clone)]
pub struct Guarded<K>(pub Result<K, Box<Unreadable>>);

/// An object that cannot be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Unreadable {
    /// Its name, namespace, uid and resource version; nothing else.
    pub metadata: ObjectMeta,
    /// The field that could not be read.
    pub field: String,
    /// Why not.
    pub error: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.error)
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        trim(&mut value);
        match serde_path_to_error::deserialize(&value) {
            Ok(object) => Ok(Self(Ok(object))),
            Err(error) => Ok(Self(Err(Box::new(Unreadable {
                metadata: identity(&value),
                field: error.path().to_string(),
                error: error.into_inner().to_string(),
            })))),
        }
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(unreadable) => &unreadable.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(unreadable) => &mut unreadable.metadata,
        }
    }
}

/// Drops what nobody here reads and what often is most of an object.
fn trim(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    // What Rouse has applied itself says whether it has to be applied again.
    if let Some(Value::Array(managers)) = metadata.get_mut("managedFields") {
        managers.retain(|entry| {
            entry["manager"]
                .as_str()
                .is_some_and(|name| name.starts_with(OWN_MANAGERS))
        });
        if managers.is_empty() {
            metadata.remove("managedFields");
        }
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
}

fn identity(object: &Value) -> ObjectMeta {
    let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
    ObjectMeta {
        name: text("name"),
        namespace: text("namespace"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Pod};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_of_the_wrong_type_is_named() {
        let Guarded(result) = serde_json::from_value::<Guarded<Pod>>(json!({
            "metadata": { "name": "web", "namespace": "shop", "resourceVersion": "7", "labels": { "a": "b" } },
            "spec": { "containers": [{ "name": "a" }, { "name": "b", "stdin": "yes" }] },
        }))
        .unwrap();
        let unreadable = result.expect_err("stdin is a boolean");
        assert_eq!(unreadable.field, "spec.containers[1].stdin");
        assert_eq!(unreadable.metadata.name.as_deref(), Some("web"));
        assert_eq!(unreadable.metadata.namespace.as_deref(), Some("shop"));
        assert_eq!(unreadable.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(
            unreadable.metadata.labels, None,
            "only what identifies it is kept"
        );
    }

    #[test]
    fn what_nobody_reads_is_dropped() {
        let object: Guarded<ConfigMap> = serde_json::from_value(json!({
            "metadata": {
                "name": "a",
                "managedFields": [{ "manager": "kubectl" }],
                "annotations": { LAST_APPLIED: "{}", "keep": "this" },
            },
            "data": { "key": "value" },
        }))
        .unwrap();
        assert_eq!(object.meta().managed_fields, None);
        let annotations = object.meta().annotations.as_ref().unwrap();
        assert_eq!(annotations.keys().collect::<Vec<_>>(), ["keep"]);
        assert_eq!(object.0.unwrap().data.unwrap()["key"], "value");
    }

    #[test]
    fn what_rouse_has_applied_itself_is_kept() {
        let object: Guarded<ConfigMap> = serde_json::from_value(json!({
            "metadata": {
                "name": "a",
                "managedFields": [{ "manager": "kubectl" }, { "manager": "rouse-controller" }],
            },
        }))
        .unwrap();
        let managers = object.meta().managed_fields.as_ref().unwrap();
        assert_eq!(managers.len(), 1);
        assert_eq!(managers[0].manager.as_deref(), Some("rouse-controller"));
    }

    #[test]
    fn only_metadata_is_asked_for_where_only_metadata_is_kept() {
        assert!(Guarded::<kube::core::PartialObjectMeta<Pod>>::metadata_api());
        assert!(!Guarded::<Pod>::metadata_api());
    }

    #[test]
    fn an_object_without_metadata_does_not_fail_the_list_either() {
        let objects: Vec<Guarded<Pod>> = serde_json::from_value(json!([
            { "spec": "no" },
            { "metadata": { "name": "web" } },
        ]))
        .unwrap();
        assert!(objects[0].0.is_err());
        assert!(objects[1].0.is_ok());
    }
}
