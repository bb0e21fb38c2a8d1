//! The request path: from a request that has been read to the response that is sent.
//!
//! ```text
//! match route ─▶ count ─▶ endpoint free? ──yes──────────────▶ attempt ─▶ response, counted to its last byte
//!                             │ no                              │ refused, nothing sent: back to the old place
//!                             └─▶ hold (gate, in order) ─grant─▶┘ broke off: again if repeatable and within budget
//! ```
//!
//! One [`Proxy`] per worker; its pools, timers and sockets are that worker's. Every wait here has a deadline: the hold
//! its readiness timeout, a connection attempt and the response head theirs, the whole the request timeout.

mod access_log;
mod attempt;
mod body;
mod error;
mod exchange;
mod follow;
mod headers;
mod hold;
mod respond;
mod tunnel;

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, request};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::time::Instant;
use tower::retry::budget::Budget as _;

pub(crate) use self::{
    access_log::AccessLogLayer,
    body::{RequestBody, ResponseBody},
    error::ClientGone,
};
use self::{
    attempt::{AttemptError, AttemptSettings, attempt},
    body::Upload,
    error::{Fault, ProxyError},
    exchange::{Exchange, InFlight},
    hold::HoldError,
};
use crate::{
    downstream::ClientConnection,
    endpoint::EndpointGuard,
    gate::PaceSlot,
    route::{RouteSettings, RouteState},
    state::State,
    worker::WorkerId,
};

/// Repeats of one request after it was sent, whatever the budget says.
const MAX_REPEATS: u32 = 2;

/// The proxy as one worker runs it.
#[derive(Debug)]
pub(crate) struct Proxy {
    state: Arc<State>,
    worker: WorkerId,
}

/// An endpoint to send to.
#[derive(Debug)]
pub(crate) struct Acquired {
    endpoint: EndpointGuard,
    /// The request's share of the release, where it was held.
    slot: Option<PaceSlot>,
    settings: Arc<RouteSettings>,
    /// The endpoint is the fallback's.
    fallback: bool,
}

/// A request on its way up.
struct Upstream {
    request: Request<RequestBody>,
    /// The head of a request that may be sent twice, while it is sent the first time. Not before: a held request has one
    /// head.
    replay: Option<request::Parts>,
    /// How far the client's body has come.
    upload: Option<Arc<Upload>>,
    /// The client's side of a tunnel.
    upgrade: Option<OnUpgrade>,
}

impl Upstream {
    /// Whether it may be sent twice.
    fn is_repeatable(&self) -> bool {
        self.upload.is_none() && self.upgrade.is_none() && headers::is_idempotent(self.request.method())
    }
}

impl Proxy {
    pub(crate) fn new(state: Arc<State>, worker: WorkerId) -> Arc<Self> {
        Arc::new(Self { state, worker })
    }

