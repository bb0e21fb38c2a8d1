//! The objects, their one sequence of versions, and the changes that watches follow.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde_json::{Value, json};

use crate::{
    kinds::{DEFINITIONS, Kind, KindKey},
    query::ObjectPath,
};

/// Changes remembered; a watch from before the oldest is told that it is too old.
const LONGEST_HISTORY: usize = 100_000;

/// Namespace and name; the namespace of a cluster-wide object is empty.
pub(crate) type ObjectKey = (String, String);

/// What happened to an object.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) key: KindKey,
    pub(crate) before: Option<Arc<Value>>,
    /// Of a deletion, the last state with the deletion's version.
    pub(crate) object: Arc<Value>,
    pub(crate) is_deletion: bool,
}

#[derive(Debug)]
pub(crate) struct Store {
    version: u64,
    compacted: u64,
    uids: u64,
    kinds: Vec<Kind>,
    objects: BTreeMap<KindKey, BTreeMap<ObjectKey, Arc<Value>>>,
    changes: VecDeque<Change>,
}

impl Store {
    pub(crate) fn new(kinds: Vec<Kind>) -> Self {
        Self {
            version: 1,
            compacted: 0,
            uids: 0,
            kinds,
            objects: BTreeMap::new(),
            changes: VecDeque::new(),
        }
    }

    /// The version of the last change.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Versions before this one can no longer be watched from.
    pub(crate) fn compacted(&self) -> u64 {
        self.compacted
    }

    pub(crate) fn compact(&mut self) {
        // As writes elsewhere in the cluster would: what clients hold is older than what is kept. The changes stay for
        // the watches that are open.
        self.version += 1;
        self.compacted = self.version;
    }

    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    pub(crate) fn kind_at(&self, path: &ObjectPath) -> Option<Kind> {
        self.kinds.iter().find(|kind| path.names(kind)).cloned()
    }

    pub(crate) fn kind_of(&self, api_version: &str, kind: &str) -> Option<Kind> {
        let is_it = |known: &&Kind| known.api_version() == api_version && known.kind == kind;
        self.kinds.iter().find(is_it).cloned()
    }

    pub(crate) fn add_kind(&mut self, kind: Kind) {
        let is_same = |known: &Kind| known.key() == kind.key() && known.version == kind.version;
        self.kinds.retain(|known| !is_same(known));
        self.kinds.push(kind);
    }

    /// Forgets the kinds that `goes` names, and their objects, without a word to anyone: their watches end.
    pub(crate) fn remove_kinds(&mut self, goes: impl Fn(&Kind) -> bool) {
        self.kinds.retain(|kind| !goes(kind));
        let kinds = &self.kinds;
        self.objects
            .retain(|key, _| kinds.iter().any(|kind| kind.key() == *key));
        self.version += 1;
    }

    pub(crate) fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.objects.get(&kind.key())?.get(&key).cloned()
    }

    /// In order of namespace and name; of one namespace, or with an empty one of all.
    pub(crate) fn list<'a>(
        &'a self,
        kind: &Kind,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Arc<Value>)> {
        let objects = self.objects.get(&kind.key()).into_iter().flatten();
        objects.filter(move |((of, _), _)| namespace.is_empty() || of == namespace)
    }

    /// The changes after `version`, oldest first.
    pub(crate) fn changes_after(&self, version: u64) -> impl Iterator<Item = &Change> {
        let from = self.changes.partition_point(|change| change.version <= version);
        self.changes.range(from..)
    }

    /// Gives a new object what the server gives it.
    pub(crate) fn complete(&mut self, kind: &Kind, namespace: &str, object: &mut Value) {
        self.uids += 1;
        let number = self.uids;
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        let metadata = &mut object["metadata"];
        if metadata["name"].as_str().is_none_or(str::is_empty) {
            let prefix = metadata["generateName"].as_str().unwrap_or_default();
            metadata["name"] = json!(format!("{prefix}{number:05}"));
        }
        if kind.namespaced {
            metadata["namespace"] = json!(namespace);
        }
        metadata["uid"] = json!(format!("00000000-0000-4000-8000-{number:012}"));
        metadata["creationTimestamp"] = json!(now());
        if kind.has_status {
            metadata["generation"] = json!(1);
        }
    }

    /// Stores `object` under a new version. One that is being deleted and has no finalizer left is removed instead.
    pub(crate) fn put(&mut self, kind: &Kind, mut object: Value) -> Arc<Value> {
        let key = object_key(&object);
        if is_finished(&object) {
            return self.remove(kind, &key, object);
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let object = Arc::new(object);
        let objects = self.objects.entry(kind.key()).or_default();
        let before = objects.insert(key, Arc::clone(&object));
        self.remember(kind, before, &object, false);
        self.learn_kinds(kind, &object);
        object
    }

    /// Removes an object whose last state is `object`, and what it leaves without an owner.
    pub(crate) fn remove(&mut self, kind: &Kind, key: &ObjectKey, mut object: Value) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let object = Arc::new(object);
        let before = self
            .objects
            .get_mut(&kind.key())
            .and_then(|objects| objects.remove(key));
        self.remember(kind, before, &object, true);
        if kind.key() == (DEFINITIONS.0.to_owned(), DEFINITIONS.1.to_owned()) {
            let gone = Kind::of_definition(&object);
            self.remove_kinds(|kind| gone.iter().any(|gone| gone.key() == kind.key()));
        }
        self.collect_garbage(&object);
        object
    }

    fn remember(&mut self, kind: &Kind, before: Option<Arc<Value>>, object: &Arc<Value>, is_deletion: bool) {
        if self.changes.len() == LONGEST_HISTORY
            && let Some(oldest) = self.changes.pop_front()
        {
            self.compacted = oldest.version;
        }
        self.changes.push_back(Change {
            version: self.version,
            key: kind.key(),
            before,
            object: Arc::clone(object),
            is_deletion,
        });
    }

    fn learn_kinds(&mut self, kind: &Kind, object: &Value) {
        if kind.group == DEFINITIONS.0 && kind.plural == DEFINITIONS.1 {
            for kind in Kind::of_definition(object) {
                self.add_kind(kind);
            }
        }
    }

    /// The kinds that are known, one version of each.
    pub(crate) fn distinct_kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = Vec::new();
        for kind in &self.kinds {
            if !kinds.iter().any(|known| known.key() == kind.key()) {
                kinds.push(kind.clone());
            }
        }
        kinds
    }
}

pub(crate) fn object_key(object: &Value) -> ObjectKey {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

/// Whether an object is being deleted and nobody holds it back.
fn is_finished(object: &Value) -> bool {
    let metadata = &object["metadata"];
    !metadata["deletionTimestamp"].is_null() && metadata["finalizers"].as_array().is_none_or(Vec::is_empty)
}

/// The wall clock, to the second.
pub(crate) fn now() -> String {
    k8s_openapi::jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
