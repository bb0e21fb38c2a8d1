//! Which manager owns which fields, as `metadata.managedFields` says it.
//!
//! A path is a list of steps in the notation of `FieldsV1`: `f:spec` a field, `k:{"type":"Ready"}` an entry of a list
//! that is keyed, `v:"x"` an entry of a set. Only leaves are owned, and entries of keyed lists.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// From the object down.
pub(crate) type FieldPath = Vec<String>;

/// How a list merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListKind {
    /// As one value.
    Atomic,
    /// By the fields that tell its entries apart.
    Keyed(&'static [&'static str]),
    /// By value.
    Set,
}

/// The lists that Rouse meets and that do not merge as one value. Triggers, rules, hosts and the like are atomic.
pub(crate) fn list_kind(path: &[String]) -> ListKind {
    let last = path.last().map_or("", String::as_str);
    match last {
        "f:conditions" => ListKind::Keyed(&["type"]),
        "f:ownerReferences" => ListKind::Keyed(&["uid"]),
        "f:containers" | "f:initContainers" | "f:volumes" | "f:env" => ListKind::Keyed(&["name"]),
        "f:finalizers" => ListKind::Set,
        "f:headers" if path.len() == 2 => ListKind::Keyed(&["name"]),
        _ => ListKind::Atomic,
    }
}

pub(crate) fn field(name: &str) -> String {
    format!("f:{name}")
}

/// The step to an entry of a keyed list.
pub(crate) fn entry(keys: &[&str], item: &Value) -> String {
    let key: Map<String, Value> = keys
        .iter()
        .map(|key| ((*key).to_owned(), item[*key].clone()))
        .collect();
    format!("k:{}", Value::Object(key))
}

/// All leaves of `object` that can be owned.
pub(crate) fn leaves(object: &Value) -> BTreeSet<FieldPath> {
    let mut owned = object.clone();
    if let Some(fields) = owned.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            const OF_THE_SERVER: [&str; 8] = [
                "name",
                "namespace",
                "uid",
                "resourceVersion",
                "generation",
                "creationTimestamp",
                "managedFields",
                "deletionTimestamp",
            ];
            metadata.retain(|key, _| !OF_THE_SERVER.contains(&key.as_str()));
            if metadata.is_empty() {
                fields.remove("metadata");
            }
        }
        if fields.is_empty() {
            return BTreeSet::new();
        }
    }
    let mut found = BTreeSet::new();
    collect(&owned, &mut Vec::new(), &mut found);
    found
}

fn collect(value: &Value, path: &mut FieldPath, found: &mut BTreeSet<FieldPath>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                path.push(field(name));
                collect(value, path, found);
                path.pop();
            }
        }
        Value::Array(items) if !items.is_empty() && list_kind(path) != ListKind::Atomic => {
            let kind = list_kind(path);
            for item in items {
                match kind {
                    ListKind::Keyed(keys) => {
                        path.push(entry(keys, item));
                        found.insert(path.clone());
                        collect(item, path, found);
                    }
                    ListKind::Set | ListKind::Atomic => {
                        path.push(format!("v:{item}"));
                        found.insert(path.clone());
                    }
                }
                path.pop();
            }
        }
        Value::Null => {}
        _ => {
            found.insert(path.clone());
        }
    }
}

fn is_entry(item: &Value, step: &str) -> bool {
    if let Some(value) = step.strip_prefix("v:") {
        return serde_json::from_str::<Value>(value).is_ok_and(|value| *item == value);
    }
    let key = step
        .strip_prefix("k:")
        .and_then(|key| serde_json::from_str::<Map<String, Value>>(key).ok());
    key.is_some_and(|key| key.iter().all(|(name, value)| item[name] == *value))
}

/// What is at `path`.
pub(crate) fn value_at<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter()
        .try_fold(object, |value, step| match step.strip_prefix("f:") {
            Some(name) => value.get(name),
            None => value.as_array()?.iter().find(|item| is_entry(item, step)),
        })
}

/// Takes away what is at `path`, and the maps and lists below the second level that it leaves empty.
pub(crate) fn remove_at(value: &mut Value, path: &[String]) {
    remove_below(value, path, 0);
}

