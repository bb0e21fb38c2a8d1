//! One route at a time: what should be, compared with what is, and the difference written.
//!
//! Level-based: it does not matter what happened, or how often. Nothing is written where nothing has changed, so a restart,
//! a new leader and a look at everything cost no write.

mod scaled_object;
mod workers;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use rouse_api::condition::READY;
use rouse_api::http_scaled_object::FINALIZER;
use rouse_daemon::chain::chain;
use rouse_routing::{RouteId, RouteKind};
use tokio::time::Instant;

pub(crate) use self::workers::run_while_leading;
use crate::{
    condition::{ConditionSource, Finding, accepted, ready, scaler_ready, target_found},
    event::{Events, Notice},
    lookup::Lookup,
    metrics::ReconcileMetrics,
    observed::{Existence, Route, SharedObserved, Spec},
    queue::Outcome,
    scaled_object::ScalerAddress,
    status::{DesiredStatus, Transition},
    writer::{WriteError, Writer},
};

/// How often a workload of a kind that is not watched is looked for.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// How often while it is not there.
const LOOK_FOR_MISSING: Duration = Duration::from_secs(10);

/// Reconciles routes.
#[derive(Debug)]
pub(crate) struct Reconciler {
    pub(crate) observed: SharedObserved,
    pub(crate) sources: Vec<Arc<dyn ConditionSource>>,
    pub(crate) scaler: ScalerAddress,
    pub(crate) lookup: Lookup,
    pub(crate) events: Events,
    pub(crate) metrics: ReconcileMetrics,
}

impl Reconciler {
    /// Does for a route what is to be done now.
    pub(crate) async fn reconcile(&self, id: &RouteId, writer: &Writer) -> Outcome {
        let begun = Instant::now();
        let outcome = self.try_reconcile(id, writer).await;
        if let Some(outcome) = outcome {
            let is_ok = outcome != Outcome::Failed;
            self.metrics.reconciled(id.kind, is_ok, begun.elapsed());
        }
        outcome.unwrap_or(Outcome::Settled)
    }

    /// `None` where there is no such route.
    async fn try_reconcile(&self, id: &RouteId, writer: &Writer) -> Option<Outcome> {
        self.observed.settle();
        let route = self.route(id)?;
        if let Err(error) = strip_finalizer(&route, writer).await {
            report(&route, "remove the add-on's finalizer", &error);
            return Some(Outcome::Failed);
        }
        if route.is_deleting {
            // Its ScaledObject goes with it, by the reference to its owner.
            return Some(Outcome::Settled);
        }
        let written = self.reconcile_scaled_object(&route, writer).await;
        let again = self.look_for_workload(&route).await;

        // What was written has become part of what is observed.
        let route = self.route(id)?;
        let refusal = written.as_ref().err().and_then(|refused| refused.text.as_deref());
        let is_status_written = self.reconcile_status(&route, refusal, writer).await;
        Some(match (written, is_status_written, again) {
            (Err(_), _, _) | (_, false, _) => Outcome::Failed,
            (Ok(()), true, Some(again)) => Outcome::Again(again),
            (Ok(()), true, None) => Outcome::Settled,
        })
    }

    fn route(&self, id: &RouteId) -> Option<Arc<Route>> {
        self.observed.read(|observed| observed.route(id).cloned())
    }

    /// Looks for a workload of a kind that is not watched. Returns when to look again.
    async fn look_for_workload(&self, route: &Route) -> Option<Duration> {
        let Spec::HttpScaledObject(spec) = &route.spec else {
            return None;
        };
        let workload = route.workload()?;
        let is_watched = self.observed.read(|observed| observed.is_watched(&workload.kind));
        if is_watched {
            return None;
        }
        let api_version = spec.scale_target_ref.workload()?.api_version;
        let found = self.lookup.find(&workload, api_version).await;
        let again = if found == Existence::Exists {
            LOOK_AGAIN
        } else {
            LOOK_FOR_MISSING
        };
        self.observed.update_for(&route.id, |observed| {
            observed.workload_looked_up(&workload, found);
        });
        Some(again)
    }

