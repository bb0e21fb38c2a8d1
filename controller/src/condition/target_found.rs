//! `TargetFound`: the Services and the workload that the object names are there.

use std::sync::Arc;

use rouse_api::{
    TargetFault,
    condition::{REASON_EXTERNAL_NAME, REASON_FOUND, REASON_INVALID, REASON_WORKLOAD_UNKNOWN, TARGET_FOUND},
};

use super::Finding;
use crate::observed::{Existence, ObjectName, Observed, Route, Target};

/// What is missing: the reason, and its words.
type Missing = (&'static str, String);

/// What is found of the route. Several things that are missing are all named; the reason is the first's.
pub(crate) fn find(observed: &Observed, route: &Route) -> Finding {
    let Some(target) = route.target() else {
        return Finding::unknown(TARGET_FOUND, REASON_INVALID, "the object cannot be read");
    };
    let fallback = route
        .fallback()
        .and_then(|fallback| fallback_problem(observed, route, fallback));
    let (workload_missing, workload_unknown) = workload_problem(observed, route);
    let missing: Vec<Missing> = service_problem(observed, route, target)
        .into_iter()
        .chain(workload_missing)
        .chain(fallback)
        .collect();
    if let Some((reason, _)) = missing.first() {
        let texts: Vec<&str> = missing.iter().map(|(_, text)| text.as_str()).collect();
        return Finding::fails(TARGET_FOUND, reason, texts.join("; "));
    }
    if let Some(text) = workload_unknown {
        return Finding::unknown(TARGET_FOUND, REASON_WORKLOAD_UNKNOWN, text);
    }
    Finding::holds(TARGET_FOUND, REASON_FOUND, "")
}

fn service_problem(observed: &Observed, route: &Route, target: Target<'_>) -> Option<Missing> {
    let namespace = &route.id.namespace;
    let Target { service, port } = target;
    let Some(found) = observed.service(&ObjectName::new(Arc::clone(namespace), service)) else {
        return Some(missing(&TargetFault::ServiceNotFound { service, namespace }));
    };
    if found.is_external_name {
        return Some(missing(&TargetFault::ExternalName { service }));
    }
    // Validation has said so where there is none.
    let port = port?;
    (!found.has_port(port)).then(|| {
        missing(&TargetFault::PortNotFound {
            service,
            port,
            offered: found.ports().collect(),
        })
    })
}

fn missing(fault: &TargetFault<'_>) -> Missing {
    (fault.reason(), fault.to_string())
}

/// An ExternalName may be a fallback: nothing is waited for there.
fn fallback_problem(observed: &Observed, route: &Route, fallback: Target<'_>) -> Option<Missing> {
    let (reason, text) = service_problem(observed, route, fallback)?;
    (reason != REASON_EXTERNAL_NAME).then(|| (reason, format!("fallback: {text}")))
}

/// What is missing, and what nobody knows.
fn workload_problem(observed: &Observed, route: &Route) -> (Option<Missing>, Option<String>) {
    let Some(workload) = route.workload() else {
        return (None, None);
    };
    match observed.workload(&workload) {
        Existence::Exists => (None, None),
        Existence::Missing => {
            let fault = TargetFault::WorkloadNotFound {
                kind: &workload.kind.kind,
                name: &workload.name,
                namespace: &workload.namespace,
            };
            (Some(missing(&fault)), None)
        }
        Existence::NotLookedUp => (None, Some(format!("{workload} has not been looked for yet"))),
        Existence::Unknown(why) => (
            None,
            Some(format!("whether {workload} exists is not known: {why}")),
        ),
    }
}
