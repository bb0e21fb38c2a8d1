//! `InterceptorRoute`, `http.keda.sh/v1beta1`: the add-on's current resource. It routes and counts; the user writes the
//! ScaledObject that asks the external scaler about it.
//!
//! The fields, their defaults and their rules are the add-on's (0.16); the CRD says what an API server refuses, and
//! [`InterceptorRoute::validate`] says the same to those without one, and what the CRD cannot say.

#![expect(
    unreachable_pub,
    reason = "the KubeSchema derive copies types, `pub` included, into functions"
)]

mod cold_start;
mod static_response;
mod validation;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    cold_start::{ColdStartFallback, ColdStartOverflow, ColdStartPlaceholder, ColdStartSpec, ServiceRef},
    static_response::{
        ConfigMapKeyRef, RESPONSE_BODY_LABEL, StaticResponse, StaticRoute, StaticRouteResponseMode,
    },
};
use crate::{
    FieldError, FieldWarning, GoDuration, Metric, ServicePort,
    condition::{Condition, conditions_schema},
    metric::{DEFAULT_GRANULARITY, DEFAULT_WINDOW},
};

/// What an InterceptorRoute asks for.
#[expect(clippy::duplicated_attributes, reason = "every printer column has a type")]
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[kube(
    group = "http.keda.sh",
    version = "v1beta1",
    kind = "InterceptorRoute",
    plural = "interceptorroutes",
    singular = "interceptorroute",
    namespaced,
    status = "InterceptorRouteStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "Routes HTTP requests to a Service and counts them for scaling; requests wait while the Service has no \
           ready endpoint.",
    printcolumn(name = "TargetService", type_ = "string", json_path = ".spec.target.service"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct InterceptorRouteSpec {
    /// The Service that requests are sent to.
    pub target: TargetRef,

    /// Which requests are meant: those that match any of the rules. Without rules, none; a rule without fields
    /// means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rules: Vec<RoutingRule>,

    /// What the workload is scaled on. Where both are given, the one that asks for more replicas decides.
    pub scaling_metric: ScalingMetricSpec,

    /// Requests that are answered with a fixed response and do not count for scaling. The first that matches is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub static_routes: Vec<StaticRoute>,

    /// What happens to requests while the target has no ready endpoint, besides waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold_start: Option<ColdStartSpec>,

    /// Deadlines for this route's requests, in place of the interceptor's.
    #[serde(default, skip_serializing_if = "InterceptorRouteTimeouts::is_empty")]
    pub timeouts: InterceptorRouteTimeouts,
}

/// A Service in the route's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("has(self.port) != has(self.portName)").message("exactly one of 'port' or 'portName' must be set")
)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// The Service's name.
    #[schemars(length(min = 1))]
    pub service: String,

    /// The Service's port by number. Either this or portName.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,

    /// The Service's port by name. Either this or port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub port_name: Option<String>,
}

/// Which requests are meant: those that have one of the hosts, one of the paths and all of the headers.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RoutingRule {
    /// Host names: exact, with a wildcard in front (*.example.com), or * for every host. An exact host goes before a
    /// wildcard, a longer wildcard before a shorter. Without any, every host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub hosts: Vec<String>,

    /// Path prefixes. The longest that matches decides. Without any, every path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub paths: Vec<PathMatch>,

    /// Headers that a request must have, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub headers: Vec<HeaderMatch>,
}

/// A path prefix.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PathMatch {
    /// The prefix, which ends at a slash: /api matches /api and /api/v1, and not /apis.
    #[schemars(length(min = 1))]
    pub value: String,
}

/// A condition on one header of a request.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HeaderMatch {
    /// The header's name, in any case.
    #[schemars(length(min = 1))]
    pub name: String,

    /// The value it must have, to the letter. Without one, any value will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// What the workload is scaled on: one or both.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("has(self.concurrency) || has(self.requestRate)").message("at least one of 'concurrency' or 'requestRate' must be set")
)]
#[serde(rename_all = "camelCase")]
pub struct ScalingMetricSpec {
    /// Scale on the requests that are in flight or held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<ConcurrencyTargetSpec>,

