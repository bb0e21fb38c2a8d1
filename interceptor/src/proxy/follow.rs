//! What becomes of a held request whose route is gone.
//!
//! It is matched anew: where an InterceptorRoute has replaced the HTTPScaledObject of its name, or another route takes its
//! host, it goes on with that, at its old place and with the time that it has waited. Where nothing does it waits for
//! [`REPLACED_WITHIN`]: an object is often deleted and made anew in two steps.

use std::{sync::Arc, time::Duration};

use http::Request;
use tokio::time::{Instant, timeout_at};

use super::{
    Acquired, Proxy, RequestBody,
    error::ProxyError,
    exchange::InFlight,
    headers,
    hold::{self, HoldError},
};
use crate::{downstream::ClientConnection, metrics::HoldOutcome, route::RouteState};

/// How long a request whose route is gone waits for another. `kubectl replace --force` looks once a second whether what it
/// deletes is gone.
const REPLACED_WITHIN: Duration = Duration::from_secs(3);

impl Proxy {
    /// Holds the request, with the route that takes the place of its own where that is removed.
    pub(super) async fn hold_and_follow(
        &self,
        in_flight: &mut InFlight,
        sequence: &mut Option<u64>,
        request: &Request<RequestBody>,
        client: &ClientConnection,
    ) -> Result<Acquired, HoldError> {
        loop {
            let held = self
                .hold(in_flight, sequence, hold::held_bytes(request), client)
                .await;
            let Err(HoldError::Failed(ProxyError::RouteRemoved)) = held else {
                return held;
            };
            let limit = Instant::now() + REPLACED_WITHIN;
            let route = tokio::select! {
                biased;
                () = client.hangup() => return Err(HoldError::ClientGone),
                found = timeout_at(limit, self.successor(in_flight.route(), request)) => found,
            };
            let Ok(route) = route else {
                let metrics = &in_flight.route().metrics;
                metrics.hold_ended(in_flight.arrived().elapsed(), HoldOutcome::Failed);
                return Err(HoldError::Failed(ProxyError::RouteRemoved));
            };
            in_flight.follow(route);
        }
    }

    /// The route that the request matches now. Ends when there is one.
    async fn successor(&self, removed: &Arc<RouteState>, request: &Request<RequestBody>) -> Arc<RouteState> {
        // Before the first look, so that no table is missed.
        let mut tables = self.state.tables.subscribe();
        loop {
            tables.mark_unchanged();
            if let Some(route) = self.lookup(request).filter(|route| !Arc::ptr_eq(route, removed)) {
                return route;
            }
            if tables.changed().await.is_err() {
                // The sender lives as long as `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// By the request as it is sent on: it had a host when it came, and the path and the fields that routes name are as they
    /// were.
    fn lookup(&self, request: &Request<RequestBody>) -> Option<Arc<RouteState>> {
        let host = headers::host(request).ok()?;
        let table = self.state.table.load();
        table
            .lookup(host, request.uri().path(), request.headers())
            .map(Arc::clone)
    }
}
