//! Takes files apart into typed objects.
//!
//! A file is cut at its document markers first, so that a fault in one document is told with that document's number and
//! does not hide the others. Each document is read as YAML, then by its `apiVersion` and `kind` into its type; the path
//! of the field that does not fit comes with the error.

use k8s_openapi::Metadata;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rouse_api::HTTPScaledObject;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::documents::documents;
use super::error::{DocumentRef, ManifestError, ManifestErrors};
use super::kinds::{Judgement, judge};
use super::source::Source;
use super::unknown::unknown_fields;

/// Unknown fields named for one document; a document of another program's making would flood the terminal.
const UNKNOWN_FIELDS_NAMED: usize = 4;

/// An object and where it was read.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// The object, its namespace filled in.
    pub object: T,
    /// Where it was read.
    pub at: DocumentRef,
}

/// Everything that the sources hold, in file order.
#[derive(Debug, Default)]
pub struct Manifests {
    /// The Deployments.
    pub deployments: Vec<Located<Deployment>>,
    /// The Services.
    pub services: Vec<Located<Service>>,
    /// The routes.
    pub routes: Vec<Located<HTTPScaledObject>>,
    /// One line for each thing that was skipped.
    pub notices: Vec<String>,
    /// One line for each thing that is probably a mistake.
    pub warnings: Vec<String>,
}

/// Reads every document of every source.
///
/// # Errors
/// Every document that is not YAML, has no or an unknown kind, or does not fit its type.
pub fn read(sources: &[Source]) -> Result<Manifests, ManifestErrors> {
    let mut manifests = Manifests::default();
    let mut errors = Vec::new();
    for source in sources {
        for document in documents(source) {
            match document.parse() {
                Ok(Value::Null) => {}
                Ok(value) => manifests.add(&value, &document.at, "", &mut errors),
                Err(error) => errors.push(error),
            }
        }
    }
    if errors.is_empty() {
        Ok(manifests)
    } else {
        Err(ManifestErrors(errors))
    }
}

impl Manifests {
    fn add(&mut self, value: &Value, at: &DocumentRef, prefix: &str, errors: &mut Vec<ManifestError>) {
        let Value::Object(fields) = value else {
            let field = if prefix.is_empty() {
                "document"
            } else {
                prefix.trim_end_matches('.')
            };
            errors.push(ManifestError::field(
                at,
                field,
                "expected an object with apiVersion and kind",
            ));
            return;
        };
        let mut text = |field: &str| match fields.get(field) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            None | Some(Value::Null | Value::String(_)) => {
                errors.push(ManifestError::field(at, format!("{prefix}{field}"), "missing"));
                None
            }
            Some(_) => {
                errors.push(ManifestError::field(
                    at,
                    format!("{prefix}{field}"),
                    "expected a string",
                ));
                None
            }
        };
        let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
            return;
        };
        let reading = Reading { at, prefix };
        match (api_version.as_str(), kind.as_str()) {
            ("apps/v1", "Deployment") => reading.object(value, &mut self.warnings, errors, &mut self.deployments),
            ("v1", "Service") => reading.object(value, &mut self.warnings, errors, &mut self.services),
            ("http.keda.sh/v1alpha1", "HTTPScaledObject") => {
                reading.route(value, &mut self.warnings, errors, &mut self.routes);
            }
            (_, "List") => {
                let Some(Value::Array(items)) = fields.get("items") else {
                    errors.push(ManifestError::field(at, format!("{prefix}items"), "expected a list of objects"));
                    return;
                };
                // A list in a list is nothing kubectl writes; one level bounds the recursion.
                for (index, item) in items.iter().enumerate() {
                    let prefix = format!("{prefix}items[{index}].");
                    if item.get("kind").and_then(Value::as_str) == Some("List") {
                        errors.push(ManifestError::field(at, format!("{prefix}kind"), "a List within a List"));
                    } else {
                        self.add(item, at, &prefix, errors);
                    }
                }
            }
            (_, "InterceptorRoute") => errors.push(ManifestError::field(
                at,
                format!("{prefix}kind"),
                "InterceptorRoute is not supported by `rouse local` yet; describe the route as an HTTPScaledObject",
            )),
            _ => match judge(&api_version, &kind) {
                Judgement::Skipped => {
                    let name = fields
                        .get("metadata")
                        .and_then(|metadata| metadata.get("name"))
                        .and_then(Value::as_str)
                        .unwrap_or("without a name");
                    self.notices.push(format!("{at}: {kind} {name} is skipped: it has no part in `rouse local`"));
                }
                Judgement::WrongVersion(expected) => errors.push(ManifestError::field(
                    at,
                    format!("{prefix}apiVersion"),
                    format!("{kind} is {expected}, not {api_version}"),
                )),
                Judgement::Unknown(hint) => {
                    errors.push(ManifestError::field(
                        at,
                        format!("{prefix}kind"),
                        format!("unknown kind {kind} of {api_version}{hint}"),
                    ));
                }
            },
        }
    }
}

