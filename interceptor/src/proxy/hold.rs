//! The hold: a request waits in its target's gate for an endpoint, for as long as its route lets it.

use std::{sync::Arc, time::Duration};

use http::Request;
use http_body::Body as _;
use tokio::time::Instant;

use super::{
    Acquired, Proxy, RequestBody,
    error::{ClientGone, ProxyError},
    exchange::InFlight,
};
use crate::{
    downstream::ClientConnection,
    endpoint::EndpointGuard,
    gate::{self, Verdict},
    metrics::HoldOutcome,
    route::{RouteSettings, RouteState},
    target::Target,
};

/// How long a wake counts as demand where requests may be held for ever.
const UNLIMITED_WAKE: Duration = Duration::from_mins(6);
/// What a held request takes besides its head and what the kernel has received of its body: its connection and tasks.
const HELD_BYTES: u64 = 10 * 1024;

/// What the kernel receives of a body that nobody reads: measured with an 8 MB upload.
const RECEIVE_BUFFER_BYTES: u64 = 128 * 1024;

/// Why a hold ended without an endpoint.
#[derive(Debug)]
pub(crate) enum HoldError {
    /// The client is to be told.
    Failed(ProxyError),
    /// There is nobody to tell.
    ClientGone,
}

impl From<ClientGone> for HoldError {
    fn from(_: ClientGone) -> Self {
        Self::ClientGone
    }
}

impl Proxy {
    /// Waits for an endpoint. `sequence` is the request's place in the queue, drawn when it first waits: a request
    /// that comes back stands where it stood.
    ///
    /// # Cancel safety
    /// A dropped hold gives back its place and whatever was granted in the meantime.
    pub(super) async fn hold(
        &self,
        in_flight: &mut InFlight,
        sequence: &mut Option<u64>,
        bytes: u64,
        client: &ClientConnection,
    ) -> Result<Acquired, HoldError> {
        let route = Arc::clone(in_flight.route());
        let per_route = route.settings().max_pending;
        let returning = sequence.is_some();
        let Some(place) = self.state.bounds.take(&route, bytes, per_route, returning) else {
            route.metrics.rejected();
            return Err(HoldError::Failed(ProxyError::PendingLimit));
        };
        let sequence = *sequence.get_or_insert_with(gate::next_sequence);
        let started = Instant::now();
        let outcome = self.wait(in_flight, &route, sequence, client).await;
        drop(place);
        // It goes on, but no longer as one that is held.
        route.report();
        if let Err(HoldError::Failed(ProxyError::RouteRemoved)) = &outcome {
            // It may go on with another.
            return outcome;
        }
        route.metrics.hold_ended(
            started.elapsed(),
            match &outcome {
                Ok(_) => HoldOutcome::Served,
                Err(HoldError::ClientGone) => HoldOutcome::Abandoned,
                Err(HoldError::Failed(ProxyError::ReadinessTimeout(_))) => HoldOutcome::Timeout,
                Err(HoldError::Failed(_)) => HoldOutcome::Failed,
            },
        );
        outcome
    }

    async fn wait(
        &self,
        in_flight: &mut InFlight,
        route: &Arc<RouteState>,
        sequence: u64,
        client: &ClientConnection,
    ) -> Result<Acquired, HoldError> {
        let mut hangup = std::pin::pin!(client.hangup());
        loop {
            if route.is_removed() {
                return Err(HoldError::Failed(ProxyError::RouteRemoved));
            }
            let settings = route.settings();
            if let Some(problem) = settings.target.endpoints().problem {
                return Err(HoldError::Failed(ProxyError::TargetNotFound(problem)));
            }
            self.note_cold_start(in_flight, route, &settings);
            let mut ticket = settings.target.wait(route.id(), sequence, settings.pace_window);
            // A route removed between the look and the place in the queue has dismissed nobody there.
            if route.is_removed() || !Arc::ptr_eq(&route.settings().target, &settings.target) {
                continue;
            }
            let verdict = tokio::select! {
                biased;
                verdict = ticket.verdict() => verdict,
                () = &mut hangup => return Err(HoldError::ClientGone),
                limit = deadline(in_flight.arrived(), &settings) => {
                    drop(ticket);
                    return fall_back(&settings).ok_or(HoldError::Failed(ProxyError::ReadinessTimeout(limit)));
                }
            };
            match verdict {
                // Both came at once: what nobody waits for is not executed.
                Verdict::Granted(_) if client.has_left() => return Err(HoldError::ClientGone),
                Verdict::Granted(grant) => {
                    return Ok(Acquired {
                        endpoint: grant.endpoint,
                        slot: Some(grant.slot),
                        settings,
                        fallback: false,
                    });
                }
                Verdict::Retarget => {}
                Verdict::RouteRemoved => return Err(HoldError::Failed(ProxyError::RouteRemoved)),
            }
        }
    }

    /// Marks the request as a cold start where nothing can take it, and tells the scalers.
    fn note_cold_start(&self, in_flight: &mut InFlight, route: &Arc<RouteState>, settings: &RouteSettings) {
        let now = Instant::now();
        let target = &settings.target;
        if !target.has_usable_endpoint(now) {
            in_flight.mark_cold_start();
        }
        // Before the look at the endpoints: one that becomes ready after it raises the generation and ends this wake.
        let generation = target.ready_generation();
        if target.ready_count() > 0 {
            route.report();
            return;
        }
        let hold = settings
            .timeouts
            .readiness_waiting_for_node
            .unwrap_or(UNLIMITED_WAKE);
        let begins = route.begin_wake(generation, hold, now);
        if begins {
            self.state.note_wake(route);
        }
        if begins || route.concurrency() == 1 {
            route.report_edge();
        } else {
            route.report();
        }
    }
}

/// Ends when the hold's time is over; returns how long that was. Extended while the target's pod waits for a node.
async fn deadline(arrived: Instant, settings: &RouteSettings) -> Duration {
    let Some(limit) = settings.timeouts.readiness else {
        return std::future::pending().await;
    };
    tokio::time::sleep_until(arrived + limit).await;
    let extended = settings.timeouts.readiness_waiting_for_node.unwrap_or(limit);
    if extended > limit && settings.target.is_waiting_for_node() {
        tokio::time::sleep_until(arrived + extended).await;
        return extended;
    }
    limit
}

/// The fallback's endpoint, where the route has one that is ready.
fn fall_back(settings: &Arc<RouteSettings>) -> Option<Acquired> {
    Some(Acquired {
        endpoint: pick(settings.fallback.as_ref()?, Instant::now())?,
        slot: None,
        settings: Arc::clone(settings),
        fallback: true,
    })
}

/// What a request takes while it is held, in bytes: its own structures, its head, and what the kernel receives of its
/// body before the window closes.
pub(crate) fn held_bytes(request: &Request<RequestBody>) -> u64 {
    let head: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    // A body of unknown length counts as endless.
    let body = request
        .body()
        .size_hint()
        .exact()
        .unwrap_or(u64::MAX)
        .min(RECEIVE_BUFFER_BYTES);
    HELD_BYTES + head as u64 + body
}

/// An endpoint of `target` for a request that need not wait, counted as in use.
pub(crate) fn pick(target: &Target, now: Instant) -> Option<EndpointGuard> {
    target.pick(now).map(|endpoint| endpoint.begin())
}
