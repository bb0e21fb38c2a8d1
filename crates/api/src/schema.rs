//! The API server's part, for those who read objects from files: what kubectl would report of an object before it is
//! stored, with the path of each field.
//!
//! Works on the schemas that the CRDs are made of, so that the two cannot differ. Types, required fields, bounds,
//! lists of distinct entries and unknown fields are checked here; the rules between fields (CEL, in the CRDs) are in
//! each resource's `validate()`, which [`parse`] calls too.

mod walk;

use std::sync::LazyLock;

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::CustomResourceExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{FieldError, FieldWarning, HTTPScaledObject, InterceptorRoute};

/// A resource that can be read from a file. Implemented by this crate's resources and by no other.
pub trait Checked: kube::Resource<DynamicType = ()> + DeserializeOwned + sealed::Sealed {
    /// The resource's schema, metadata included.
    fn schema() -> &'static JSONSchemaProps;

    /// Why the object cannot be served.
    fn validate(&self) -> Vec<FieldError>;

    /// What of the object is served differently from how it is written.
    fn warnings(&self) -> Vec<FieldWarning>;
}

/// What an object has that its schema does not allow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Fields that are wrong or missing.
    pub errors: Vec<FieldError>,
    /// Fields that the resource does not have: misspelt, or of another version. An API server drops them.
    pub unknown: Vec<FieldError>,
}

/// Compares an object with its schema. Says nothing of the rules between fields: see [`Checked::validate`].
pub fn check<R: Checked>(object: &Value) -> Findings {
    let mut findings = Findings::default();
    for (field, expected) in [("apiVersion", R::api_version(&())), ("kind", R::kind(&()))] {
        match object.get(field).and_then(Value::as_str) {
            Some(found) if found == expected => {}
            found => findings.errors.push(FieldError::new(
                field,
                format!(
                    "must be {expected:?}, not {}",
                    found.map_or("missing".into(), |f| format!("{f:?}"))
                ),
            )),
        }
    }
    walk::walk(R::schema(), object, &mut findings);
    findings
}

/// Reads an object as strictly as kubectl does: against the schema, unknown fields included, and against the rules
/// between fields.
///
/// # Errors
///
/// Everything that is wrong with the object, in the order of its fields; never an empty list.
pub fn parse<R: Checked>(object: &Value) -> Result<R, Vec<FieldError>> {
    let Findings { mut errors, unknown } = check::<R>(object);
    errors.extend(unknown);
    if !errors.is_empty() {
        return Err(errors);
    }
    // The API server drops nulls before it fills in defaults, and so do the types' own defaults.
    let parsed: R = serde_json::from_value(walk::without_nulls(object))
        .map_err(|error| vec![FieldError::new("", error.to_string())])?;
    let errors = parsed.validate();
    if errors.is_empty() {
        Ok(parsed)
    } else {
        Err(errors)
    }
}

// === impl Checked ===

impl Checked for HTTPScaledObject {
    fn schema() -> &'static JSONSchemaProps {
        static SCHEMA: LazyLock<JSONSchemaProps> = LazyLock::new(|| with_metadata(HTTPScaledObject::crd()));
        &SCHEMA
    }

    fn validate(&self) -> Vec<FieldError> {
        self.validate()
    }

    fn warnings(&self) -> Vec<FieldWarning> {
        self.warnings()
    }
}

impl Checked for InterceptorRoute {
    fn schema() -> &'static JSONSchemaProps {
        static SCHEMA: LazyLock<JSONSchemaProps> = LazyLock::new(|| with_metadata(InterceptorRoute::crd()));
        &SCHEMA
    }

    fn validate(&self) -> Vec<FieldError> {
        self.validate()
    }

    fn warnings(&self) -> Vec<FieldWarning> {
        self.warnings()
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::HTTPScaledObject {}
    impl Sealed for crate::InterceptorRoute {}
}

/// The schema of a definition with one for `metadata`, which an API server knows by itself.
fn with_metadata(crd: CustomResourceDefinition) -> JSONSchemaProps {
    let mut schema = crd
        .spec
        .versions
        .into_iter()
        .find_map(|version| version.schema?.open_api_v3_schema)
        .unwrap_or_default();
    let string = JSONSchemaProps {
        type_: Some("string".into()),
        ..Default::default()
    };
    schema.properties.get_or_insert_default().extend([
        ("apiVersion".into(), string.clone()),
        ("kind".into(), string),
        ("metadata".into(), metadata()),
    ]);
    schema.required.get_or_insert_default().push("metadata".into());
    schema
}

fn metadata() -> JSONSchemaProps {
    let settings = schemars::generate::SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let schema = settings
        .with_transform(schemars::transform::AddNullable::default())
        .into_generator()
        .into_root_schema_for::<ObjectMeta>();
    // Without a schema of its own, anything may be in metadata; a test sees to it that there is one.
    let mut schema: JSONSchemaProps = serde_json::from_value(schema.to_value()).unwrap_or_default();
    schema.required = Some(vec!["name".into()]);
    schema
}

#[cfg(test)]
mod tests;
