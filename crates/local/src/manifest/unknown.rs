//! Finds the fields that were typed but that nothing reads: a misspelt `readinesProbe` is not an error to a cluster's
//! older clients, and silently ignoring it costs an afternoon.

use serde_json::Value;

/// The paths of the fields in `typed` that are missing from `understood`, the same object after a round trip through
/// its type. At most `limit` paths.
pub(super) fn unknown_fields(typed: &Value, understood: &Value, limit: usize) -> Vec<String> {
    let mut found = Vec::new();
    walk(typed, understood, &mut String::new(), limit, &mut found);
    found
}

fn walk(typed: &Value, understood: &Value, path: &mut String, limit: usize, found: &mut Vec<String>) {
    if found.len() >= limit {
        return;
    }
    let length = path.len();
    match (typed, understood) {
        (Value::Object(typed), Value::Object(understood)) => {
            for (key, value) in typed {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                match understood.get(key) {
                    Some(counterpart) => walk(value, counterpart, path, limit, found),
                    // A null or an empty value says nothing, and the types leave it out when they are written.
                    None if is_empty(value) => {}
                    None if found.len() < limit => found.push(path.clone()),
                    None => {}
                }
                path.truncate(length);
            }
        }
        (Value::Array(typed), Value::Array(understood)) => {
            for (index, (value, counterpart)) in typed.iter().zip(understood).enumerate() {
                path.push('[');
                path.push_str(&index.to_string());
                path.push(']');
                walk(value, counterpart, path, limit, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_fields_that_were_lost_are_named() {
        let typed = json!({"spec": {"a": 1, "items": [{"b": 1, "bb": 2}], "none": null, "empty": {}}});
        let understood = json!({"spec": {"a": 1, "items": [{"b": 1}], "extra": true}});
        assert_eq!(unknown_fields(&typed, &understood, 8), ["spec.items[0].bb"]);
    }

    #[test]
    fn the_number_of_fields_named_is_bounded() {
        let typed = json!({"a": 1, "b": 2, "c": 3});
        assert_eq!(unknown_fields(&typed, &json!({}), 2), ["a", "b"]);
    }
}
