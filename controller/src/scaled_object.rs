//! The ScaledObject that is made of an HTTPScaledObject, as the add-on makes it, and whether the cluster has it already.

mod applied;
mod desired;
mod resource;
mod takeover;

pub(crate) use self::{
    applied::is_applied,
    desired::{ScalerAddress, desired},
    resource::{API_VERSION, DEFINITION, FINALIZER, KIND, RESOURCE, ScaledObjectResource},
    takeover::taken_over,
};

/// Who Rouse is in `managedFields`.
pub(crate) const FIELD_MANAGER: &str = "rouse-controller";
