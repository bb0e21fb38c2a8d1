//! What tests do to the cluster directly, past HTTP, the log and the faults; and waiting for what they expect.

use std::time::Duration;

use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    kinds::{DEFINITIONS, Kind},
    record::{RequestRecord, Verb},
    server::FakeApiServer,
    store::object_key,
};

/// How long a condition is waited for. Under paused time it passes at once when nothing else happens.
const PATIENCE: Duration = Duration::from_secs(20);

impl FakeApiServer {
    /// Writes an object as it is, status included, in place of one of its name; its namespace comes into being with it.
    /// Gives back what is stored. Nothing changes if nothing differs.
    pub fn apply<K: Resource<DynamicType = ()> + Serialize + DeserializeOwned>(&self, object: &K) -> K {
        let mut value = serde_json::to_value(object).expect("an object as JSON");
        value["apiVersion"] = json!(K::api_version(&()));
        value["kind"] = json!(K::kind(&()));
        typed(&self.apply_json(value))
    }

    /// As [`Self::apply`], of JSON with `apiVersion` and `kind`.
    pub fn apply_json(&self, mut object: Value) -> Value {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (api_version, kind_name) = (text(&object["apiVersion"]), text(&object["kind"]));
        let kind = self.shared.store.lock().kind_of(&api_version, &kind_name);
        let kind = kind.unwrap_or_else(|| panic!("the server does not know {kind_name} in {api_version}"));
        if kind.namespaced && object["metadata"]["namespace"].as_str().is_none_or(str::is_empty) {
            object["metadata"]["namespace"] = json!("default");
        }
        let (namespace, name) = object_key(&object);
        if kind.namespaced {
            self.create_namespace(&namespace);
        }
        let mut store = self.shared.store.lock();
        let stored = match store.get(&kind, &namespace, &name) {
            None => {
                store.complete(&kind, &namespace, &mut object);
                store.put(&kind, object)
            }
            Some(live) => {
                let has_same_spec = live["spec"] == object["spec"];
                for name in [
                    "uid",
                    "creationTimestamp",
                    "deletionTimestamp",
                    "resourceVersion",
                    "generation",
                    "managedFields",
                ] {
                    let kept = live["metadata"][name].clone();
                    if let (false, Some(metadata)) = (kept.is_null(), object["metadata"].as_object_mut()) {
                        metadata.insert(name.to_owned(), kept);
                    }
                }
                if kind.has_status && !has_same_spec {
                    let generation = live["metadata"]["generation"].as_u64().unwrap_or(0);
                    object["metadata"]["generation"] = json!(generation + 1);
                }
                if *live == object {
                    live
                } else {
                    store.put(&kind, object)
                }
            }
        };
        drop(store);
        self.shared.notify();
        Value::clone(&stored)
    }

    /// Makes a namespace, if there is none of the name.
    pub fn create_namespace(&self, name: &str) {
        let mut store = self.shared.store.lock();
        let Some(kind) = store.kind_of("v1", "Namespace") else {
            return;
        };
        if store.get(&kind, "", name).is_none() {
            let mut namespace = json!({
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                "status": {"phase": "Active"},
            });
            store.complete(&kind, "", &mut namespace);
            store.put(&kind, namespace);
        }
        drop(store);
        self.shared.notify();
    }

    /// One object; of a cluster-wide kind with an empty namespace.
    pub fn get<K: Resource<DynamicType = ()> + DeserializeOwned>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<K> {
        let store = self.shared.store.lock();
        let kind = store.kind_of(&K::api_version(&()), &K::kind(&()))?;
        store.get(&kind, namespace, name).map(|object| typed(&object))
    }

    /// One object as JSON, by the plural of its kind.
    pub fn get_json(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let store = self.shared.store.lock();
        let kinds = store.kinds().iter().filter(|kind| kind.plural == plural);
        kinds
            .into_iter()
            .find_map(|kind| store.get(kind, namespace, name))
            .map(|object| Value::clone(&object))
    }

    /// All objects of a kind, by namespace and name.
    pub fn list<K: Resource<DynamicType = ()> + DeserializeOwned>(&self) -> Vec<K> {
        let store = self.shared.store.lock();
        let Some(kind) = store.kind_of(&K::api_version(&()), &K::kind(&())) else {
            return Vec::new();
        };
        store.list(&kind, "").map(|(_, object)| typed(object)).collect()
    }

    /// Deletes an object, as a client would: finalizers hold it, and what it owns goes with it. True if it was there.
    pub fn delete<K: Resource<DynamicType = ()>>(&self, namespace: &str, name: &str) -> bool {
        let mut store = self.shared.store.lock();
        let Some(kind) = store.kind_of(&K::api_version(&()), &K::kind(&())) else {
            return false;
        };
        let was_there = store.get(&kind, namespace, name).is_some();
        store.delete(&kind, &(namespace.to_owned(), name.to_owned()), false);
        drop(store);
        self.shared.notify();
        was_there
    }

