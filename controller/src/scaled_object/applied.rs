//! Whether an apply would change anything, found without asking the API server.
//!
//! It would not if the live object has every field that is applied, with its value and in Rouse's hands, and if nothing else
//! is in Rouse's hands: a field that is applied no more goes away with the next apply. What others have added is theirs.

use serde_json::{Map, Value};

use crate::observed::ScaledObject;

/// The parts of an object that are applied.
const PARTS: [&str; 2] = ["metadata", "spec"];

/// What of the metadata is applied; the rest names the object.
const METADATA: [&str; 3] = ["labels", "annotations", "ownerReferences"];

/// Whether `live` is what an apply of `desired` would make of it.
pub(crate) fn is_applied(desired: &Value, live: &ScaledObject) -> bool {
    let desired = Value::Object(applied_fields(desired));
    holds(&desired, &live.content)
        && live
            .applied
            .as_ref()
            .is_some_and(|fields| owns(fields, &desired) && owns_nothing_else(fields, &desired))
}

fn applied_fields(object: &Value) -> Map<String, Value> {
    let mut fields = Map::new();
    for part in PARTS {
        let Some(Value::Object(content)) = object.get(part) else {
            continue;
        };
        let mut content = content.clone();
        if part == "metadata" {
            content.retain(|name, _| METADATA.contains(&name.as_str()));
        }
        fields.insert(part.to_owned(), content.into());
    }
    fields
}

/// Whether `live` has everything that `desired` has. Entries of lists are compared in order, except those of owners.
fn holds(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired.iter().all(|(name, desired)| {
            let Some(live) = live.get(name) else { return false };
            match (name.as_str(), desired, live) {
                ("ownerReferences", Value::Array(desired), Value::Array(live)) => desired
                    .iter()
                    .all(|desired| live.iter().any(|live| holds(desired, live))),
                _ => holds(desired, live),
            }
        }),
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len()
                && desired
                    .iter()
                    .zip(live)
                    .all(|(desired, live)| holds(desired, live))
        }
        (desired, live) => desired == live,
    }
}

/// Whether everything in `desired` is among the owned `fields`, in the notation of `FieldsV1`: a field is `f:name`, and one
/// without fields of its own is owned as a whole.
fn owns(fields: &Value, desired: &Value) -> bool {
    let (Value::Object(owned), Value::Object(desired)) = (fields, desired) else {
        // A list: owned as a whole, or by its entries, of which ours is one.
        return true;
    };
    owned.keys().all(|step| step == ".")
        || desired.iter().all(|(name, desired)| {
            owned
                .get(&format!("f:{name}"))
                .is_some_and(|fields| owns(fields, desired))
        })
}

/// Whether all the owned `fields` are in `desired`.
fn owns_nothing_else(fields: &Value, desired: &Value) -> bool {
    let Value::Object(owned) = fields else { return true };
    owned
        .iter()
        .filter(|(step, _)| *step != ".")
        .all(|(step, fields)| {
            let inner = match (step.split_once(':'), desired) {
                (Some(("f", name)), desired) => desired.get(name),
                (Some(("k", key)), Value::Array(entries)) => entry(entries, key),
                _ => None,
            };
            inner.is_some_and(|inner| owns_nothing_else(fields, inner))
        })
}

/// The entry of a list that has these keys.
fn entry<'a>(entries: &'a [Value], key: &str) -> Option<&'a Value> {
    let key: Map<String, Value> = serde_json::from_str(key).ok()?;
    entries
        .iter()
        .find(|entry| key.iter().all(|(name, value)| entry.get(name) == Some(value)))
}

#[cfg(test)]
mod tests;
