//! What an HTTPScaledObject points at: the workload that it scales, and the Services that its requests go to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ServicePort;

/// The workload to scale and the Service in front of it, both in the object's namespace.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScaleTargetRef {
    /// The workload's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// The workload's API version (apps/v1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,

    /// The workload's kind (Deployment): anything that has a scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,

    /// The Service that requests are sent to.
    pub service: String,

    /// The Service's port by number. Either this or portName.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,

    /// The Service's port by name. Either this or port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_name: Option<String>,
}

/// The Service that takes over when the target is not ready in time.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ColdStartTimeoutFailoverRef {
    /// The Service that requests are sent to.
    pub service: String,

    /// The Service's port by number. Either this or portName.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,

    /// The Service's port by name. Either this or port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_name: Option<String>,

    /// Seconds that a request is held for the target before it is sent here. Takes precedence over
    /// timeouts.conditionWait.
    #[serde(default = "default_failover_timeout")]
    pub timeout_seconds: i32,
}

/// The workload that an HTTPScaledObject scales, with the defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Workload<'a> {
    /// Such as `apps/v1`.
    pub api_version: &'a str,
    /// Such as `Deployment`.
    pub kind: &'a str,
    /// Its name.
    pub name: &'a str,
}

// === impl ScaleTargetRef ===

impl ScaleTargetRef {
    /// The Service's port, or `None` where validation refuses what is given.
    pub fn service_port(&self) -> Option<ServicePort<'_>> {
        ServicePort::from_fields(self.port, self.port_name.as_deref())
    }

    /// The workload to scale, or `None` where no name is given. An empty text counts as none, because Go clients write
    /// it for a name that they leave out.
    pub fn workload(&self) -> Option<Workload<'_>> {
        Some(Workload {
            api_version: given(self.api_version.as_deref()).unwrap_or("apps/v1"),
            kind: given(self.kind.as_deref()).unwrap_or("Deployment"),
            name: given(self.name.as_deref())?,
        })
    }
}

// === impl ColdStartTimeoutFailoverRef ===

impl ColdStartTimeoutFailoverRef {
    /// The Service's port, or `None` where validation refuses what is given.
    pub fn service_port(&self) -> Option<ServicePort<'_>> {
        ServicePort::from_fields(self.port, self.port_name.as_deref())
    }
}

fn default_failover_timeout() -> i32 {
    30
}

fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}
