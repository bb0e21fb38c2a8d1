//! What an InterceptorRoute does with requests while its target has no ready endpoint.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::StaticResponse;
use crate::ServicePort;

/// What happens to requests while the target has no ready endpoint, besides waiting.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("has(self.fallback) || has(self.placeholder) || has(self.maxPendingRequests)").message("at least one of 'fallback', 'placeholder' or 'maxPendingRequests' must be set"),
    validation = Rule::new("self.overflow != 'Placeholder' || has(self.placeholder)").message("'placeholder' must be set when 'overflow' is 'Placeholder'")
)]
#[serde(rename_all = "camelCase")]
pub struct ColdStartSpec {
    /// The Service that takes requests which the target was not ready for within timeouts.readiness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<ColdStartFallback>,

    /// The response that requests get at once instead of waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placeholder: Option<ColdStartPlaceholder>,

    /// How many requests wait at most, per replica of the interceptor. Unset:
    /// KEDA_HTTP_COLD_START_MAX_PENDING_REQUESTS. With a placeholder and overflow Placeholder, that many wait and only
    /// the rest get the placeholder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_pending_requests: Option<i32>,

    /// What a request gets that finds maxPendingRequests waiting: Reject answers 503, Placeholder the placeholder.
    #[serde(default)]
    pub overflow: ColdStartOverflow,
}

/// What a request gets that may not wait, because enough are waiting.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ColdStartOverflow {
    // No documentation on the variants: the schema would say it twice, as one alternative each.
    #[default]
    #[expect(missing_docs, reason = "said in ColdStartSpec::overflow")]
    Reject,
    #[expect(missing_docs, reason = "said in ColdStartSpec::overflow")]
    Placeholder,
}

/// Who takes over when the target is not ready in time.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ColdStartFallback {
    /// The Service that requests are sent to.
    pub service: ServiceRef,
}

/// A Service in the route's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("has(self.port) != has(self.portName)").message("exactly one of 'port' or 'portName' must be set")
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRef {
    /// The Service's name.
    #[schemars(length(min = 1))]
    pub name: String,

    /// The Service's port by number. Either this or portName.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,

    /// The Service's port by name. Either this or port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub port_name: Option<String>,
}

/// The response that a request gets instead of waiting.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ColdStartPlaceholder {
    /// The response. Its status is 503 where none is given.
    pub response: StaticResponse,
}

impl ServiceRef {
    /// The Service's port, or `None` where validation refuses what is given.
    pub fn service_port(&self) -> Option<ServicePort<'_>> {
        ServicePort::from_fields(self.port, self.port_name.as_deref())
    }
}
