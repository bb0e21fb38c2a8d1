//! `ScalerReady`: KEDA scales the workload. Absent where no ScaledObject concerns the route.

use std::sync::Arc;

use jiff::Timestamp;
use rouse_api::condition::{
    REASON_CONFLICTING_HPA, REASON_CONFLICTING_SCALED_OBJECT, REASON_CREATE_ERROR, REASON_KEDA_MISSING,
    REASON_PAUSED, REASON_PENDING, REASON_SCALED_OBJECT_NOT_READY, REASON_SCALED_OBJECT_READY, SCALER_READY,
};
use rouse_routing::{RouteId, RouteKind};

use super::{Finding, Status};
use crate::observed::{Engine, ObjectName, Observed, Route, ScaledObject, Workload};

/// What is found of the route. `refusal` is why its ScaledObject could not be written, where it could not.
pub(crate) fn find(observed: &Observed, route: &Route, refusal: Option<&str>) -> Option<Finding> {
    if !route.wants_scaled_object() {
        return of_users_own(observed, route);
    }
    if observed.engine() == Engine::Missing {
        return Some(keda_missing());
    }
    if route.workload().is_none() {
        let text = "spec.scaleTargetRef.name: nothing can be scaled without the name of a workload";
        return Some(fails(REASON_CREATE_ERROR, text));
    }
    if let Some(conflict) = conflict(observed, route) {
        return Some(conflict);
    }
    if let Some(refusal) = refusal {
        return Some(fails(REASON_CREATE_ERROR, refusal));
    }
    let name = ObjectName::new(route.id.namespace.clone(), route.id.name.clone());
    Some(match observed.scaled_object(&name) {
        Some(scaled_object) => verdict(scaled_object),
        None => Finding::unknown(
            SCALER_READY,
            REASON_PENDING,
            "the ScaledObject is not written yet",
        ),
    })
}

/// Who else scales the workload, if anybody does: another ScaledObject, an older route whose ScaledObject goes first, or a
/// HorizontalPodAutoscaler that is not KEDA's for this route. While there is one, and the route has no ScaledObject yet, none is made of it:
/// two would pull the workload in two directions, and KEDA's webhook, where it runs, refuses the second.
pub(crate) fn conflict(observed: &Observed, route: &Route) -> Option<Finding> {
    let workload = route.workload()?;
    let name = ObjectName::new(route.id.namespace.clone(), route.id.name.clone());
    let other = observed
        .scaled_objects_of(&workload)
        .find(|other| other.name != name && !yields(observed, other, route));
    if let Some(other) = other {
        let text = format!("{workload} is scaled by ScaledObject {}", other.name.name);
        return Some(fails(REASON_CONFLICTING_SCALED_OBJECT, text));
    }
    if let Some(older) = older_route(observed, route, &workload) {
        let text = format!(
            "{workload} is scaled by HTTPScaledObject {}, which is older",
            older.id.name
        );
        return Some(fails(REASON_CONFLICTING_SCALED_OBJECT, text));
    }
    let autoscaler = observed
        .autoscalers_of(&workload)
        .find(|autoscaler| autoscaler.scaled_object.as_deref() != Some(&*name.name))?;
    let text = format!(
        "{workload} is scaled by HorizontalPodAutoscaler {}, which would pull against KEDA's",
        autoscaler.name.name
    );
    Some(fails(REASON_CONFLICTING_HPA, text))
}

/// Whether a ScaledObject is that of a route which is younger than `route`.
fn yields(observed: &Observed, scaled_object: &ScaledObject, route: &Route) -> bool {
    let ObjectName { namespace, name } = scaled_object.name.clone();
    let other = observed.route(&RouteId::new(RouteKind::HttpScaledObject, namespace, name));
    other.is_some_and(|other| {
        other.wants_scaled_object() && scaled_object.is_owned_by(&other.uid) && age(other) > age(route)
    })
}

/// The oldest of the other routes that scale the workload and are older than this one.
fn older_route<'a>(observed: &'a Observed, route: &Route, workload: &Workload) -> Option<&'a Route> {
    observed
        .routes_of(workload)
        .map(AsRef::as_ref)
        .filter(|other| other.wants_scaled_object() && age(other) < age(route))
        .min_by_key(|other| age(other))
}

/// Orders the routes of one workload, which are all of one kind and namespace.
fn age(route: &Route) -> (Timestamp, Arc<str>) {
    (route.created, Arc::clone(&route.id.name))
}

/// Of an InterceptorRoute, or of an HTTPScaledObject of which no ScaledObject is made: of those that users wrote for it.
fn of_users_own(observed: &Observed, route: &Route) -> Option<Finding> {
    let findings = observed
        .scaled_objects_for(&route.id)
        .filter(|object| !object.is_deleting)
        .map(|object| verdict(object));
    // The worst of them, should there be several.
    findings.min_by_key(|finding| match finding.status {
        Status::False => 0,
        Status::Unknown => 1,
        Status::True => 2,
    })
}

/// What KEDA says of a ScaledObject.
fn verdict(scaled_object: &ScaledObject) -> Finding {
    let name = &scaled_object.name.name;
    if scaled_object.is_deleting {
        // What KEDA said of it before holds no longer: it has stopped scaling, or is not there to.
        let text =
            format!("ScaledObject {name} is being deleted, and goes when KEDA takes its finalizer off");
        return fails(REASON_SCALED_OBJECT_NOT_READY, text);
    }
    let Some(ready) = &scaled_object.ready else {
        let text = format!("KEDA has not looked at ScaledObject {name} yet");
        return Finding::unknown(SCALER_READY, REASON_PENDING, text);
    };
    match &*ready.status {
        "True" if scaled_object.is_paused => {
            let text = format!("ScaledObject {name} is paused: nothing is scaled, also not from zero");
            Finding::holds(SCALER_READY, REASON_PAUSED, text)
        }
        "True" => Finding::holds(SCALER_READY, REASON_SCALED_OBJECT_READY, ""),
        "False" => fails(
            REASON_SCALED_OBJECT_NOT_READY,
            format!("ScaledObject {name}: {}", ready.message),
        ),
        _ => {
            let text = format!("ScaledObject {name}: {}", ready.message);
            Finding::unknown(SCALER_READY, REASON_PENDING, text.trim_end_matches([':', ' ']))
        }
    }
}

fn keda_missing() -> Finding {
    fails(
        REASON_KEDA_MISSING,
        "KEDA is not installed: the cluster has no scaledobjects.keda.sh/v1alpha1",
    )
}

fn fails(reason: &'static str, message: impl Into<String>) -> Finding {
    Finding::fails(SCALER_READY, reason, message)
}