    /// Answers one request.
    ///
    /// # Errors
    /// The client has left: its connection is to be closed.
    ///
    /// # Cancel safety
    /// Dropping the future undoes everything: the place in the queue, the counts, the exchange with the endpoint.
    pub(crate) async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, ClientGone> {
        let grpc = headers::is_grpc(request.headers());
        let (route, host) = match self.admit(&request) {
            Ok(admitted) => admitted,
            Err(error) => {
                self.state
                    .metrics
                    .unrouted(request.method(), error.status(), error.reason());
                return Ok(respond::error_response(&error, grpc));
            }
        };
        // Every request carries its connection; one that does not has nobody behind it.
        let client = request
            .extensions()
            .get::<ClientConnection>()
            .cloned()
            .ok_or(ClientGone)?;
        let mut in_flight = InFlight::begin(route, request.method().clone(), Instant::now());
        // Made here and lent to the futures below: handed down it would take its size in each of them.
        let mut upstream = prepare(request, &host, &client);
        let limit = in_flight.route().settings().timeouts.request;
        let deadline = limit.map(|limit| (limit, in_flight.arrived() + limit));
        let outcome = {
            let mut served = std::pin::pin!(self.serve(&mut in_flight, &mut upstream, &client));
            match deadline {
                None => served.await,
                Some((limit, deadline)) => match tokio::time::timeout_at(deadline, &mut served).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(HoldError::Failed(ProxyError::RequestTimeout(limit))),
                },
            }
        };
        match outcome {
            Ok(answer) => Ok(self.answer(in_flight, answer, deadline.map(|(_, deadline)| deadline))),
            Err(HoldError::ClientGone) => Err(ClientGone),
            Err(HoldError::Failed(error)) => Ok(self.fail(in_flight, &error, grpc)),
        }
    }

    /// Finds the request's route, and its host in the form that is forwarded.
    fn admit<B>(&self, request: &Request<B>) -> Result<(Arc<RouteState>, HeaderValue), ProxyError> {
        if *request.method() == Method::CONNECT {
            return Err(ProxyError::ConnectMethod);
        }
        let host = headers::host(request)?;
        let table = self.state.table.load();
        let route = table
            .lookup(host, request.uri().path(), request.headers())
            .map(Arc::clone)
            .ok_or(ProxyError::RouteNotFound)?;
        // The Host field itself where it was used: no copy.
        let host = match request.headers().get(header::HOST) {
            Some(value) if value.as_bytes() == host.as_bytes() => value.clone(),
            _ => HeaderValue::from_str(host).map_err(|_| ProxyError::BadRequest("the host is not a host"))?,
        };
        Ok((route, host))
    }

    /// Gets an answer from an endpoint, waiting and trying again as far as that is safe.
    async fn serve(
        &self,
        in_flight: &mut InFlight,
        upstream: &mut Upstream,
        client: &ClientConnection,
    ) -> Result<Answer, HoldError> {
        let mut sequence = None;
        let mut repeats = 0;
        let mut fresh = false;
        let mut acquired = self
            .acquire(in_flight, &mut sequence, &upstream.request, client)
            .await?;
        acquired.settings.target.retry_budget().deposit();
        loop {
            let endpoint = Arc::clone(acquired.endpoint.endpoint());
            let settings = AttemptSettings {
                worker: self.worker,
                dialer: &self.state.target_settings.dialer,
                response_header: acquired.settings.timeouts.response_header,
                repeatable: upstream.is_repeatable(),
                fresh,
            };
            upstream.replay = settings.repeatable.then(|| copy_head(&upstream.request));
            let target = Arc::clone(&acquired.settings.target);
            let upload = upstream.upload.as_deref();
            let (error, stale) = match attempt(&endpoint, &mut upstream.request, upload, settings).await {
                Ok((response, carrier)) => {
                    if endpoint.succeeded() {
                        target.pump(Instant::now());
                    }
                    if let Some(slot) = acquired.slot.take() {
                        slot.answered();
                    }
                    if response.status() == StatusCode::SWITCHING_PROTOCOLS && upstream.upgrade.is_none() {
                        return Err(HoldError::Failed(ProxyError::UnaskedUpgrade));
                    }
                    return Ok(Answer {
                        response,
                        carrier,
                        acquired,
                        upgrade: upstream.upgrade.take(),
                        upload: upstream.upload.take(),
                    });
                }
                Err(AttemptError::Final { error }) => return Err(HoldError::Failed(error)),
                Err(AttemptError::NotSent { error, stale }) => {
                    upstream.replay = None;
                    (error, stale)
                }
                Err(AttemptError::Sent { error, stale }) => {
                    let Some(parts) = upstream.replay.take().filter(|_| repeats < MAX_REPEATS) else {
                        return Err(HoldError::Failed(error));
                    };
                    // A connection that was kept and broke off says little of the endpoint: a pod that is killed breaks
                    // hundreds at once. The next attempt is on a new one, and its failure counts.
                    if !stale && !target.retry_budget().withdraw() {
                        self.state.metrics.retry_budget_exhausted();
                        return Err(HoldError::Failed(error));
                    }
                    repeats += 1;
                    in_flight.route().metrics.retried();
                    upstream.request = Request::from_parts(parts, RequestBody::empty());
                    (error, stale)
                }
            };
            tracing::debug!(
                route = %in_flight.route().id(), endpoint = %endpoint.addr(),
                error = %rouse_daemon::chain::chain(&error), "trying again"
            );
            if stale {
                // Others in the pool may be as old.
                fresh = true;
                continue;
            }
            endpoint.failed(Instant::now());
            if let Some(slot) = acquired.slot.take() {
                slot.failed();
            }
            if acquired.fallback {
                return Err(HoldError::Failed(error));
            }
            drop(acquired);
            acquired = self
                .acquire(in_flight, &mut sequence, &upstream.request, client)
                .await?;
        }
    }

    /// An endpoint for the request: at once where one is free, else in turn.
    async fn acquire(
        &self,
        in_flight: &mut InFlight,
        sequence: &mut Option<u64>,
        request: &Request<RequestBody>,
        client: &ClientConnection,
    ) -> Result<Acquired, HoldError> {
        let settings = in_flight.route().settings();
        if let Some(endpoint) = hold::pick(&settings.target, Instant::now()) {
            return Ok(Acquired {
                endpoint,
                slot: None,
                settings,
                fallback: false,
            });
        }
        drop(settings);
        // Boxed: what a hold needs is no part of a warm request's future.
        Box::pin(self.hold_and_follow(in_flight, sequence, request, client)).await
    }

    /// The endpoint's answer, as the client gets it.
    fn answer(
        &self,
        mut in_flight: InFlight,
        answer: Answer,
        deadline: Option<Instant>,
    ) -> Response<ResponseBody> {
        let Answer {
            mut response,
            carrier,
            acquired,
            upgrade,
            upload,
        } = answer;
        in_flight.answered(response.status());
        let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let protocol = switching
            .then(|| response.headers().get(header::UPGRADE).cloned())
            .flatten();
        let upstream_upgrade = switching.then(|| hyper::upgrade::on(&mut response));
        headers::prepare_response(response.headers_mut(), protocol);
        // The endpoint's version says nothing of ours; hyper answers an HTTP/1.0 client in its own.
        *response.version_mut() = Version::HTTP_11;
        if self.state.config.cold_start_header && !acquired.fallback {
            let value = if in_flight.cold_start() { "true" } else { "false" };
            response
                .headers_mut()
                .insert(headers::COLD_START, HeaderValue::from_static(value));
        }
        let exchange = Exchange::new(in_flight, acquired.endpoint, carrier, upload, self.worker);
        let (parts, incoming) = response.into_parts();
        if let (Some(client), Some(endpoint)) = (upgrade, upstream_upgrade) {
            tunnel::spawn(client, endpoint, exchange);
            return Response::from_parts(parts, ResponseBody::own(""));
        }
        Response::from_parts(parts, ResponseBody::upstream(incoming, exchange, deadline))
    }

    /// An answer of our own to a request that found its route.
    fn fail(&self, mut in_flight: InFlight, error: &ProxyError, grpc: bool) -> Response<ResponseBody> {
        let route = in_flight.route();
        let chain = rouse_daemon::chain::chain(error);
        match error.fault() {
            Fault::Upstream => {
                tracing::info!(route = %route.id(), reason = error.reason(), error = %chain, "request failed");
            }
            Fault::Downstream | Fault::Own => {
                tracing::debug!(route = %route.id(), reason = error.reason(), error = %chain, "request failed");
            }
        }
        self.state.metrics.own_answer(error.reason());
        let response = respond::error_response(error, grpc);
        in_flight.answered(response.status());
        let (parts, body) = response.into_parts();
        Response::from_parts(parts, body.counted(in_flight))
    }
}

