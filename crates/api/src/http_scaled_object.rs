//! `HTTPScaledObject`, `http.keda.sh/v1alpha1`: the add-on's first resource, which routes to one Service and scales
//! one workload. Deprecated by the add-on since 0.14 in favour of [`InterceptorRoute`](crate::InterceptorRoute), and
//! served like it here.
//!
//! The fields, their defaults and their rules are the add-on's; the CRD says what an API server refuses, and
//! [`HTTPScaledObject::validate`] says the same to those without one, and what the CRD cannot say.

#![expect(
    unreachable_pub,
    reason = "the KubeSchema derive copies types, `pub` included, into functions"
)]

mod target;
mod validation;

use std::time::Duration;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::target::{ColdStartTimeoutFailoverRef, ScaleTargetRef, Workload};
use crate::{
    FieldError, FieldWarning, GoDuration, Metric,
    condition::{Condition, conditions_schema},
    metric::{DEFAULT_GRANULARITY, DEFAULT_TARGET, DEFAULT_WINDOW},
};

/// Annotation: the user writes the ScaledObject; none is created, and one that was is deleted.
pub const SKIP_SCALED_OBJECT_ANNOTATION: &str = "httpscaledobject.keda.sh/skip-scaledobject-creation";

/// Annotation: the ScaledObject is no longer owned, so that it outlives the HTTPScaledObject. Looked at before
/// [`SKIP_SCALED_OBJECT_ANNOTATION`].
pub const ORPHAN_SCALED_OBJECT_ANNOTATION: &str = "httpscaledobject.keda.sh/orphan-scaledobject";

/// The finalizer that the add-on's operator puts on every object, and that has to go before one can be deleted.
pub const FINALIZER: &str = "httpscaledobject.http.keda.sh";

/// The most replicas, where an HTTPScaledObject does not say.
pub const DEFAULT_MAX_REPLICAS: i32 = 100;

/// Seconds without traffic before a workload goes to zero, where an HTTPScaledObject does not say.
pub const DEFAULT_SCALEDOWN_PERIOD: i32 = 300;

/// What an HTTPScaledObject asks for.
#[expect(clippy::duplicated_attributes, reason = "every printer column has a type")]
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[kube(
    group = "http.keda.sh",
    version = "v1alpha1",
    kind = "HTTPScaledObject",
    plural = "httpscaledobjects",
    singular = "httpscaledobject",
    shortname = "httpso",
    namespaced,
    status = "HTTPScaledObjectStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "Routes HTTP requests to a Service and scales the workload behind it, from zero and back. \
           Deprecated in favour of InterceptorRoute.",
    printcolumn(
        name = "TargetWorkload",
        type_ = "string",
        json_path = ".status.targetWorkload"
    ),
    printcolumn(name = "TargetService", type_ = "string", json_path = ".status.targetService"),
    printcolumn(name = "MinReplicas", type_ = "integer", json_path = ".spec.replicas.min"),
    printcolumn(name = "MaxReplicas", type_ = "integer", json_path = ".spec.replicas.max"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    )
)]
#[serde(rename_all = "camelCase")]
pub struct HTTPScaledObjectSpec {
    /// Host names to serve: exact, with a wildcard in front (*.example.com), or * for every host. Without any,
    /// every host. A port is ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,

    /// Path prefixes to serve, which end at a slash: /api serves /api and /api/v1, and not /apis. Without any,
    /// every path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_prefixes: Vec<String>,

    /// Headers that a request must have, all of them, besides its host and path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub headers: Vec<Header>,

    /// The workload to scale and the Service to send requests to.
    #[x_kube(
        validation = Rule::new("has(self.portName) != has(self.port)").message("must define either the 'portName' or the 'port'")
    )]
    pub scale_target_ref: ScaleTargetRef,

    /// The Service that takes requests which the target was not ready for in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("has(self.portName) != has(self.port)").message("must define either the 'portName' or the 'port'")
    )]
    pub cold_start_timeout_failover_ref: Option<ColdStartTimeoutFailoverRef>,

    /// How far the workload is scaled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ReplicaStruct>,

    /// Deprecated, use scalingMetric.concurrency: requests in flight and held that one replica should carry (100).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_pending_requests: Option<i32>,

    /// Seconds without traffic before the workload goes to zero (300). It concerns this last step alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaledown_period: Option<i32>,

    /// Seconds after the creation of the object during which the workload does not go to zero (0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_cooldown_period: Option<i32>,

    /// What the workload is scaled on: concurrency or requestRate, not both. Without it, concurrency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling_metric: Option<ScalingMetricSpec>,

    /// Deadlines for this object's requests, in place of the interceptor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<HTTPScaledObjectTimeoutsSpec>,
}

/// A condition on one header of a request.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// The header's name, in any case.
    #[schemars(length(min = 1))]
    pub name: String,

    /// The value it must have, to the letter. Without one, any value will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// The bounds of the workload's replicas.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStruct {
    /// The fewest replicas (0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i32>,

    /// The most replicas (100).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i32>,
}

/// What the workload is scaled on.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScalingMetricSpec {
    /// Scale on the requests that are in flight or held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<ConcurrencyMetricSpec>,

    /// Scale on the requests that arrive per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_rate: Option<RateMetricSpec>,
}