struct Reading<'a> {
    at: &'a DocumentRef,
    prefix: &'a str,
}

impl Reading<'_> {
    fn object<T>(
        &self,
        value: &Value,
        warnings: &mut Vec<String>,
        errors: &mut Vec<ManifestError>,
        objects: &mut Vec<Located<T>>,
    ) where
        T: DeserializeOwned + Serialize + Metadata<Ty = ObjectMeta>,
    {
        let mut object: T = match serde_path_to_error::deserialize(value) {
            Ok(object) => object,
            Err(error) => {
                let (field, message) = explain(&error);
                errors.push(ManifestError::field(
                    self.at,
                    format!("{}{field}", self.prefix),
                    message,
                ));
                return;
            }
        };
        if !self.complete(object.metadata_mut(), errors) {
            return;
        }
        if let Ok(understood) = serde_json::to_value(&object) {
            for field in unknown_fields(value, &understood, UNKNOWN_FIELDS_NAMED) {
                warnings.push(format!(
                    "{}: {}{field}: unknown field, ignored",
                    self.at, self.prefix
                ));
            }
        }
        objects.push(Located {
            object,
            at: self.at.clone(),
        });
    }
}

impl Reading<'_> {
    /// A route is read as strictly as kubectl reads it, by the schema that its CRD is made of.
    fn route(
        &self,
        value: &Value,
        warnings: &mut Vec<String>,
        errors: &mut Vec<ManifestError>,
        routes: &mut Vec<Located<HTTPScaledObject>>,
    ) {
        match rouse_api::schema::parse::<HTTPScaledObject>(value) {
            Ok(mut route) => {
                if !self.complete(&mut route.metadata, errors) {
                    return;
                }
                let said = route.warnings();
                warnings.extend(
                    said.iter()
                        .map(|warning| format!("{}: {}{warning}", self.at, self.prefix)),
                );
                routes.push(Located {
                    object: route,
                    at: self.at.clone(),
                });
            }
            Err(found) => errors.extend(found.into_iter().map(|error| {
                let field = if error.path.is_empty() {
                    "document"
                } else {
                    &error.path
                };
                ManifestError::field(self.at, format!("{}{field}", self.prefix), error.message)
            })),
        }
    }

    /// An object without a namespace is in `default`, as with kubectl. Gives whether its names are names.
    fn complete(&self, metadata: &mut ObjectMeta, errors: &mut Vec<ManifestError>) -> bool {
        if metadata.namespace.as_deref().is_none_or(str::is_empty) {
            metadata.namespace = Some("default".to_owned());
        }
        let mut fault = |field: &str, message: String| {
            errors.push(ManifestError::field(
                self.at,
                format!("{}metadata.{field}", self.prefix),
                message,
            ));
            false
        };
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        if namespace.len() > MAX_NAMESPACE_BYTES || !is_label(namespace) {
            return fault(
                "namespace",
                format!(
                    "{namespace:?} is not a name: at most {MAX_NAMESPACE_BYTES} lower-case letters, digits and hyphens"
                ),
            );
        }
        match metadata.name.as_deref() {
            None | Some("") => fault("name", "missing".to_owned()),
            Some(name) if name.len() > MAX_NAME_BYTES || !name.split('.').all(is_label) => fault(
                "name",
                format!(
                    "{name:?} is not a name: at most {MAX_NAME_BYTES} lower-case letters, digits, hyphens and dots"
                ),
            ),
            Some(_) => true,
        }
    }
}

/// As Kubernetes' API server has it. Names become names of files, so no other letters may get here.
const MAX_NAME_BYTES: usize = 253;
const MAX_NAMESPACE_BYTES: usize = 63;

/// A label of RFC 1123, of any length.
fn is_label(text: &str) -> bool {
    let is_inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    !text.is_empty() && text.as_bytes().iter().all(is_inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// The field and what is wrong with it. A missing field is named itself, not the object that misses it.
fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> (String, String) {
    let path = error.path().to_string();
    let message = error.inner().to_string();
    let root = path == ".";
    if let Some(missing) = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'))
    {
        let field = if root {
            missing.to_owned()
        } else {
            format!("{path}.{missing}")
        };
        return (field, "missing".to_owned());
    }
    (if root { "document".to_owned() } else { path }, message)
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
