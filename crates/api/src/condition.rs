//! The conditions of both resources: Kubernetes' own type, with the schema that Kubernetes gives it.

use schemars::{Schema, SchemaGenerator, json_schema};

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// The summary: whether the object is served and scaled as it asks. It is false with the reason of the first of the other
/// conditions that is.
pub const READY: &str = "Ready";

/// Whether the object can be served, and gets every host that it claims.
pub const ACCEPTED: &str = "Accepted";

/// Whether the Service and the workload that the object names are there.
pub const TARGET_FOUND: &str = "TargetFound";

/// Whether KEDA scales the workload. Absent where no ScaledObject concerns the route.
pub const SCALER_READY: &str = "ScalerReady";

/// Whether requests that come through a Gateway reach the interceptor. Absent where no HTTPRoute concerns the hosts.
pub const GATEWAY_READY: &str = "GatewayReady";

/// Whether the wake waits for a node: pods of the target fit on none.
pub const WAITING_FOR_NODE: &str = "WaitingForNode";

/// Every condition that Rouse writes, in the order in which they are written. No other is touched.
pub const ALL: [&str; 6] = [
    READY,
    ACCEPTED,
    TARGET_FOUND,
    SCALER_READY,
    GATEWAY_READY,
    WAITING_FOR_NODE,
];

/// Why `Ready` is true: what the object asks for has been done.
pub const REASON_RECONCILED: &str = "Reconciled";

/// Why `Accepted` is true.
pub const REASON_ACCEPTED: &str = "Accepted";

/// Why `Accepted` is false: the object asks for something that cannot be served, or cannot be read.
pub const REASON_INVALID: &str = "Invalid";

/// Why `Accepted` is false: an older object has the same host, path and headers.
pub const REASON_HOST_CONFLICT: &str = "HostConflict";

/// Why `Accepted` is false: another namespace claimed the host first.
pub const REASON_HOST_OWNED: &str = "HostOwnedByOtherNamespace";

/// Why `Accepted` is false: an InterceptorRoute of the same name is served in place of the HTTPScaledObject.
pub const REASON_SUPERSEDED: &str = "Superseded";

/// Why `TargetFound` is true.
pub const REASON_FOUND: &str = "Found";

/// Why `TargetFound` is false: there is no such workload.
pub const REASON_WORKLOAD_NOT_FOUND: &str = "WorkloadNotFound";

/// Why `TargetFound` is unknown: the API server does not say whether the workload is there.
pub const REASON_WORKLOAD_UNKNOWN: &str = "WorkloadUnknown";

/// Why `TargetFound` is false: there is no such Service.
pub const REASON_SERVICE_NOT_FOUND: &str = "ServiceNotFound";

/// Why `TargetFound` is false: the Service has no such port.
pub const REASON_PORT_NOT_FOUND: &str = "PortNotFound";

/// Why `TargetFound` is false: the Service is an ExternalName, which has no endpoints to wait for.
pub const REASON_EXTERNAL_NAME: &str = "ExternalName";

/// Why `ScalerReady` is true: KEDA says so of the ScaledObject.
pub const REASON_SCALED_OBJECT_READY: &str = "ScaledObjectReady";

/// Why `ScalerReady` is true while nothing is scaled: the user has paused the ScaledObject.
pub const REASON_PAUSED: &str = "Paused";

/// Why `ScalerReady` is unknown: KEDA has not looked at the ScaledObject yet.
pub const REASON_PENDING: &str = "Pending";

/// Why `ScalerReady` is false: the cluster has no KEDA.
pub const REASON_KEDA_MISSING: &str = "KedaMissing";

/// Why `ScalerReady` is false: another HorizontalPodAutoscaler scales the workload.
pub const REASON_CONFLICTING_HPA: &str = "ConflictingHPA";

/// Why `ScalerReady` is false: another ScaledObject scales the workload.
pub const REASON_CONFLICTING_SCALED_OBJECT: &str = "ConflictingScaledObject";

/// Why `ScalerReady` is false: KEDA says so of the ScaledObject.
pub const REASON_SCALED_OBJECT_NOT_READY: &str = "ScaledObjectNotReady";

/// Why `ScalerReady` is false: the ScaledObject could not be written.
pub const REASON_CREATE_ERROR: &str = "CreateError";

/// Why `WaitingForNode` is true: the scheduler finds no node for a pod of the target.
pub const REASON_UNSCHEDULABLE: &str = "Unschedulable";

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