/// Scaling on concurrency.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConcurrencyMetricSpec {
    /// Requests in flight and held that one replica should carry.
    #[serde(default = "default_target")]
    #[schemars(schema_with = "target_schema")]
    pub target_value: i64,
}

/// Scaling on the request rate.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RateMetricSpec {
    /// Requests per second that one replica should take.
    #[serde(default = "default_target")]
    #[schemars(schema_with = "target_schema")]
    pub target_value: i64,

    /// The time that the rate is averaged over.
    #[serde(default = "default_window")]
    #[schemars(extend("default" = "1m"))]
    pub window: GoDuration,

    /// The step in which the window slides. The rate is per second whatever it is.
    #[serde(default = "default_granularity")]
    pub granularity: GoDuration,
}

/// Deadlines in place of the interceptor's.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HTTPScaledObjectTimeoutsSpec {
    /// How long a request is held for the target to become ready. Zero means the interceptor's own
    /// (KEDA_HTTP_READINESS_TIMEOUT).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition_wait: Option<GoDuration>,

    /// How long the target may take from the request to the headers of its response. Zero means the interceptor's
    /// own (KEDA_HTTP_RESPONSE_HEADER_TIMEOUT).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header: Option<GoDuration>,
}

/// What has become of an HTTPScaledObject.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HTTPScaledObjectStatus {
    /// The workload that is scaled, as apiVersion/kind/name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_workload: Option<String>,

    /// The Service that requests are sent to, as service:port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_service: Option<String>,

    /// Whether the object is served (Ready), and why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
}

// === impl HTTPScaledObject ===

impl HTTPScaledObject {
    /// Why the object cannot be served: what the CRD's own rules say, for those who have no API server in front, and
    /// what they cannot say. Empty for a good object.
    pub fn validate(&self) -> Vec<FieldError> {
        validation::validate(&self.spec)
    }

    /// What of the object is served differently from how it is written.
    pub fn warnings(&self) -> Vec<FieldWarning> {
        validation::warnings(&self.spec)
    }

    /// What the workload is scaled on, with defaults and bounds applied: the request rate where one is asked for,
    /// else concurrency.
    pub fn metric(&self) -> Metric {
        self.spec.metric()
    }
}

// === impl HTTPScaledObjectSpec ===

impl HTTPScaledObjectSpec {
    /// See [`HTTPScaledObject::metric`].
    pub fn metric(&self) -> Metric {
        let metric = self.scaling_metric.unwrap_or_default();
        if let Some(rate) = metric.request_rate {
            return Metric::request_rate(rate.target_value, rate.window, rate.granularity);
        }
        let target = metric
            .concurrency
            .map(|concurrency| concurrency.target_value)
            .or(self.target_pending_requests.map(i64::from))
            .unwrap_or_else(default_target);
        Metric::concurrency(target)
    }

    /// How long a request is held for the target, or `None` for the interceptor's own default. The failover's timeout
    /// comes before `conditionWait`, and zero stands for "not set" in both, as in the add-on.
    pub fn readiness_timeout(&self) -> Option<Duration> {
        let failover = self
            .cold_start_timeout_failover_ref
            .as_ref()
            .and_then(|failover| u64::try_from(failover.timeout_seconds).ok())
            .map(Duration::from_secs);
        let condition_wait = || {
            self.timeouts
                .and_then(|timeouts| timeouts.condition_wait)
                .map(GoDuration::get)
        };
        failover
            .filter(|timeout| !timeout.is_zero())
            .or_else(|| condition_wait().filter(|t| !t.is_zero()))
    }

    /// How long the target may take to its response's headers, or `None` for the interceptor's own default. Zero
    /// stands for "not set", as in the add-on.
    pub fn response_header_timeout(&self) -> Option<Duration> {
        let timeout = self.timeouts?.response_header?;
        (!timeout.is_zero()).then_some(timeout.get())
    }

    /// The fewest replicas.
    pub fn min_replicas(&self) -> u32 {
        let min = self.replicas.and_then(|replicas| replicas.min).unwrap_or(0);
        u32::try_from(min).unwrap_or(0)
    }

    /// The most replicas.
    pub fn max_replicas(&self) -> u32 {
        let max = self
            .replicas
            .and_then(|replicas| replicas.max)
            .unwrap_or(DEFAULT_MAX_REPLICAS);
        u32::try_from(max).unwrap_or(0)
    }

    /// How long without traffic before the workload goes to zero.
    pub fn cooldown_period(&self) -> Duration {
        let secs = self.scaledown_period.unwrap_or(DEFAULT_SCALEDOWN_PERIOD);
        Duration::from_secs(u64::try_from(secs).unwrap_or(0))
    }
}

// === defaults ===

fn default_target() -> i64 {
    i64::from(DEFAULT_TARGET)
}

fn default_window() -> GoDuration {
    DEFAULT_WINDOW
}

fn default_granularity() -> GoDuration {
    DEFAULT_GRANULARITY
}

/// The add-on's field is an integer of no particular size, and the CRD therefore names no format.
fn target_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "integer" })
}

#[cfg(test)]
mod tests;
