//! The kinds of the Gateway API and of Envoy Gateway, as far as Rouse reads and writes them. Fields that it does not look at
//! are left out, and every field may be missing: the definitions in the cluster may be older or newer than these types.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelectorRequirement, ObjectMeta, Time};
use kube::core::{ApiResource, GroupVersionKind};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::ownership::Ownership;

/// The group of the Gateway API.
pub(super) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// The controller whose Gateways are Envoy Gateway's.
pub(super) const ENVOY_GATEWAY: &str = "gateway.envoyproxy.io/gatewayclass-controller";

/// A kind that is watched, and perhaps written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    HttpRoute,
    Gateway,
    GatewayClass,
    ReferenceGrant,
    BackendTrafficPolicy,
    Service,
}

/// One object as it was observed: `T` is what Rouse reads of it.
#[derive(Debug, Clone)]
pub(super) struct Resource<T> {
    pub(super) metadata: ObjectMeta,
    pub(super) body: T,
    /// The specification as it is in the cluster, kept only of objects that Rouse wrote, to see whether it still holds.
    pub(super) written: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct HttpRoute {
    pub(super) spec: HttpRouteSpec,
    pub(super) status: HttpRouteStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct HttpRouteSpec {
    pub(super) parent_refs: Vec<ParentRef>,
    pub(super) hostnames: Vec<String>,
    pub(super) rules: Vec<HttpRouteRule>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ParentRef {
    pub(super) group: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) section_name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct HttpRouteRule {
    pub(super) name: Option<String>,
    pub(super) backend_refs: Vec<BackendRef>,
    pub(super) timeouts: Option<RuleTimeouts>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BackendRef {
    pub(super) group: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RuleTimeouts {
    pub(super) request: Option<String>,
    pub(super) backend_request: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct HttpRouteStatus {
    pub(super) parents: Vec<ParentStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ParentStatus {
    pub(super) parent_ref: ParentRef,
    pub(super) controller_name: String,
    pub(super) conditions: Vec<ParentCondition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ParentCondition {
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) observed_generation: Option<i64>,
    pub(super) last_transition_time: Option<Time>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Gateway {
    pub(super) spec: GatewaySpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct GatewaySpec {
    pub(super) gateway_class_name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct GatewayClass {
    pub(super) spec: GatewayClassSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct GatewayClassSpec {
    pub(super) controller_name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ReferenceGrant {
    pub(super) spec: ReferenceGrantSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ReferenceGrantSpec {
    pub(super) from: Vec<GrantFrom>,
    pub(super) to: Vec<GrantTo>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct GrantFrom {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) namespace: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct GrantTo {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TrafficPolicy {
    pub(super) spec: TrafficPolicySpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TrafficPolicySpec {
    pub(super) target_ref: Option<PolicyTarget>,
    pub(super) target_refs: Vec<PolicyTarget>,
    pub(super) target_selectors: Vec<TargetSelector>,
    pub(super) merge_type: Option<String>,
    pub(super) timeout: Option<PolicyTimeout>,
    pub(super) retry: Option<Value>,
    pub(super) tcp_keepalive: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PolicyTarget {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) section_name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TargetSelector {
    pub(super) kind: String,
    pub(super) match_labels: BTreeMap<String, String>,
    pub(super) match_expressions: Vec<LabelSelectorRequirement>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PolicyTimeout {
    pub(super) http: Option<HttpTimeout>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct HttpTimeout {
    pub(super) request_timeout: Option<String>,
}

// === impl Kind ===

impl Kind {
    pub(super) const fn group(self) -> &'static str {
        match self {
            Self::BackendTrafficPolicy => "gateway.envoyproxy.io",
            Self::Service => "",
            _ => GATEWAY_GROUP,
        }
    }

    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::HttpRoute => "HTTPRoute",
            Self::Gateway => "Gateway",
            Self::GatewayClass => "GatewayClass",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::BackendTrafficPolicy => "BackendTrafficPolicy",
            Self::Service => "Service",
        }
    }

    pub(super) const fn plural(self) -> &'static str {
        match self {
            Self::HttpRoute => "httproutes",
            Self::Gateway => "gateways",
            Self::GatewayClass => "gatewayclasses",
            Self::ReferenceGrant => "referencegrants",
            Self::BackendTrafficPolicy => "backendtrafficpolicies",
            Self::Service => "services",
        }
    }

    /// The versions that Rouse can speak, best first. The fields that it uses are the same in all of a kind's.
    pub(super) const fn versions(self) -> &'static [&'static str] {
        match self {
            Self::BackendTrafficPolicy => &["v1alpha1"],
            Self::Service => &["v1"],
            _ => &["v1", "v1beta1"],
        }
    }

    pub(super) fn api_resource(self, version: &str) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group(), version, self.kind());
        ApiResource::from_gvk_with_plural(&kind, self.plural())
    }
}

// === impl Resource ===

impl<T: DeserializeOwned> Resource<T> {
    /// Reads an object. The specification is kept where the object is one of Rouse's own.
    pub(super) fn read(
        metadata: ObjectMeta,
        data: Value,
        ownership: &Ownership,
    ) -> Result<Self, serde_json::Error> {
        let written = ownership
            .is_ours(&metadata)
            .then(|| data.get("spec").cloned().unwrap_or_default());
        Ok(Self {
            body: serde_json::from_value(data)?,
            written,
            metadata,
        })
    }
}

impl<T> Resource<T> {
    pub(super) fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub(super) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether Rouse wrote it.
    pub(super) fn is_ours(&self) -> bool {
        self.written.is_some()
    }

    pub(super) fn is_going(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }
}

// === impl ParentRef ===

impl ParentRef {
    /// The namespace and name of the Gateway that is meant by a route in `namespace`, or `None` for another kind.
    pub(super) fn gateway<'a>(&'a self, namespace: &'a str) -> Option<(&'a str, &'a str)> {
        let is_gateway = self.group.as_deref().is_none_or(|group| group == GATEWAY_GROUP)
            && self.kind.as_deref().is_none_or(|kind| kind == "Gateway");
        is_gateway.then(|| (self.namespace.as_deref().unwrap_or(namespace), self.name.as_str()))
    }
}

// === impl RuleTimeouts ===

impl RuleTimeouts {
    /// The deadline of a whole request that a gateway applies. Some of them, Envoy Gateway among these, take the
    /// deadline of one attempt for it where the other is unset.
    pub(super) fn deadline(&self) -> Option<&str> {
        self.request.as_deref().or(self.backend_request.as_deref())
    }
}

// === impl TrafficPolicySpec ===

impl TrafficPolicySpec {
    /// The objects that are named as targets.
    pub(super) fn targets(&self) -> impl Iterator<Item = &PolicyTarget> {
        self.target_ref.iter().chain(&self.target_refs)
    }

    /// The deadline of a request, as it is written.
    pub(super) fn request_timeout(&self) -> Option<&str> {
        self.timeout.as_ref()?.http.as_ref()?.request_timeout.as_deref()
    }
}

impl TargetSelector {
    /// Whether an object of `kind` with these labels is selected. An operator that is not known selects, so that a policy
    /// is rather left alone than doubled.
    pub(super) fn selects(&self, kind: &str, labels: &BTreeMap<String, String>) -> bool {
        self.kind == kind
            && self
                .match_labels
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| {
                let value = labels.get(&requirement.key);
                let is_listed = || {
                    value.is_some_and(|value| {
                        requirement
                            .values
                            .as_ref()
                            .is_some_and(|values| values.contains(value))
                    })
                };
                match requirement.operator.as_str() {
                    "In" => is_listed(),
                    "NotIn" => !is_listed(),
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => true,
                }
            })
    }
}

/// The interceptor's Service, of which only the metadata is read.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Service {}

/// What a gateway's duration says: `None` where it is no duration, zero where it means no deadline.
pub(super) fn duration(text: &str) -> Option<Duration> {
    rouse_daemon::duration::parse(text).ok()
}
