//! Which kinds are run, which are known and left out, and which are unknown.

/// Kinds of Kubernetes, KEDA and their neighbours that mean nothing on one machine: named in a notice and skipped.
/// The first field is the API group, empty for the core group.
const SKIPPED: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "Namespace",
            "Node",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "ServiceAccount",
        ],
    ),
    (
        "admissionregistration.k8s.io",
        &[
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ],
    ),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io", &["APIService"]),
    (
        "apps",
        &["ControllerRevision", "DaemonSet", "ReplicaSet", "StatefulSet"],
    ),
    ("autoscaling", &["HorizontalPodAutoscaler"]),
    (
        "autoscaling.k8s.io",
        &["VerticalPodAutoscaler", "VerticalPodAutoscalerCheckpoint"],
    ),
    ("batch", &["CronJob", "Job"]),
    (
        "cert-manager.io",
        &["Certificate", "CertificateRequest", "ClusterIssuer", "Issuer"],
    ),
    ("coordination.k8s.io", &["Lease"]),
    ("discovery.k8s.io", &["EndpointSlice"]),
    (
        "eventing.keda.sh",
        &["CloudEventSource", "ClusterCloudEventSource"],
    ),
    (
        "gateway.envoyproxy.io",
        &[
            "Backend",
            "BackendTrafficPolicy",
            "ClientTrafficPolicy",
            "EnvoyExtensionPolicy",
            "EnvoyPatchPolicy",
            "EnvoyProxy",
            "HTTPRouteFilter",
            "SecurityPolicy",
        ],
    ),
    (
        "gateway.networking.k8s.io",
        &[
            "BackendTLSPolicy",
            "Gateway",
            "GatewayClass",
            "GRPCRoute",
            "HTTPRoute",
            "ReferenceGrant",
            "TCPRoute",
            "TLSRoute",
            "UDPRoute",
        ],
    ),
    ("karpenter.k8s.aws", &["EC2NodeClass"]),
    ("karpenter.azure.com", &["AKSNodeClass"]),
    ("karpenter.sh", &["NodeClaim", "NodePool"]),
    (
        "keda.sh",
        &[
            "ClusterTriggerAuthentication",
            "ScaledJob",
            "ScaledObject",
            "TriggerAuthentication",
        ],
    ),
    ("kustomize.config.k8s.io", &["Component", "Kustomization"]),
    (
        "monitoring.coreos.com",
        &[
            "Alertmanager",
            "AlertmanagerConfig",
            "PodMonitor",
            "Probe",
            "Prometheus",
            "PrometheusRule",
            "ScrapeConfig",
            "ServiceMonitor",
        ],
    ),
    ("networking.k8s.io", &["Ingress", "IngressClass", "NetworkPolicy"]),
    ("policy", &["PodDisruptionBudget"]),
    (
        "rbac.authorization.k8s.io",
        &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
    ),
    ("scheduling.k8s.io", &["PriorityClass"]),
    ("storage.k8s.io", &["CSIDriver", "StorageClass", "VolumeSnapshot"]),
];

/// What is run, with the one API version it is read in.
const SERVED: &[(&str, &str)] = &[
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("http.keda.sh/v1alpha1", "HTTPScaledObject"),
];

/// What is to be done with a kind that is not run.
pub(super) enum Judgement {
    /// It has no part here, and that is all right.
    Skipped,
    /// It is run, in the API version that is given.
    WrongVersion(&'static str),
    /// Nobody knows it; with the hint that ends the message, possibly empty.
    Unknown(String),
}

/// Judges a kind that no other rule knows.
pub(super) fn judge(api_version: &str, kind: &str) -> Judgement {
    if let Some((expected, _)) = SERVED.iter().find(|(_, served)| *served == kind) {
        let group = |version: &str| {
            version
                .rsplit_once('/')
                .map_or(String::new(), |(group, _)| group.to_owned())
        };
        // A Service of another group, such as Knative's, is another kind altogether.
        if group(expected) == group(api_version) || !api_version.contains('/') {
            return Judgement::WrongVersion(expected);
        }
    }
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    if SKIPPED
        .iter()
        .any(|(skipped, kinds)| *skipped == group && kinds.contains(&kind))
    {
        return Judgement::Skipped;
    }
    let served = SERVED.iter().map(|(version, kind)| (*kind, *version));
    let skipped = SKIPPED
        .iter()
        .flat_map(|(group, kinds)| kinds.iter().map(|kind| (*kind, *group)));
    let closest = served
        .chain(skipped)
        .map(|(candidate, home)| {
            (
                distance(&candidate.to_lowercase(), &kind.to_lowercase()),
                candidate,
                home,
            )
        })
        .min_by_key(|(distance, ..)| *distance);
    Judgement::Unknown(match closest {
        Some((0, meant, home)) => format!("; did you mean {meant} of {home}?"),
        Some((1 | 2, meant, _)) => format!("; did you mean {meant}?"),
        _ => String::new(),
    })
}

/// Levenshtein's distance; both words are short.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().take(64).enumerate() {
        let mut diagonal = row.first().copied().unwrap_or_default();
        let mut last = index + 1;
        for (column, to) in right.iter().enumerate() {
            let above = row.get(column + 1).copied().unwrap_or_default();
            let cost = (diagonal + usize::from(from != *to)).min(above + 1).min(last + 1);
            diagonal = above;
            if let Some(left) = row.get_mut(column) {
                *left = last;
            }
            last = cost;
        }
        if let Some(end) = row.last_mut() {
            *end = last;
        }
    }
    row.last().copied().unwrap_or_default()
}