    /// Scale on the requests that arrive per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_rate: Option<RequestRateTargetSpec>,
}

/// Scaling on concurrency.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConcurrencyTargetSpec {
    /// Requests in flight and held that one replica should carry.
    #[schemars(range(min = 1))]
    pub target_value: i32,
}

/// Scaling on the request rate.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RequestRateTargetSpec {
    /// Requests per second that one replica should take.
    #[schemars(range(min = 1))]
    pub target_value: i32,

    /// The time that the rate is averaged over.
    #[serde(default = "default_window")]
    #[schemars(extend("default" = "1m"))]
    pub window: GoDuration,

    /// The step in which the window slides. The rate is per second whatever it is.
    #[serde(default = "default_granularity")]
    pub granularity: GoDuration,
}

/// Deadlines in place of the interceptor's. Unlike in an HTTPScaledObject, zero is a value: no deadline.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct InterceptorRouteTimeouts {
    /// How long a request is held for the target to become ready. 0s leaves it to the request's own deadline; with a
    /// fallback, 0s means 30s. Unset: KEDA_HTTP_READINESS_TIMEOUT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<GoDuration>,

    /// How long a request may take from its arrival to the end of its response. 0s: no deadline. Unset:
    /// KEDA_HTTP_REQUEST_TIMEOUT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<GoDuration>,

    /// How long the target may take from the request to the headers of its response, the wait for a ready endpoint
    /// not included. 0s: no deadline. Unset: KEDA_HTTP_RESPONSE_HEADER_TIMEOUT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header: Option<GoDuration>,
}

/// What has become of an InterceptorRoute.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InterceptorRouteStatus {
    /// Whether the route is served (Ready), and why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
}

// === impl InterceptorRoute ===

impl InterceptorRoute {
    /// Why the object cannot be served: what the CRD's own rules say, for those who have no API server in front, and
    /// what they cannot say. Empty for a good object.
    pub fn validate(&self) -> Vec<FieldError> {
        validation::validate(&self.spec)
    }

    /// What of the object is served differently from how it is written, or does nothing.
    pub fn warnings(&self) -> Vec<FieldWarning> {
        validation::warnings(&self.spec)
    }

    /// What the workload is scaled on, with defaults and bounds applied: concurrency, then the request rate, each
    /// where it is asked for. Not empty for a valid object.
    pub fn metrics(&self) -> Vec<Metric> {
        self.spec.metrics()
    }
}

// === impl InterceptorRouteSpec ===

impl InterceptorRouteSpec {
    /// See [`InterceptorRoute::metrics`].
    pub fn metrics(&self) -> Vec<Metric> {
        let concurrency = self.scaling_metric.concurrency;
        let request_rate = self.scaling_metric.request_rate;
        concurrency
            .map(|concurrency| Metric::concurrency(concurrency.target_value.into()))
            .into_iter()
            .chain(
                request_rate.map(|rate| {
                    Metric::request_rate(rate.target_value.into(), rate.window, rate.granularity)
                }),
            )
            .collect()
    }
}

// === impl TargetRef ===

impl TargetRef {
    /// The Service's port, or `None` where validation refuses what is given.
    pub fn service_port(&self) -> Option<ServicePort<'_>> {
        ServicePort::from_fields(self.port, self.port_name.as_deref())
    }
}

// === impl InterceptorRouteTimeouts ===

impl InterceptorRouteTimeouts {
    /// Whether every deadline is left to the interceptor.
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

// === defaults ===

fn default_window() -> GoDuration {
    DEFAULT_WINDOW
}

fn default_granularity() -> GoDuration {
    DEFAULT_GRANULARITY
}

#[cfg(test)]
mod tests;
