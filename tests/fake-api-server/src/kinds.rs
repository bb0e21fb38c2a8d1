//! Which kinds the server knows. Kinds come and go at run time, as CRDs do.

/// One kind of object in one version of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// `apps`; empty for the core group.
    pub group: String,
    /// `v1`.
    pub version: String,
    /// `deployments`.
    pub plural: String,
    /// `Deployment`.
    pub kind: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether it has the subresource `/status`, and a generation that counts changes of everything else.
    pub has_status: bool,
    /// Whether it has the subresource `/scale` over `spec.replicas`.
    pub has_scale: bool,
}

impl Kind {
    /// A namespaced kind with `/status`, as most custom resources are. `api_version` is `group/version`, or `v1`.
    pub fn new(api_version: &str, kind: &str, plural: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            kind: kind.to_owned(),
            namespaced: true,
            has_status: true,
            has_scale: false,
        }
    }

    /// The kind with objects outside namespaces.
    #[must_use]
    pub fn cluster_wide(mut self) -> Self {
        self.namespaced = false;
        self
    }

    /// The kind without `/status` and generation.
    #[must_use]
    pub fn without_status(mut self) -> Self {
        self.has_status = false;
        self
    }

    /// The kind with `/scale`.
    #[must_use]
    pub fn with_scale(mut self) -> Self {
        self.has_scale = true;
        self
    }

    /// `group/version`, or `v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Where its objects are kept: versions of a kind share them.
    pub(crate) fn key(&self) -> KindKey {
        (self.group.clone(), self.plural.clone())
    }

    /// The kind that a CRD's first served version declares.
    pub(crate) fn of_definition(definition: &serde_json::Value) -> Vec<Self> {
        let text = |pointer: &str| definition.pointer(pointer).and_then(|value| value.as_str());
        let (Some(group), Some(kind), Some(plural)) = (
            text("/spec/group"),
            text("/spec/names/kind"),
            text("/spec/names/plural"),
        ) else {
            return Vec::new();
        };
        let namespaced = text("/spec/scope") != Some("Cluster");
        let versions = definition
            .pointer("/spec/versions")
            .and_then(|value| value.as_array());
        let served = versions
            .into_iter()
            .flatten()
            .filter(|version| version["served"] != false);
        served
            .filter_map(|version| {
                let has = |subresource: &str| !version["subresources"][subresource].is_null();
                Some(Self {
                    group: group.to_owned(),
                    version: version["name"].as_str()?.to_owned(),
                    plural: plural.to_owned(),
                    kind: kind.to_owned(),
                    namespaced,
                    has_status: has("status"),
                    has_scale: has("scale"),
                })
            })
            .collect()
    }
}

/// Group and plural.
pub(crate) type KindKey = (String, String);

/// The definitions of custom resources, which make kinds themselves.
pub(crate) const DEFINITIONS: (&str, &str) = ("apiextensions.k8s.io", "customresourcedefinitions");

/// What a server knows at its start: Kubernetes' own kinds, Rouse's, KEDA's, Gateway API's, Envoy Gateway's and
/// Karpenter's. Take some away with `FakeApiServer::remove_group` or `remove_kind`.
pub fn all_kinds() -> Vec<Kind> {
    vec![
        Kind::new("v1", "Namespace", "namespaces").cluster_wide(),
        Kind::new("v1", "Node", "nodes").cluster_wide(),
        Kind::new("v1", "Pod", "pods"),
        Kind::new("v1", "Service", "services"),
        Kind::new("v1", "ConfigMap", "configmaps").without_status(),
        Kind::new("v1", "Secret", "secrets").without_status(),
        Kind::new("v1", "ServiceAccount", "serviceaccounts").without_status(),
        Kind::new("v1", "Event", "events").without_status(),
        Kind::new("events.k8s.io/v1", "Event", "events").without_status(),
        Kind::new("apps/v1", "Deployment", "deployments").with_scale(),
        Kind::new("apps/v1", "StatefulSet", "statefulsets").with_scale(),
        Kind::new("apps/v1", "ReplicaSet", "replicasets").with_scale(),
        Kind::new("apps/v1", "DaemonSet", "daemonsets"),
        Kind::new("batch/v1", "Job", "jobs"),
        Kind::new("discovery.k8s.io/v1", "EndpointSlice", "endpointslices").without_status(),
        Kind::new("coordination.k8s.io/v1", "Lease", "leases").without_status(),
        Kind::new(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
        ),
        Kind::new("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
        Kind::new(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            "customresourcedefinitions",
        )
        .cluster_wide(),
        Kind::new("http.keda.sh/v1alpha1", "HTTPScaledObject", "httpscaledobjects"),
        Kind::new("http.keda.sh/v1beta1", "InterceptorRoute", "interceptorroutes"),
        Kind::new("keda.sh/v1alpha1", "ScaledObject", "scaledobjects"),
        Kind::new("gateway.networking.k8s.io/v1", "GatewayClass", "gatewayclasses").cluster_wide(),
        Kind::new("gateway.networking.k8s.io/v1", "Gateway", "gateways"),
        Kind::new("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes"),
        Kind::new(
            "gateway.networking.k8s.io/v1",
            "ReferenceGrant",
            "referencegrants",
        )
        .without_status(),
        Kind::new(
            "gateway.networking.k8s.io/v1beta1",
            "ReferenceGrant",
            "referencegrants",
        )
        .without_status(),
        Kind::new(
            "gateway.envoyproxy.io/v1alpha1",
            "BackendTrafficPolicy",
            "backendtrafficpolicies",
        ),
        Kind::new("karpenter.sh/v1", "NodePool", "nodepools").cluster_wide(),
        Kind::new("karpenter.sh/v1", "NodeClaim", "nodeclaims").cluster_wide(),
    ]
}
