//! Deleting: finalizers, garbage collection by owner, and namespaces with all that is in them.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    kinds::Kind,
    query::Query,
    status::Refusal,
    store::{ObjectKey, Store, now, object_key},
};

/// What the body of a DELETE asks for.
#[derive(Debug, Default)]
pub(crate) struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
    orphans: bool,
}

impl Preconditions {
    pub(crate) fn parse(options: &Value, query: &Query) -> Self {
        let text = |name: &str| options["preconditions"][name].as_str().map(str::to_owned);
        let policy = options["propagationPolicy"]
            .as_str()
            .or(query.propagation_policy.as_deref());
        Self {
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            orphans: policy == Some("Orphan"),
        }
    }

    fn allow(&self, object: &Value) -> bool {
        let is = |wanted: &Option<String>, name: &str| {
            wanted
                .as_ref()
                .is_none_or(|wanted| object["metadata"][name] == **wanted)
        };
        is(&self.uid, "uid") && is(&self.resource_version, "resourceVersion")
    }
}

impl Store {
    /// A DELETE of one object, or of a collection where there is no name.
    pub(crate) fn delete_checked(
        &mut self,
        kind: &Kind,
        namespace: &str,
        name: Option<&str>,
        query: &Query,
        preconditions: &Preconditions,
    ) -> Result<Value, Refusal> {
        let Some(name) = name else {
            let matching = self
                .list(kind, namespace)
                .filter(|(_, object)| query.selector.matches(object));
            let keys: Vec<ObjectKey> = matching.map(|(key, _)| key.clone()).collect();
            for key in keys {
                self.delete(kind, &key, preconditions.orphans);
            }
            return Ok(success(&Value::Null));
        };
        let object = self
            .get(kind, namespace, name)
            .ok_or_else(|| Refusal::not_found(&kind.plural, name))?;
        if !preconditions.allow(&object) {
            return Err(Refusal::modified(&kind.plural, name));
        }
        if query.is_dry_run {
            return Ok(success(&object));
        }
        let key = (namespace.to_owned(), name.to_owned());
        let (rest, is_gone) = self.delete(kind, &key, preconditions.orphans);
        Ok(if is_gone {
            success(&object)
        } else {
            Value::clone(&rest)
        })
    }

    /// Deletes an object: at once, or when its finalizers are gone. True if it is gone.
    pub(crate) fn delete(&mut self, kind: &Kind, key: &ObjectKey, orphans: bool) -> (Arc<Value>, bool) {
        let Some(object) = self.get(kind, &key.0, &key.1) else {
            return (Arc::new(Value::Null), true);
        };
        if orphans {
            self.orphan(&object);
        }
        let mut object = Value::clone(&object);
        let is_marked = !object["metadata"]["deletionTimestamp"].is_null();
        let is_held = object["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|finalizers| !finalizers.is_empty());
        if is_namespace(kind) {
            if !is_marked {
                object["metadata"]["deletionTimestamp"] = json!(now());
                object["metadata"]["finalizers"] = json!(["kubernetes"]);
                object["status"]["phase"] = json!("Terminating");
                self.put(kind, object);
            }
            self.empty_namespace(&key.1);
            let rest = self.get(kind, "", &key.1);
            return rest.map_or_else(|| (Arc::new(Value::Null), true), |rest| (rest, false));
        }
        if !is_held {
            return (self.remove(kind, key, object), true);
        }
        if is_marked {
            return (Arc::new(object), false);
        }
        object["metadata"]["deletionTimestamp"] = json!(now());
        object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        (self.put(kind, object), false)
    }

    /// Deletes what had `owner` and has no other owner; ends a namespace that waited for its last object.
    pub(crate) fn collect_garbage(&mut self, owner: &Value) {
        let uid = owner["metadata"]["uid"].clone();
        for (kind, object) in self.dependents(&uid) {
            let references = owner_references(&object);
            let has_other = references
                .iter()
                .any(|reference| reference["uid"] != uid && self.exists(&reference["uid"]));
            if has_other {
                self.drop_reference(&kind, &object, &uid);
            } else {
                self.delete(&kind, &object_key(&object), false);
            }
        }
        let namespace = owner["metadata"]["namespace"].as_str().unwrap_or_default();
        if !namespace.is_empty() {
            self.end_namespace(namespace);
        }
    }

    fn dependents(&self, uid: &Value) -> Vec<(Kind, Arc<Value>)> {
        let mut found = Vec::new();
        for kind in self.distinct_kinds() {
            let owned = self.list(&kind, "").map(|(_, object)| object);
            let owned = owned.filter(|object| {
                owner_references(object)
                    .iter()
                    .any(|reference| reference["uid"] == *uid)
            });
            found.extend(owned.map(|object| (kind.clone(), Arc::clone(object))));
        }
        found
    }

    fn exists(&self, uid: &Value) -> bool {
        let kinds = self.distinct_kinds();
        kinds.iter().any(|kind| {
            self.list(kind, "")
                .any(|(_, object)| object["metadata"]["uid"] == *uid)
        })
    }

    fn orphan(&mut self, owner: &Value) {
        let uid = owner["metadata"]["uid"].clone();
        for (kind, object) in self.dependents(&uid) {
            self.drop_reference(&kind, &object, &uid);
        }
    }

    fn drop_reference(&mut self, kind: &Kind, object: &Value, uid: &Value) {
        let mut object = object.clone();
        if let Some(references) = object["metadata"]["ownerReferences"].as_array_mut() {
            references.retain(|reference| reference["uid"] != *uid);
        }
        self.put(kind, object);
    }

    fn empty_namespace(&mut self, namespace: &str) {
        for kind in self.distinct_kinds() {
            if !kind.namespaced {
                continue;
            }
            let keys: Vec<ObjectKey> = self.list(&kind, namespace).map(|(key, _)| key.clone()).collect();
            for key in keys {
                self.delete(&kind, &key, false);
            }
        }
        self.end_namespace(namespace);
    }

    /// Removes a namespace that is being deleted and is empty.
    fn end_namespace(&mut self, namespace: &str) {
        let kinds = self.distinct_kinds();
        let Some(kind) = kinds.iter().find(|kind| is_namespace(kind)) else {
            return;
        };
        let Some(object) = self.get(kind, "", namespace) else {
            return;
        };
        let is_empty = kinds
            .iter()
            .all(|kind| !kind.namespaced || self.list(kind, namespace).next().is_none());
        if !object["metadata"]["deletionTimestamp"].is_null() && is_empty {
            let mut object = Value::clone(&object);
            object["metadata"]["finalizers"] = json!([]);
            self.put(kind, object);
        }
    }
}

fn is_namespace(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.plural == "namespaces"
}

fn owner_references(object: &Value) -> &[Value] {
    object["metadata"]["ownerReferences"]
        .as_array()
        .map_or(&[], Vec::as_slice)
}

fn success(object: &Value) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {
            "name": object["metadata"]["name"].as_str().unwrap_or_default(),
            "uid": object["metadata"]["uid"].as_str().unwrap_or_default(),
        },
    })
}
