//! What a request holds on to until its last byte is gone, and gives back then: its place in the route's concurrency,
//! its place at the endpoint, the connection to it.

use std::sync::Arc;

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::body::Upload;
use crate::{
    endpoint::EndpointGuard,
    pool::{H1Connection, Lease},
    route::RouteState,
    worker::WorkerId,
};

/// A request's place in its route's concurrency, from arrival to the last byte of the answer.
#[derive(Debug)]
pub(crate) struct InFlight {
    route: Arc<RouteState>,
    arrived: Instant,
    method: Method,
    status: Option<StatusCode>,
    cold_start: bool,
}

impl InFlight {
    /// Counts the arrival of a request.
    pub(crate) fn begin(route: Arc<RouteState>, method: Method, now: Instant) -> Self {
        route.arrive(now);
        Self {
            route,
            arrived: now,
            method,
            status: None,
            cold_start: false,
        }
    }

    pub(crate) fn route(&self) -> &Arc<RouteState> {
        &self.route
    }

    /// The request goes on with another route, in which it has not been counted yet.
    pub(crate) fn follow(&mut self, route: Arc<RouteState>) {
        route.arrive(Instant::now());
        std::mem::replace(&mut self.route, route).leave();
    }

    pub(crate) fn arrived(&self) -> Instant {
        self.arrived
    }

    pub(crate) fn cold_start(&self) -> bool {
        self.cold_start
    }

    pub(crate) fn mark_cold_start(&mut self) {
        self.cold_start = true;
    }

    /// The status that the client is given; without one, the client left before.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.route.leave();
        self.route
            .metrics
            .request_ended(&self.method, self.status, self.arrived.elapsed(), self.cold_start);
    }
}

/// The connection that carries an exchange.
#[derive(Debug)]
pub(crate) enum Carrier {
    /// Goes back to the pool when the exchange ends well.
    H1(H1Connection),
    /// A stream; the connection stays in the pool.
    H2 {
        #[expect(
            dead_code,
            reason = "held for its drop, which frees the place on the connection"
        )]
        lease: Lease,
    },
}

/// An exchange with an endpoint whose answer is on its way to the client.
#[derive(Debug)]
pub(crate) struct Exchange {
    carrier: Option<Carrier>,
    endpoint: EndpointGuard,
    /// How far the request's body has come; `None` where it had none.
    upload: Option<Arc<Upload>>,
    worker: WorkerId,
    #[expect(dead_code, reason = "held for its drop, which lowers the route's concurrency")]
    in_flight: InFlight,
}

impl Exchange {
    pub(crate) fn new(
        in_flight: InFlight,
        endpoint: EndpointGuard,
        carrier: Carrier,
        upload: Option<Arc<Upload>>,
        worker: WorkerId,
    ) -> Self {
        Self {
            carrier: Some(carrier),
            endpoint,
            upload,
            worker,
            in_flight,
        }
    }

    /// The answer has ended as it should: its connection may carry another exchange.
    ///
    /// Not so when the endpoint answered without reading the whole request: what it does with the rest is unknown.
    pub(crate) fn complete(&mut self) {
        let is_sent = self.upload.as_ref().is_none_or(|upload| upload.is_over());
        let endpoint = self.endpoint.endpoint();
        if let Some(Carrier::H1(connection)) = self.carrier.take()
            && is_sent
            && !endpoint.is_retired()
        {
            endpoint.pool().h1(self.worker).put(connection, Instant::now());
        }
    }
}