    /// Says whether the status is as it should be.
    async fn reconcile_status(&self, route: &Route, refusal: Option<&str>, writer: &Writer) -> bool {
        let findings = self.find(route, refusal);
        let desired = DesiredStatus::new(route, &findings, Timestamp::now());
        if desired.is_written(route) {
            return true;
        }
        match writer.apply_status(route, &desired.to_json()).await {
            Ok(written) => {
                self.observed
                    .update_for(&route.id, |observed| observed.apply_route(written));
                self.tell(route, &findings, &desired.transition(route));
                true
            }
            // It was deleted meanwhile.
            Err(error) if error.is_not_found() => true,
            Err(error) => {
                report(route, "write the status", &error);
                false
            }
        }
    }

    /// Every condition of the route.
    fn find(&self, route: &Route, refusal: Option<&str>) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.observed.read(|observed| {
            let accepted = accepted::find(observed, route);
            let target_found = target_found::find(observed, route);
            let scaler_ready = scaler_ready::find(observed, route, refusal);
            [accepted, target_found].into_iter().chain(scaler_ready).collect()
        });
        let of_others = self
            .sources
            .iter()
            .filter_map(|source| source.condition(&route.id));
        findings.extend(of_others);
        let message = match (route.id.kind, route.wants_scaled_object()) {
            (RouteKind::HttpScaledObject, true) => "the ScaledObject is written",
            (RouteKind::HttpScaledObject, false) => "the ScaledObject is left to the user",
            (RouteKind::InterceptorRoute, _) => "",
        };
        findings.push(ready::find(&findings, message));
        findings
    }

    fn tell(&self, route: &Route, findings: &[Finding], transition: &Transition) {
        let is_warning = match transition {
            Transition::None => return,
            Transition::Failing => true,
            Transition::Recovered => false,
        };
        let Some(ready) = findings.iter().find(|finding| finding.kind == READY) else {
            return;
        };
        self.events.publish(Notice {
            about: reference(route),
            is_warning,
            reason: ready.reason,
            action: "Reconcile",
            note: if is_warning {
                ready.message.clone()
            } else {
                "served again as asked for".to_owned()
            },
        });
    }
}

/// Takes the add-on's finalizer off. Rouse has none of its own: what it writes for a route goes with the route, by the
/// reference to its owner, so nothing stays Terminating when Rouse is gone first.
async fn strip_finalizer(route: &Route, writer: &Writer) -> Result<(), WriteError> {
    if !route.finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(());
    }
    let kept: Vec<&String> = route
        .finalizers
        .iter()
        .filter(|finalizer| *finalizer != FINALIZER)
        .collect();
    writer.set_finalizers(route, &kept).await
}

/// The route's object, for events.
pub(crate) fn reference(route: &Route) -> ObjectReference {
    let (api_version, kind) = match route.id.kind {
        RouteKind::HttpScaledObject => ("http.keda.sh/v1alpha1", "HTTPScaledObject"),
        RouteKind::InterceptorRoute => ("http.keda.sh/v1beta1", "InterceptorRoute"),
    };
    ObjectReference {
        api_version: Some(api_version.to_owned()),
        kind: Some(kind.to_owned()),
        name: Some(route.id.name.to_string()),
        namespace: Some(route.id.namespace.to_string()),
        uid: Some(route.uid.to_string()),
        ..ObjectReference::default()
    }
}

/// Logs what could not be done, once for each attempt.
fn report(route: &Route, what: &'static str, error: &WriteError) {
    match error {
        WriteError::Abandoned => tracing::debug!(kind = %route.id.kind, route = %route.id, what, "abandoned"),
        error => {
            tracing::warn!(kind = %route.id.kind, route = %route.id, what, error = %chain(error), "not done");
        }
    }
}