/// The head of an endpoint's answer, with what it came by.
struct Answer {
    response: Response<Incoming>,
    carrier: exchange::Carrier,
    acquired: Acquired,
    upgrade: Option<OnUpgrade>,
    upload: Option<Arc<Upload>>,
}

/// Makes the request fit to be sent, once: every attempt sends the same.
fn prepare(mut request: Request<Incoming>, host: &HeaderValue, client: &ClientConnection) -> Upstream {
    let protocol = headers::upgrade(request.headers(), request.version());
    let upgrade = protocol.is_some().then(|| hyper::upgrade::on(&mut request));
    let (mut parts, incoming) = request.into_parts();
    // Ours and hyper's own: nothing of them concerns the endpoint's connection.
    parts.extensions = http::Extensions::new();
    headers::prepare_request(&mut parts, host, client.peer_addr(), protocol);
    let (body, upload) = RequestBody::new(incoming);
    Upstream {
        request: Request::from_parts(parts, body),
        replay: None,
        upload,
        upgrade,
    }
}

/// The head of a prepared request, which has no extensions.
fn copy_head<B>(request: &Request<B>) -> request::Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method.clone_from(request.method());
    parts.uri.clone_from(request.uri());
    parts.version = request.version();
    parts.headers.clone_from(request.headers());
    parts
}

#[cfg(test)]
mod tests;
