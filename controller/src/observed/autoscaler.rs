//! What is read of a HorizontalPodAutoscaler: enough to say whether it and a ScaledObject would scale one workload.

use std::sync::Arc;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;

use super::{ObjectName, Workload, WorkloadKind};

/// The annotation by which a user tells KEDA not to mind this one, with the value `false`.
const OWNERSHIP_ANNOTATION: &str = "validations.keda.sh/hpa-ownership";

/// A HorizontalPodAutoscaler: what it scales, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Autoscaler {
    pub(crate) name: ObjectName,
    pub(crate) workload: Workload,
    /// The ScaledObject that it was made for; none where a user made it.
    pub(crate) scaled_object: Option<Arc<str>>,
}

impl Autoscaler {
    /// `None` where it scales nothing, or is not to be minded.
    pub(crate) fn read(autoscaler: &HorizontalPodAutoscaler) -> Option<Self> {
        let annotations = autoscaler.metadata.annotations.as_ref();
        if annotations
            .and_then(|annotations| annotations.get(OWNERSHIP_ANNOTATION))
            .is_some_and(|value| value == "false")
        {
            return None;
        }
        let target = &autoscaler.spec.as_ref()?.scale_target_ref;
        let name = ObjectName::of(&autoscaler.metadata);
        let kind = WorkloadKind::of(target.api_version.as_deref().unwrap_or_default(), &target.kind);
        let owners = autoscaler
            .metadata
            .owner_references
            .as_deref()
            .unwrap_or_default();
        Some(Self {
            workload: Workload::new(&name.namespace, kind, &target.name),
            scaled_object: owners
                .iter()
                .find(|owner| owner.kind == "ScaledObject")
                .map(|owner| Arc::from(owner.name.as_str())),
            name,
        })
    }
}
