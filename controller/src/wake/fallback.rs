//! Looks at the workloads of routes that wait for longer than KEDA should need, while this process leads.
//!
//! Bounded: [`AT_ONCE`] looks at a time, and one begun in each [`GAP`], however many routes wait. A look costs the API
//! server two reads at once for each workload, and one write where it is needed.
//!
//! A workload is scaled `patience`, one read and one write after a request is first heard to be held, and what is not scaled
//! then is told of in the log, with the reason.

use std::{fmt::Write as _, time::Duration};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use rouse_api::{HTTPScaledObject, InterceptorRoute};
use rouse_daemon::chain::chain;
use rouse_kubernetes::lease::Leadership;
use rouse_routing::{RouteId, RouteKind};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    attempt::{self, CallError, Outcome},
    candidate::{Candidate, candidates},
    demand::SharedDemand,
    episodes::{Again, Episodes},
    metrics::WakeMetrics,
};
use crate::{
    event::Notice,
    observed::{Observed, Workload},
    parts::Parts,
};

/// Looks under way at a time. Enough that some which get no answer, or a slow API server, do not keep the others waiting.
const AT_ONCE: usize = 32;

/// Workloads of one route that are looked at at a time. Hardly a route has two.
const WORKLOADS_AT_ONCE: usize = 4;

/// Between the beginnings of two.
const GAP: Duration = Duration::from_millis(50);

/// Of the event on the route.
const REASON: &str = "WokenByRouse";
const ACTION: &str = "Wake";

/// See the module.
#[derive(Debug)]
pub(crate) struct Fallback {
    parts: Parts,
    demand: SharedDemand,
    metrics: WakeMetrics,
    episodes: Episodes,
    /// No look begins before.
    free_at: Instant,
    looks: JoinSet<Looked>,
}

/// The end of a look.
#[derive(Debug)]
struct Looked {
    id: RouteId,
    since: Instant,
    begun: Instant,
    /// None where the term ended before.
    outcomes: Option<Vec<(Workload, Result<Outcome, CallError>)>>,
}

impl Fallback {
    pub(crate) fn new(parts: Parts, demand: SharedDemand, metrics: WakeMetrics, patience: Duration) -> Self {
        Self {
            parts,
            demand,
            metrics,
            episodes: Episodes::new(patience),
            free_at: Instant::now(),
            looks: JoinSet::new(),
        }
    }

