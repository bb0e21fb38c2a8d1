//! Creating and changing objects: what every kind of write has in common.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    apply::{self, Applier},
    fields,
    kinds::Kind,
    merge,
    query::Query,
    scale,
    status::Refusal,
    store::Store,
};

/// A write of one object.
#[derive(Debug)]
pub(crate) struct Write<'a> {
    pub(crate) kind: &'a Kind,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// `status`, `scale`, or empty.
    pub(crate) subresource: &'a str,
    pub(crate) query: &'a Query,
    /// Who writes: the parameter, else the first word of the user agent.
    pub(crate) manager: &'a str,
}

/// What came of a write.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) code: StatusCode,
    pub(crate) object: Arc<Value>,
    pub(crate) has_changed: bool,
}

impl Write<'_> {
    /// POST.
    pub(crate) fn create(&self, store: &mut Store, object: Value) -> Result<Written, Refusal> {
        let mut object = self.completed(store, object)?;
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if store.get(self.kind, self.namespace, &name).is_some() {
            return Err(Refusal::already_exists(&self.kind.plural, &name));
        }
        fields::record_update(
            &json!({"apiVersion": object["apiVersion"]}),
            &mut object,
            self.manager,
            "",
        );
        Ok(self.stored_new(store, object))
    }

    fn stored_new(&self, store: &mut Store, object: Value) -> Written {
        let object = if self.query.is_dry_run {
            Arc::new(object)
        } else {
            store.put(self.kind, object)
        };
        Written {
            code: StatusCode::CREATED,
            object,
            has_changed: !self.query.is_dry_run,
        }
    }

    /// A new object with all that the server gives it, in a namespace that exists.
    fn completed(&self, store: &mut Store, mut object: Value) -> Result<Value, Refusal> {
        self.check_identity(&object)?;
        if self.kind.namespaced {
            let namespace = store
                .kind_of("v1", "Namespace")
                .and_then(|kind| store.get(&kind, "", self.namespace));
            let Some(namespace) = namespace else {
                return Err(Refusal::not_found("namespaces", self.namespace));
            };
            if !namespace["metadata"]["deletionTimestamp"].is_null() {
                let message = format!(
                    "unable to create new content in namespace {} because it is being terminated",
                    self.namespace
                );
                return Err(Refusal::forbidden(message));
            }
        }
        if self.kind.has_status
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        store.complete(self.kind, self.namespace, &mut object);
        Ok(object)
    }

    /// PUT.
    pub(crate) fn update(&self, store: &mut Store, object: Value) -> Result<Written, Refusal> {
        let live = self.live(store)?;
        self.check_identity(&object)?;
        self.check_preconditions(&live, &object)?;
        let has_version = object["metadata"]["resourceVersion"]
            .as_str()
            .is_some_and(|version| !version.is_empty());
        let must_have_version =
            !["", "apps", "batch", "policy", "autoscaling"].contains(&self.kind.group.as_str());
        if must_have_version && !has_version && self.subresource != "scale" {
            return Err(Refusal::invalid(
                "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update",
            ));
        }
        let next = if self.subresource == "scale" {
            scale::apply(&live, &object)
        } else {
            object
        };
        Ok(self.stored_update(store, &live, next))
    }

    /// PATCH, by the content type of the patch.
    pub(crate) fn patch(
        &self,
        store: &mut Store,
        content_type: &str,
        patch: &Value,
    ) -> Result<Written, Refusal> {
        if content_type.starts_with("application/apply-patch") {
            return self.server_side_apply(store, patch);
        }
        let live = self.live(store)?;
        self.check_preconditions(&live, patch)?;
        let mut next = if self.subresource == "scale" {
            scale::of(&live)
        } else {
            Value::clone(&live)
        };
        match content_type {
            "application/merge-patch+json" => merge::merge_patch(&mut next, patch),
            "application/strategic-merge-patch+json" => merge::strategic_merge_patch(&mut next, patch),
            "application/json-patch+json" => {
                let patch: json_patch::Patch = serde_json::from_value(patch.clone())
                    .map_err(|error| Refusal::bad_request(error.to_string()))?;
                json_patch::patch(&mut next, &patch).map_err(|error| Refusal::invalid(error.to_string()))?;
            }
            other => {
                return Err(Refusal::new(
                    415,
                    "UnsupportedMediaType",
                    format!("no patch: {other}"),
                ));
            }
        }
        if self.subresource == "scale" {
            next = scale::apply(&live, &next);
        }
        Ok(self.stored_update(store, &live, next))
    }

    fn server_side_apply(&self, store: &mut Store, applied: &Value) -> Result<Written, Refusal> {
        self.check_identity(applied)?;
        let Some(manager) = self.query.field_manager.as_deref() else {
            return Err(Refusal::bad_request("fieldManager is required for apply patch"));
        };
        let applier = Applier {
            manager,
            subresource: self.subresource,
            forces: self.query.forces,
        };
        let Some(live) = store.get(self.kind, self.namespace, self.name) else {
            if !self.subresource.is_empty() {
                return Err(Refusal::not_found(&self.kind.plural, self.name));
            }
            let version = applied["metadata"]["resourceVersion"].as_str();
            if version.is_some_and(|version| !version.is_empty()) {
                return Err(Refusal::modified(&self.kind.plural, self.name));
            }
            let mut object = self.completed(store, applied.clone())?;
            object["metadata"]["name"] = json!(self.name);
            let own = self.own_part(applied, applied);
            let owned = apply::apply(&json!({"apiVersion": object["apiVersion"]}), &own, applier)?;
            object["metadata"]["managedFields"] = owned["metadata"]["managedFields"].clone();
            return Ok(self.stored_new(store, object));
        };
        self.check_preconditions(&live, applied)?;
        let own = self.own_part(&live, applied);
        let next = apply::apply(&live, &own, applier)?;
        Ok(self.stored(store, &live, next))
    }

    /// What of an applied object the path lets change: without the status, or the status alone, or the replicas.
    fn own_part(&self, live: &Value, applied: &Value) -> Value {
        let mut own = applied.clone();
        let Some(fields) = own.as_object_mut() else {
            return own;
        };
        match self.subresource {
            "status" => fields.retain(|name, _| name == "status"),
            "scale" => {
                let replicas = applied["spec"]["replicas"].clone();
                return json!({"spec": {"replicas": replicas}});
            }
            _ if self.kind.has_status => {
                fields.remove("status");
            }
            _ => {}
        }
        if let Some(metadata) = own.get_mut("metadata").and_then(Value::as_object_mut) {
            // Given by the server, and the same whoever applies.
            for name in [
                "resourceVersion",
                "uid",
                "generation",
                "creationTimestamp",
                "managedFields",
            ] {
                metadata.remove(name);
            }
            metadata.insert("name".to_owned(), live["metadata"]["name"].clone());
        }
        own
    }

    /// An update that is not an apply: its changes become the manager's own. It may say itself who had which field before.
    fn stored_update(&self, store: &mut Store, live: &Value, mut next: Value) -> Written {
        self.keep(live, &mut next);
        let mut before = live.clone();
        let owners = &next["metadata"]["managedFields"];
        if owners.is_array() {
            before["metadata"]["managedFields"] = owners.clone();
        }
        fields::record_update(&before, &mut next, self.manager, self.subresource);
        self.stored(store, live, next)
    }

    fn stored(&self, store: &mut Store, live: &Value, mut next: Value) -> Written {
        self.keep(live, &mut next);
        if self.kind.has_status && content(live) != content(&next) {
            let generation = live["metadata"]["generation"].as_u64().unwrap_or(0);
            next["metadata"]["generation"] = json!(generation + 1);
        }
        let has_changed = *live != next && !self.query.is_dry_run;
        let object = if has_changed {
            store.put(self.kind, next)
        } else {
            Arc::new(next)
        };
        Written {
            code: StatusCode::OK,
            object,
            has_changed,
        }
    }

    /// Puts back what this path may not change.
    fn keep(&self, live: &Value, next: &mut Value) {
        const FIXED: [&str; 8] = [
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "resourceVersion",
        ];
        if self.subresource == "status" {
            let status = next["status"].clone();
            let owners = next["metadata"]["managedFields"].clone();
            next.clone_from(live);
            set(next, "status", status);
            set(&mut next["metadata"], "managedFields", owners);
        } else if self.kind.has_status {
            let status = live["status"].clone();
            set(next, "status", status);
        }
        for name in FIXED {
            let fixed = live["metadata"][name].clone();
            set(&mut next["metadata"], name, fixed);
        }
        set(next, "apiVersion", live["apiVersion"].clone());
        set(next, "kind", live["kind"].clone());
    }

    fn live(&self, store: &Store) -> Result<Arc<Value>, Refusal> {
        let live = store.get(self.kind, self.namespace, self.name);
        live.ok_or_else(|| Refusal::not_found(&self.kind.plural, self.name))
    }

    /// The body has to speak of the object that the path names.
    fn check_identity(&self, object: &Value) -> Result<(), Refusal> {
        let differs = |value: &Value, wanted: &str| {
            value
                .as_str()
                .is_some_and(|value| !value.is_empty() && !wanted.is_empty() && value != wanted)
        };
        if !object.is_object() {
            return Err(Refusal::bad_request("the body is no object"));
        }
        if differs(&object["metadata"]["name"], self.name)
            || differs(&object["metadata"]["namespace"], self.namespace)
        {
            return Err(Refusal::bad_request(
                "the name or namespace of the object does not match the URL",
            ));
        }
        if self.subresource != "scale" && differs(&object["kind"], &self.kind.kind) {
            let message = format!(
                "{} in version {} cannot be handled as {}",
                object["kind"], object["apiVersion"], self.kind.kind
            );
            return Err(Refusal::bad_request(message));
        }
        Ok(())
    }

    /// A version or uid in the body has to be the live one.
    fn check_preconditions(&self, live: &Value, object: &Value) -> Result<(), Refusal> {
        for name in ["resourceVersion", "uid"] {
            let wanted = object["metadata"][name].as_str().unwrap_or_default();
            if !wanted.is_empty() && live["metadata"][name] != wanted {
                return Err(Refusal::modified(&self.kind.plural, self.name));
            }
        }
        Ok(())
    }
}

/// Sets a field, or takes it away where there is no value.
fn set(object: &mut Value, name: &str, value: Value) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    if value.is_null() {
        fields.remove(name);
    } else {
        fields.insert(name.to_owned(), value);
    }
}

/// What the generation counts the changes of.
fn content(object: &Value) -> Value {
    let mut content = object.clone();
    if let Some(fields) = content.as_object_mut() {
        fields.remove("metadata");
        fields.remove("status");
    }
    content
}
