//! Merge patches: RFC 7386, and strategic ones as far as keyed lists go.

use serde_json::{Map, Value};

use crate::apply;

/// RFC 7386.
pub(crate) fn merge_patch(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        value.clone_from(patch);
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    for (name, patch) in patch {
        if patch.is_null() {
            fields.remove(name);
        } else {
            merge_patch(fields.entry(name.as_str()).or_insert(Value::Null), patch);
        }
    }
}

/// Keyed lists merge by their keys, all others are replaced. Directives such as `$patch` are not known.
pub(crate) fn strategic_merge_patch(value: &mut Value, patch: &Value) {
    apply::merge(value, patch, &mut Vec::new());
}