fn remove_below(value: &mut Value, path: &[String], depth: usize) {
    let Some((step, rest)) = path.split_first() else {
        return;
    };
    if let Some(name) = step.strip_prefix("f:") {
        let Some(fields) = value.as_object_mut() else {
            return;
        };
        if rest.is_empty() {
            fields.remove(name);
        } else if let Some(inner) = fields.get_mut(name) {
            remove_below(inner, rest, depth + 1);
            if depth > 0 && is_empty(inner) {
                fields.remove(name);
            }
        }
    } else if let Some(items) = value.as_array_mut()
        && let Some(place) = items.iter().position(|item| is_entry(item, step))
    {
        if rest.is_empty() {
            items.remove(place);
        } else {
            remove_below(&mut items[place], rest, depth + 1);
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// One manager's fields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ownership {
    pub(crate) manager: String,
    pub(crate) is_apply: bool,
    pub(crate) subresource: String,
    pub(crate) fields: BTreeSet<FieldPath>,
}

impl Ownership {
    pub(crate) fn new(manager: &str, is_apply: bool, subresource: &str) -> Self {
        Self {
            manager: manager.to_owned(),
            is_apply,
            subresource: subresource.to_owned(),
            fields: BTreeSet::new(),
        }
    }

    pub(crate) fn is_of(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.is_apply == other.is_apply
            && self.subresource == other.subresource
    }
}

/// Reads `metadata.managedFields`.
pub(crate) fn owners(object: &Value) -> Vec<Ownership> {
    let entries = object["metadata"]["managedFields"].as_array();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let read = |entry: &Value| {
        let mut fields = BTreeSet::new();
        read_fields(&entry["fieldsV1"], &mut Vec::new(), &mut fields);
        Ownership {
            manager: text(entry, "manager"),
            is_apply: entry["operation"] == "Apply",
            subresource: text(entry, "subresource"),
            fields,
        }
    };
    entries.into_iter().flatten().map(read).collect()
}

fn read_fields(node: &Value, path: &mut FieldPath, found: &mut BTreeSet<FieldPath>) {
    let children = node.as_object();
    if children.is_none_or(|children| children.is_empty() || children.contains_key(".")) && !path.is_empty() {
        found.insert(path.clone());
    }
    for (step, child) in children.into_iter().flatten().filter(|(step, _)| *step != ".") {
        path.push(step.clone());
        read_fields(child, path, found);
        path.pop();
    }
}

/// Writes `metadata.managedFields`, without the managers that own nothing.
pub(crate) fn set_owners(object: &mut Value, owners: &[Ownership]) {
    let api_version = object["apiVersion"].clone();
    let write = |owner: &Ownership| {
        let mut tree = json!({});
        for path in &owner.fields {
            write_path(&mut tree, path);
        }
        let operation = if owner.is_apply { "Apply" } else { "Update" };
        let mut entry = json!({
            "manager": owner.manager, "operation": operation, "apiVersion": api_version,
            "fieldsType": "FieldsV1", "fieldsV1": tree,
        });
        if !owner.subresource.is_empty() {
            entry["subresource"] = json!(owner.subresource);
        }
        entry
    };
    let entries: Vec<Value> = owners
        .iter()
        .filter(|owner| !owner.fields.is_empty())
        .map(write)
        .collect();
    if !entries.is_empty() {
        object["metadata"]["managedFields"] = Value::Array(entries);
    } else if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
}

fn write_path(tree: &mut Value, path: &[String]) {
    let Some((step, rest)) = path.split_first() else {
        return;
    };
    let node = &mut tree[step];
    if !node.is_object() {
        *node = json!({});
    }
    if rest.is_empty() && step.starts_with("k:") {
        node["."] = json!({});
    }
    write_path(node, rest);
}

/// Moves what an update by `manager` changed into its hands.
pub(crate) fn record_update(live: &Value, next: &mut Value, manager: &str, subresource: &str) {
    let changed: BTreeSet<FieldPath> = leaves(next)
        .into_iter()
        .filter(|path| match value_at(live, path) {
            None => true,
            Some(before) => {
                !path.last().is_some_and(|step| step.starts_with("k:"))
                    && value_at(next, path) != Some(before)
            }
        })
        .collect();
    let own = Ownership::new(manager, false, subresource);
    let mut owners = owners(live);
    if !owners.iter().any(|owner| owner.is_of(&own)) {
        owners.push(own.clone());
    }
    for owner in &mut owners {
        owner.fields.retain(|path| value_at(next, path).is_some());
        if owner.is_of(&own) {
            owner.fields.extend(changed.iter().cloned());
        } else {
            owner.fields.retain(|path| !changed.contains(path));
        }
    }
    set_owners(next, &owners);
}
