//! The conditions of both resources: Kubernetes' own type, with the schema that Kubernetes gives it.

use schemars::{Schema, SchemaGenerator, json_schema};

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// The condition that says whether an object is served.
pub const READY: &str = "Ready";

/// Why `Ready` is true: what the object asks for has been done.
pub const REASON_RECONCILED: &str = "Reconciled";

/// Why `Ready` is false: the ScaledObject could not be created.
pub const REASON_CREATE_ERROR: &str = "CreateError";

/// The schema of a list of conditions. Written out here because k8s-openapi knows the fields of a condition but none
/// of the bounds that an API server puts on them.
pub(crate) fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of the object's state.",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {
                    "description": "When the status last became another.",
                    "type": "string",
                    "format": "date-time",
                },
                "message": {
                    "description": "What there is to know about it, for people. May be empty.",
                    "type": "string",
                    "maxLength": 32768,
                },
                "observedGeneration": {
                    "description": "The metadata.generation that the condition speaks of. Where it is lower than \
                                    the object's own, the latest change has not been looked at yet.",
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                },
                "reason": {
                    "description": "Why the status is what it is, as one word in CamelCase for programs.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "status": {
                    "description": "Whether the condition holds.",
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                },
                "type": {
                    "description": "Which aspect it is, in CamelCase.",
                    "type": "string",
                    "maxLength": 316,
                    "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                },
            },
        },
    })
}
