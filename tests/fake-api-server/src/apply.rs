//! Server-side apply: merges what a manager applies, takes away what it applied before and no longer does, and finds
//! conflicts with the fields of others.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    fields::{self, FieldPath, ListKind, Ownership, list_kind, value_at},
    status::Refusal,
};

/// Who applies, and to which part of the object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applier<'a> {
    pub(crate) manager: &'a str,
    pub(crate) subresource: &'a str,
    /// Takes the fields of others in place of a conflict.
    pub(crate) forces: bool,
}

/// The object after `applied`, which names only what belongs to its part.
pub(crate) fn apply(live: &Value, applied: &Value, applier: Applier<'_>) -> Result<Value, Refusal> {
    let own = Ownership {
        fields: fields::leaves(applied),
        ..Ownership::new(applier.manager, true, applier.subresource)
    };
    let mut owners = fields::owners(live);
    let taken = conflicts(live, applied, &own, &owners);
    if !applier.forces && !taken.is_empty() {
        return Err(conflict(&taken));
    }
    let mut next = live.clone();
    merge(&mut next, applied, &mut Vec::new());
    let given_up: BTreeSet<FieldPath> = owners
        .iter()
        .find(|owner| owner.is_of(&own))
        .map(|before| before.fields.difference(&own.fields).cloned().collect())
        .unwrap_or_default();
    for owner in &mut owners {
        owner
            .fields
            .retain(|path| !taken.iter().any(|(taken, _)| taken == path));
    }
    match owners.iter_mut().find(|owner| owner.is_of(&own)) {
        Some(before) => before.fields.clone_from(&own.fields),
        None => owners.push(own),
    }
    // In order, so that an entry of a list goes before its fields: without its key it could not be found.
    for path in &given_up {
        let is_owned = owners
            .iter()
            .any(|owner| owner.fields.iter().any(|other| other.starts_with(path)));
        if !is_owned {
            fields::remove_at(&mut next, path);
        }
    }
    fields::set_owners(&mut next, &owners);
    Ok(next)
}

/// The fields that would get another value and belong to someone else, with their owner.
fn conflicts(
    live: &Value,
    applied: &Value,
    own: &Ownership,
    owners: &[Ownership],
) -> Vec<(FieldPath, String)> {
    let differs = |path: &FieldPath| {
        !path.last().is_some_and(|step| step.starts_with("k:"))
            && value_at(live, path) != value_at(applied, path)
    };
    let others = owners.iter().filter(|owner| !owner.is_of(own));
    others
        .flat_map(|owner| {
            owner
                .fields
                .intersection(&own.fields)
                .map(|path| (path.clone(), owner.manager.clone()))
        })
        .filter(|(path, _)| differs(path))
        .collect()
}

fn conflict(taken: &[(FieldPath, String)]) -> Refusal {
    let name = |path: &FieldPath| {
        let steps = path.iter().map(|step| {
            step.strip_prefix("f:")
                .map_or_else(|| format!("[{step}]"), |name| format!(".{name}"))
        });
        steps.collect::<String>()
    };
    let causes: Vec<Value> = taken
        .iter()
        .map(|(path, manager)| {
            json!({
                "reason": "FieldManagerConflict", "field": name(path),
                "message": format!("conflict with \"{manager}\""),
            })
        })
        .collect();
    let managers: BTreeSet<&str> = taken.iter().map(|(_, manager)| manager.as_str()).collect();
    let mut refusal = Refusal::new(
        409,
        "Conflict",
        format!(
            "Apply failed with {} conflicts: conflicts with {managers:?}: {}",
            taken.len(),
            taken
                .iter()
                .map(|(path, _)| name(path))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    );
    refusal.body["details"] = json!({"causes": causes});
    refusal
}

/// Lays `applied` over `value`: maps by key, lists as [`list_kind`] says.
pub(crate) fn merge(value: &mut Value, applied: &Value, path: &mut FieldPath) {
    match (&mut *value, applied) {
        (Value::Object(fields), Value::Object(applied)) => {
            for (name, applied) in applied {
                if applied.is_null() {
                    fields.remove(name);
                    continue;
                }
                path.push(fields::field(name));
                merge(fields.entry(name.as_str()).or_insert(Value::Null), applied, path);
                path.pop();
            }
        }
        (Value::Array(items), Value::Array(applied)) => match list_kind(path) {
            ListKind::Atomic => items.clone_from(applied),
            ListKind::Set => {
                for item in applied {
                    if !items.contains(item) {
                        items.push(item.clone());
                    }
                }
            }
            ListKind::Keyed(keys) => {
                for applied in applied {
                    let same = |item: &&mut Value| keys.iter().all(|key| item[*key] == applied[*key]);
                    path.push(fields::entry(keys, applied));
                    match items.iter_mut().find(same) {
                        Some(item) => merge(item, applied, path),
                        None => items.push(applied.clone()),
                    }
                    path.pop();
                }
            }
        },
        (value, applied) => value.clone_from(applied),
    }
}
