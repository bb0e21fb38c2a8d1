//! The CustomResourceDefinitions, as an API server is to have them.
//!
//! kube derives them from the types; what is left to do here is to make them say what the add-on's say, so that one
//! can take the place of the other without a change to any stored object.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::Value;

use crate::{HTTPScaledObject, InterceptorRoute, go_duration};

/// Every resource's definition, in the order of their names.
pub fn crds() -> Vec<CustomResourceDefinition> {
    // The add-on requires the parts of an InterceptorRoute, and of an HTTPScaledObject none.
    vec![
        definition(HTTPScaledObject::crd(), &[]),
        definition(InterceptorRoute::crd(), &["metadata", "spec"]),
    ]
}

/// Every resource's definition as one YAML text of several documents, for `kubectl apply -f -`. The same text for the
/// same build, whatever the machine.
pub fn crds_yaml() -> String {
    crds().iter().map(to_yaml).collect()
}

/// Every definition by the name of its file, as they are committed.
#[cfg(test)]
pub(crate) fn files() -> BTreeMap<String, String> {
    let header = "# Generated from crates/api: UPDATE_GOLDEN=1 cargo test -p rouse-api\n";
    crds()
        .iter()
        .map(|crd| {
            let name = crd.metadata.name.clone().unwrap_or_default();
            (format!("{name}.yaml"), format!("{header}{}", to_yaml(crd)))
        })
        .collect()
}

#[expect(
    clippy::expect_used,
    reason = "the definitions are constants, and a test writes them"
)]
fn to_yaml(crd: &CustomResourceDefinition) -> String {
    let mut value = serde_json::to_value(crd).expect("a definition is plain data");
    write_integers_as_such(&mut value);
    let yaml = serde_saphyr::to_string(&value).expect("a definition is plain data");
    format!("---\n{yaml}")
}

/// Bounds are floating-point numbers in a schema: `1.0` becomes `1`, as everyone writes it.
fn write_integers_as_such(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number
                .as_f64()
                .filter(|float| number.is_f64() && float.fract() == 0.0)
            {
                *value = (float as i64).into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(write_integers_as_such),
        Value::Object(fields) => fields.values_mut().for_each(write_integers_as_such),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Makes a derived definition say what the add-on's says.
fn definition(mut crd: CustomResourceDefinition, required: &[&str]) -> CustomResourceDefinition {
    crd.spec.names.list_kind = Some(format!("{}List", crd.spec.names.kind));
    let schemas = crd
        .spec
        .versions
        .iter_mut()
        .filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut());
    for schema in schemas {
        conform(schema);
        schema.required = (!required.is_empty()).then(|| required.iter().map(|&name| name.into()).collect());
        let properties = schema.properties.get_or_insert_default();
        properties.extend([
            (
                "apiVersion".into(),
                text("The version of the resource that this object is written in."),
            ),
            ("kind".into(), text("The name of the resource.")),
            (
                "metadata".into(),
                JSONSchemaProps {
                    type_: Some("object".into()),
                    ..Default::default()
                },
            ),
        ]);
    }
    crd
}

/// Removes what only this crate reads, at every level: the marks of durations, titles, and the permission for null,
/// which the API server takes for "not there" anyway.
fn conform(schema: &mut JSONSchemaProps) {
    schema.title = None;
    schema.nullable = None;
    if schema.format.as_deref() == Some(go_duration::SCHEMA_FORMAT) {
        schema.format = None;
    }
    for property in schema.properties.iter_mut().flat_map(BTreeMap::values_mut) {
        conform(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        conform(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        conform(values);
    }
}

fn text(description: &str) -> JSONSchemaProps {
    JSONSchemaProps {
        type_: Some("string".into()),
        description: Some(description.into()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