    /// Ends when nobody is left to say who leads. Dropped, it cuts the looks short.
    pub(crate) async fn run(mut self) {
        let mut revision = self.demand.revision();
        let mut leadership = self.parts.leadership.clone();
        let mut is_news = true;
        loop {
            if is_news {
                revision.mark_unchanged();
                self.episodes.follow(&self.demand.waiting(), Instant::now());
            }
            let leads = leadership.borrow_and_update().clone();
            let next = match &leads {
                Leadership::Leader(term) if !term.is_cancelled() => {
                    self.begin_due(term);
                    self.next_begin()
                }
                _ => None,
            };
            is_news = false;
            tokio::select! {
                changed = revision.changed() => match changed {
                    Ok(()) => is_news = true,
                    // The sender lives as long as `self`.
                    Err(_) => return,
                },
                changed = leadership.changed() => if changed.is_err() { return },
                Some(ended) = self.looks.join_next(), if !self.looks.is_empty() => {
                    // A panic has been logged by the hook; its route is looked at in its next episode.
                    if let Ok(looked) = ended {
                        self.end(looked);
                    }
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    /// Begins looks at what is due, as far as the bounds allow.
    fn begin_due(&mut self, term: &CancellationToken) {
        let now = Instant::now();
        while self.looks.len() < AT_ONCE && self.free_at <= now {
            let Some((id, since)) = self.episodes.take_due(now) else {
                return;
            };
            let candidates = self.parts.observed.read(|observed| candidates(observed, &id));
            if candidates.is_empty() {
                self.tell_unscaled(&id, now - since, "nothing may be scaled for the route");
                self.episodes.looked(&id, Vec::new(), Again::Later, now);
                continue;
            }
            let is_asleep = |candidate: &Candidate| !self.episodes.is_woken(&candidate.workload);
            let asleep: Vec<Candidate> = candidates.into_iter().filter(is_asleep).collect();
            if asleep.is_empty() {
                self.tell_unscaled(&id, now - since, "scaled for these requests before");
                self.episodes.looked(&id, Vec::new(), Again::Later, now);
                continue;
            }
            self.free_at = now + GAP;
            let look = Box::pin(look(self.parts.client.clone(), asleep));
            let term = term.clone();
            self.looks.spawn(async move {
                let outcomes = term.run_until_cancelled(look).await;
                Looked {
                    id,
                    since,
                    begun: now,
                    outcomes,
                }
            });
        }
    }

    /// When the next look can begin, if nothing else happens before.
    fn next_begin(&self) -> Option<Instant> {
        let has_room = self.looks.len() < AT_ONCE;
        self.episodes
            .next_due()
            .filter(|_| has_room)
            .map(|due| due.max(self.free_at))
    }

    fn end(&mut self, looked: Looked) {
        let now = Instant::now();
        let Some(outcomes) = looked.outcomes else {
            self.episodes.looked(&looked.id, Vec::new(), Again::Soon, now);
            return;
        };
        let mut woken = Vec::new();
        let mut unscaled = String::new();
        for (workload, ended) in outcomes {
            let outcome = *ended.as_ref().unwrap_or(&Outcome::Failed);
            self.metrics.attempted(outcome);
            if outcome == Outcome::Scaled {
                self.tell(&looked.id, &workload, now - looked.since);
                woken.push(workload);
                continue;
            }
            let separator = if unscaled.is_empty() { "" } else { "; " };
            // Writing to a String does not fail.
            let _infallible = match &ended {
                Ok(outcome) => write!(unscaled, "{separator}{workload}: {}", outcome.name()),
                Err(error) => write!(unscaled, "{separator}{workload}: {}", chain(error)),
            };
        }
        let mut again = Again::Never;
        if !unscaled.is_empty() {
            again = Again::Later;
            let took_ms = (now - looked.begun).as_millis() as u64;
            tracing::debug!(route = %looked.id, took_ms, unscaled, "looked");
            self.tell_unscaled(&looked.id, now - looked.since, &unscaled);
        }
        self.episodes.looked(&looked.id, woken, again, now);
    }

    /// A line in the log with each new reason why nothing is scaled for requests that have been held for long.
    fn tell_unscaled(&mut self, id: &RouteId, waited: Duration, reason: &str) {
        if self.episodes.is_news(id, reason) {
            let waited_ms = waited.as_millis() as u64;
            tracing::info!(route = %id, waited_ms, reason, "requests are held for long, and nothing was scaled for them");
        }
    }

    /// An event, and a line in the log.
    fn tell(&self, id: &RouteId, workload: &Workload, waited: Duration) {
        tracing::warn!(
            route = %id,
            %workload,
            waited_ms = waited.as_millis() as u64,
            "KEDA has not acted on a held request: scaled from zero"
        );
        let about = self.parts.observed.read(|observed| reference(observed, id));
        self.parts.events.publish(Notice {
            about,
            is_warning: true,
            reason: REASON,
            action: ACTION,
            note: format!(
                "requests are held and KEDA has not acted: Rouse has scaled {workload} from 0 to 1"
            ),
        });
    }
}

async fn look(
    client: kube::Client,
    candidates: Vec<Candidate>,
) -> Vec<(Workload, Result<Outcome, CallError>)> {
    stream::iter(candidates)
        .map(|candidate| {
            let client = client.clone();
            async move {
                let ended = attempt::wake(&client, &candidate).await;
                (candidate.workload, ended)
            }
        })
        .buffer_unordered(WORKLOADS_AT_ONCE)
        .collect()
        .await
}

fn reference(observed: &Observed, id: &RouteId) -> ObjectReference {
    let (api_version, kind) = match id.kind {
        RouteKind::HttpScaledObject => (HTTPScaledObject::api_version(&()), HTTPScaledObject::kind(&())),
        RouteKind::InterceptorRoute => (InterceptorRoute::api_version(&()), InterceptorRoute::kind(&())),
    };
    ObjectReference {
        api_version: Some(api_version.into_owned()),
        kind: Some(kind.into_owned()),
        namespace: Some(id.namespace.to_string()),
        name: Some(id.name.to_string()),
        uid: observed.route(id).map(|route| route.uid.to_string()),
        ..ObjectReference::default()
    }
}
