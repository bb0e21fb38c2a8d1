//! Walks an object and its schema side by side.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

use super::Findings;
use crate::{FieldError, GoDuration, go_duration};

/// Adds to `findings` what `object` has that `schema` does not allow. As deep as the schema, whatever the object is.
pub(super) fn walk(schema: &JSONSchemaProps, object: &Value, findings: &mut Findings) {
    visit("", schema, object, findings);
}

/// The object without the fields that are null. As deep as the object, which its parser has bounded.
pub(super) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

fn visit(path: &str, schema: &JSONSchemaProps, value: &Value, findings: &mut Findings) {
    let error = |findings: &mut Findings, message: String| {
        findings.errors.push(FieldError::new(path, message));
    };
    match (schema.type_.as_deref(), value) {
        (Some("object"), Value::Object(fields)) => visit_object(path, schema, fields, findings),
        (Some("array"), Value::Array(items)) => visit_array(path, schema, items, findings),
        (Some("string"), Value::String(text)) => {
            if let Some(message) = check_text(schema, text) {
                error(findings, message);
            }
        }
        (Some("integer"), Value::Number(number)) => {
            if let Some(message) = check_integer(schema, number) {
                error(findings, message);
            }
        }
        (Some("boolean"), Value::Bool(_)) | (None, _) => {}
        (Some(expected), found) => {
            error(
                findings,
                format!("must be {}, not {}", with_article(expected), kind_of(found)),
            );
        }
    }
}

fn visit_object(
    path: &str,
    schema: &JSONSchemaProps,
    fields: &serde_json::Map<String, Value>,
    findings: &mut Findings,
) {
    for name in schema.required.iter().flatten() {
        if fields.get(name).is_none_or(Value::is_null) {
            findings
                .errors
                .push(FieldError::new(join(path, name), "must be set"));
        }
    }
    let properties = schema.properties.as_ref();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let path = join(path, name);
        if let Some(property) = properties.and_then(|properties| properties.get(name)) {
            visit(&path, property, value, findings);
            continue;
        }
        match &schema.additional_properties {
            Some(JSONSchemaPropsOrBool::Schema(values)) => visit(&path, values, value, findings),
            Some(JSONSchemaPropsOrBool::Bool(true)) => {}
            _ if properties.is_none() => {}
            _ => findings
                .unknown
                .push(FieldError::new(path, unknown_message(schema, name))),
        }
    }
}

fn visit_array(path: &str, schema: &JSONSchemaProps, items: &[Value], findings: &mut Findings) {
    if let Some(min) = schema.min_items
        && count(items.len()) < min
    {
        let message = format!(
            "must have at least {min} {}",
            if min == 1 { "entry" } else { "entries" }
        );
        findings.errors.push(FieldError::new(path, message));
    }
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
        for (i, value) in items.iter().enumerate() {
            visit(&format!("{path}[{i}]"), item, value, findings);
        }
    }
    check_distinct(path, schema, items, findings);
}

/// A list of type `set` has no entry twice, a list of type `map` no key.
fn check_distinct(path: &str, schema: &JSONSchemaProps, items: &[Value], findings: &mut Findings) {
    let keys = schema.x_kubernetes_list_map_keys.as_deref().unwrap_or_default();
    let key_of = |item: &Value| match schema.x_kubernetes_list_type.as_deref() {
        Some("set") => Some(item.to_string()),
        Some("map") => keys
            .iter()
            .map(|key| item.get(key).map(ToString::to_string))
            .collect::<Option<Vec<_>>>()
            .map(|values| values.join(", ")),
        _ => None,
    };
    let mut seen = BTreeSet::new();
    for (i, item) in items.iter().enumerate() {
        if let Some(key) = key_of(item)
            && !seen.insert(key.clone())
        {
            let message = format!("{key} is listed twice");
            findings
                .errors
                .push(FieldError::new(format!("{path}[{i}]"), message));
        }
    }
}

fn check_text(schema: &JSONSchemaProps, text: &str) -> Option<String> {
    let length = count(text.chars().count());
    if let Some(min) = schema.min_length
        && length < min
    {
        return Some(if min == 1 {
            "must not be empty".to_owned()
        } else {
            format!("must have at least {min} characters")
        });
    }
    if let Some(max) = schema.max_length
        && length > max
    {
        return Some(format!("must have at most {max} characters"));
    }
    if schema.format.as_deref() == Some(go_duration::SCHEMA_FORMAT) {
        return text.parse::<GoDuration>().err().map(|error| error.to_string());
    }
    let allowed: Vec<String> = schema
        .enum_
        .iter()
        .flatten()
        .map(|JSON(value)| value.to_string())
        .collect();
    let is_allowed = schema
        .enum_
        .iter()
        .flatten()
        .any(|JSON(value)| value.as_str() == Some(text));
    (!allowed.is_empty() && !is_allowed).then(|| format!("must be {}, not {text:?}", allowed.join(" or ")))
}

fn check_integer(schema: &JSONSchemaProps, number: &serde_json::Number) -> Option<String> {
    let Some(value) = number.as_i64() else {
        return Some(format!("must be an integer of at most 64 bits, not {number}"));
    };
    let (mut min, mut max) = match schema.format.as_deref() {
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    // The bounds in a schema are floating-point numbers; ours are small integers.
    if let Some(minimum) = schema.minimum {
        min = min.max(minimum as i64);
    }
    if let Some(maximum) = schema.maximum {
        max = max.min(maximum as i64);
    }
    if (min..=max).contains(&value) {
        None
    } else if schema.minimum.is_some() && schema.maximum.is_none() && value < min {
        Some(format!("must be at least {min}, not {value}"))
    } else {
        Some(format!("must be from {min} to {max}, not {value}"))
    }
}

/// Names the field that may have been meant: the same letters in another case, as in `minReplicas` for `MinReplicas`.
fn unknown_message(schema: &JSONSchemaProps, name: &str) -> String {
    let meant = schema
        .properties
        .iter()
        .flat_map(|properties| properties.keys())
        .find(|known| known.eq_ignore_ascii_case(name));
    match meant {
        Some(meant) => format!("unknown field, did you mean {meant}?"),
        None => "unknown field".to_owned(),
    }
}

/// A count in the type that schemas have their bounds in.
fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn with_article(kind: &str) -> String {
    match kind {
        "array" => "a list".to_owned(),
        "object" => "a map".to_owned(),
        "integer" => "an integer".to_owned(),
        other => format!("a {other}"),
    }
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string {text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}
