//! Which workloads stand behind a route, and who scales them. Pure.

use std::{iter, sync::Arc};

use rouse_routing::{RouteId, RouteKind};

use super::pause::stops_scale_out;
use crate::{
    condition::scaler_ready::conflict,
    observed::{ObjectName, Observed, ScaledObject, Workload},
};

/// A workload that may be woken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) workload: Workload,
    /// The ScaledObjects that scale it, whoever wrote them. Each of them may be paused.
    pub(crate) scaled_objects: Vec<ObjectName>,
}

/// What is behind the route. Empty where nobody has asked for anything to be scaled for it (an InterceptorRoute that no
/// trigger names, or an HTTPScaledObject whose ScaledObject its user wants to write and has not written), where the user has
/// paused the route, and where somebody else scales its workload.
pub(crate) fn candidates(observed: &Observed, id: &RouteId) -> Vec<Candidate> {
    let Some(route) = observed.route(id).filter(|route| !route.is_deleting) else {
        return Vec::new();
    };
    let mut candidates: Vec<Candidate> = Vec::new();
    // Those whose triggers ask about the route, as KEDA would wake them; of a route that is served in place of its
    // namesake, also those that still ask about that one.
    let namesake = (id.kind == RouteKind::InterceptorRoute).then(|| RouteId {
        kind: RouteKind::HttpScaledObject,
        ..id.clone()
    });
    for workload in iter::once(id)
        .chain(&namesake)
        .flat_map(|id| observed.scaled_objects_for(id))
        .filter_map(|scaled_object| scaled_object.workload.clone())
    {
        if !candidates.iter().any(|known| known.workload == workload) {
            candidates.push(candidate(observed, workload));
        }
    }
    if candidates.is_empty()
        && let Some(workload) = route.workload()
    {
        let candidate = candidate(observed, workload);
        // With a user's own ScaledObject, whatever its triggers are, it is for that to be paused or not.
        let is_left_alone = if route.wants_scaled_object() {
            // A ScaledObject would have its annotations.
            stops_scale_out(&route.annotations) || conflict(observed, route).is_some()
        } else {
            candidate.scaled_objects.is_empty()
        };
        if !is_left_alone {
            candidates.push(candidate);
        }
    }
    candidates
}

fn candidate(observed: &Observed, workload: Workload) -> Candidate {
    let name = |scaled_object: &Arc<ScaledObject>| scaled_object.name.clone();
    Candidate {
        scaled_objects: observed.scaled_objects_of(&workload).map(name).collect(),
        workload,
    }
}