    /// Makes a kind known, as a CRD does. Where it is a custom one, a CRD object comes with it.
    pub fn add_kind(&self, kind: Kind) {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{}.{}", kind.plural, kind.group)},
            "spec": {
                "group": kind.group, "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
                "names": {"kind": kind.kind, "plural": kind.plural, "singular": kind.kind.to_lowercase()},
                "versions": [{"name": kind.version, "served": true, "storage": true}],
            },
            "status": {"conditions": [{"type": "Established", "status": "True"}]},
        });
        let knows_definitions = {
            let store = self.shared.store.lock();
            store.kinds().iter().any(|known| known.plural == DEFINITIONS.1)
        };
        if knows_definitions && kind.group.contains('.') {
            self.apply_json(definition);
        }
        self.shared.store.lock().add_kind(kind);
        self.shared.notify();
    }

    /// Forgets a kind and its objects: 404 from now on, and its watches end.
    pub fn remove_kind(&self, plural: &str) {
        self.remove_kinds(|kind| kind.plural == plural);
    }

    /// Forgets all kinds of an API group: `keda.sh`, `gateway.networking.k8s.io`, …
    pub fn remove_group(&self, group: &str) {
        self.remove_kinds(|kind| kind.group == group);
    }

    /// Brings back the kinds of an API group that [`all_kinds`](crate::all_kinds) has.
    pub fn add_group(&self, group: &str) {
        for kind in crate::all_kinds().into_iter().filter(|kind| kind.group == group) {
            self.add_kind(kind);
        }
    }

    fn remove_kinds(&self, goes: impl Fn(&Kind) -> bool) {
        let mut store = self.shared.store.lock();
        let gone: Vec<String> = store
            .kinds()
            .iter()
            .filter(|kind| goes(kind))
            .map(|kind| format!("{}.{}", kind.plural, kind.group))
            .collect();
        store.remove_kinds(&goes);
        if let Some(definitions) = store.kind_of("apiextensions.k8s.io/v1", "CustomResourceDefinition") {
            for name in gone {
                store.delete(&definitions, &(String::new(), name), false);
            }
        }
        drop(store);
        self.shared.notify();
    }

    /// All requests since the start or [`Self::clear_requests`].
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.shared.log.lock().records().cloned().collect()
    }

    /// The requests that might have changed something, refused ones included.
    pub fn writes(&self) -> Vec<RequestRecord> {
        self.shared
            .log
            .lock()
            .records()
            .filter(|record| record.verb.is_write())
            .cloned()
            .collect()
    }

    /// The requests that did change something.
    pub fn changes(&self) -> Vec<RequestRecord> {
        self.shared
            .log
            .lock()
            .records()
            .filter(|record| record.has_changed)
            .cloned()
            .collect()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.shared.log.lock().clear();
    }

    /// The events that clients reported: reason, message, and the object they are about as `Kind/namespace/name`.
    pub fn events(&self) -> Vec<(String, String, String)> {
        let store = self.shared.store.lock();
        let mut events = Vec::new();
        for kind in store.kinds().iter().filter(|kind| kind.kind == "Event") {
            for (_, event) in store.list(kind, "") {
                let either = |one: &str, other: &str| {
                    let value = if event[one].is_null() {
                        &event[other]
                    } else {
                        &event[one]
                    };
                    value.clone()
                };
                let about = either("regarding", "involvedObject");
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let about = format!(
                    "{}/{}/{}",
                    text(&about["kind"]),
                    text(&about["namespace"]),
                    text(&about["name"])
                );
                events.push((text(&event["reason"]), text(&either("note", "message")), about));
            }
        }
        events
    }

    /// Waits until `condition` holds; it is looked at after every change and request.
    ///
    /// # Panics
    /// After 20 s, naming `what` was waited for and the last requests.
    pub async fn eventually(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let waited = timeout(PATIENCE, async {
            loop {
                changed.mark_unchanged();
                if condition(self) {
                    return;
                }
                if changed.changed().await.is_err() {
                    return;
                }
            }
        });
        if waited.await.is_err() {
            let requests = self.requests();
            let last = &requests[requests.len().saturating_sub(10)..];
            panic!("waited {PATIENCE:?} in vain until {what}; the last requests: {last:#?}");
        }
    }

    /// Waits until `condition` holds of an object, which it sees as `None` while there is none; returns its last state.
    ///
    /// # Panics
    /// After 20 s.
    pub async fn wait_for<K: Resource<DynamicType = ()> + DeserializeOwned>(
        &self,
        namespace: &str,
        name: &str,
        mut condition: impl FnMut(Option<&K>) -> bool,
    ) -> Option<K> {
        let mut last = None;
        let what = format!("{} {namespace}/{name} is as expected", K::kind(&()));
        self.eventually(&what, |server| {
            last = server.get::<K>(namespace, name);
            condition(last.as_ref())
        })
        .await;
        last
    }

    /// Waits until `count` requests of this verb and kind have come in since the start or [`Self::clear_requests`].
    ///
    /// # Panics
    /// After 20 s.
    pub async fn wait_for_requests(&self, verb: Verb, plural: &str, count: usize) {
        let what = format!("{count} requests {verb:?} of {plural} have come");
        self.eventually(&what, |server| {
            let log = server.shared.log.lock();
            let matching = log
                .records()
                .filter(|record| record.verb == verb && record.resource == plural);
            matching.count() >= count
        })
        .await;
    }

    /// Waits until at least `count` watches of a kind are open.
    ///
    /// # Panics
    /// After 20 s.
    pub async fn wait_for_watches(&self, plural: &str, count: usize) {
        let what = format!("{count} watches of {plural} are open");
        self.eventually(&what, |server| server.open_watches(plural) >= count)
            .await;
    }
}

fn typed<K: DeserializeOwned>(object: &Value) -> K {
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("read {object:#}: {error}"))
}
