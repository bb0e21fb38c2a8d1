//! Responses that an InterceptorRoute gives without its target.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RoutingRule;

/// The label, with the value `true`, that a ConfigMap must carry for its values to be used as bodies.
pub const RESPONSE_BODY_LABEL: &str = "http.keda.sh/response-body";

/// Requests that get a fixed response and do not count for scaling.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StaticRoute {
    /// Which requests are meant: those that match any of the rules.
    #[schemars(length(min = 1))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rules: Vec<RoutingRule>,

    /// The response. Its status is 200 where none is given.
    pub response: StaticResponse,

    /// When the response is given. Always: always. WhenUnavailable: while the target has no ready endpoint; else the
    /// request goes to the target.
    #[serde(default)]
    pub response_mode: StaticRouteResponseMode,
}

/// When a static route gives its response.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StaticRouteResponseMode {
    // No documentation on the variants: the schema would say it twice, as one alternative each.
    #[expect(missing_docs, reason = "said in StaticRoute::response_mode")]
    Always,
    #[default]
    #[expect(missing_docs, reason = "said in StaticRoute::response_mode")]
    WhenUnavailable,
}

/// A fixed response.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("!(has(self.body) && has(self.bodyFromConfigMap))").message("at most one of 'body' or 'bodyFromConfigMap' may be set")
)]
#[serde(rename_all = "camelCase")]
pub struct StaticResponse {
    /// The status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 599))]
    pub status_code: Option<i32>,

    /// The body, as it is. Either this or bodyFromConfigMap; without both, the body is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub body: Option<String>,

    /// The body, from a ConfigMap in the route's namespace that carries the label http.keda.sh/response-body: "true".
    /// Where the ConfigMap or the key is missing, the status is 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_from_config_map: Option<ConfigMapKeyRef>,

    /// The headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// A value in a ConfigMap.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeyRef {
    /// The ConfigMap's name.
    #[schemars(length(min = 1))]
    pub name: String,

    /// The value's key. Without one, the request's path without the slash in front, and index.html for /. The
    /// Content-Type follows from the key's ending unless headers has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}
