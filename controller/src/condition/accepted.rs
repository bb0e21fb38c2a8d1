//! `Accepted`: the object can be served, and gets every host that it claims.

use rouse_api::condition::{
    ACCEPTED, REASON_ACCEPTED, REASON_HOST_CONFLICT, REASON_HOST_OWNED, REASON_INVALID, REASON_SUPERSEDED,
};
use rouse_routing::ConflictKind;

use super::{Finding, joined};
use crate::observed::{Observed, Route, Spec};

/// What is found of the route.
pub(crate) fn find(observed: &Observed, route: &Route) -> Finding {
    if let Spec::Unreadable(problem) = &route.spec {
        return fails(REASON_INVALID, format!("cannot be read: {problem}"));
    }
    if !route.problems.is_empty() {
        return fails(REASON_INVALID, joined(&route.problems));
    }
    if observed.is_superseded(&route.id) {
        let message = format!(
            "the InterceptorRoute {} of the same name is served instead",
            route.id
        );
        return fails(REASON_SUPERSEDED, message);
    }
    let rejections = observed.claims().rejections(&route.id);
    if !rejections.is_empty() {
        return fails(REASON_INVALID, joined(rejections));
    }
    let conflicts = observed.claims().conflicts(&route.id);
    if conflicts
        .iter()
        .any(|conflict| conflict.kind == ConflictKind::HostOwned)
    {
        return fails(REASON_HOST_OWNED, joined(conflicts));
    }
    if !conflicts.is_empty() {
        return fails(REASON_HOST_CONFLICT, joined(conflicts));
    }
    Finding::holds(ACCEPTED, REASON_ACCEPTED, joined(&route.warnings))
}

fn fails(reason: &'static str, message: String) -> Finding {
    Finding::fails(ACCEPTED, reason, message)
}
