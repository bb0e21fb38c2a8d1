//! Answers requests.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE, request::Parts,
};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    Args, Cksum, Executed, Timing, body::AnswerBody, connection::FirstByte, endpoint::Endpoint, info::Info,
    metrics::Metrics, timing::monotonic_ns,
};

/// Why a request has no answer: its connection is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// `--abort-requests` asked for it.
    #[error("aborted on purpose")]
    Aborted,
    /// The request's body did not arrive whole.
    #[error("read the request's body")]
    Body(#[source] hyper::Error),
}

/// What all connections of the application share.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) executed: Executed,
    pub(crate) timing: Timing,
    info: Info,
    metrics: Metrics,
    /// `None` with `--never-ready`.
    ready_at: Option<Instant>,
    failures_left: AtomicU64,
    aborts_left: AtomicU64,
}

impl Service {
    /// A service whose readiness counts from now.
    pub(crate) fn new(args: &Args, executed: Executed, timing: Timing) -> Self {
        Self {
            executed,
            timing,
            info: Info::new(args),
            metrics: Metrics::new(),
            ready_at: (!args.never_ready).then(|| Instant::now() + args.ready_delay),
            failures_left: AtomicU64::new(args.fail_requests),
            aborts_left: AtomicU64::new(args.abort_requests),
        }
    }

    /// Answers one request of a connection whose bytes are stamped by `first_byte`.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        first_byte: &FirstByte,
    ) -> Result<Response<AnswerBody>, NoAnswer> {
        let started = Instant::now();
        let first_byte_ns = first_byte.claim().unwrap_or_else(monotonic_ns);
        let endpoint = Endpoint::of(request.uri().path());
        let (parts, body) = request.into_parts();
        let method = parts.method.clone();
        let response = if endpoint.is_work() {
            if !is_kubelet(&parts.headers) {
                self.timing.request_arrived(first_byte_ns);
            }
            self.work(endpoint, parts, body).await?
        } else {
            self.look(endpoint)
        };
        self.metrics
            .answered(&method, endpoint, response.status(), started.elapsed());
        Ok(response)
    }

    async fn work(
        &self,
        endpoint: Endpoint,
        parts: Parts,
        body: Incoming,
    ) -> Result<Response<AnswerBody>, NoAnswer> {
        let guard = match self
            .executed
            .begin(&parts.method, parts.uri.path(), &parts.headers)
        {
            Ok(guard) => guard,
            Err(error) => {
                let message = format!("record the execution: {error}");
                return Ok(json(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    &json!({ "error": message }),
                ));
            }
        };
        if take_one(&self.aborts_left) {
            return Err(NoAnswer::Aborted);
        }
        let response = if take_one(&self.failures_left) {
            json(
                StatusCode::INTERNAL_SERVER_ERROR,
                &json!({ "error": "failed on purpose" }),
            )
        } else {
            self.execute(endpoint, parts, body).await?
        };
        Ok(response.map(|body| body.guarded_by(Some(guard))))
    }

    async fn execute(
        &self,
        endpoint: Endpoint,
        parts: Parts,
        body: Incoming,
    ) -> Result<Response<AnswerBody>, NoAnswer> {
        Ok(match endpoint {
            Endpoint::Delay(delay) => {
                sleep(delay).await;
                json(StatusCode::OK, &json!({ "delay": delay.as_secs_f64() }))
            }
            Endpoint::Drip(duration) => Response::new(AnswerBody::drip(duration)),
            Endpoint::Bytes(count) => Response::new(AnswerBody::fill(count)),
            Endpoint::Echo => echo(&parts, body),
            Endpoint::Upload => {
                let cksum = digest(body).await.map_err(NoAnswer::Body)?;
                json(
                    StatusCode::OK,
                    &json!({ "bytes": cksum.bytes(), "cksum": cksum.finish() }),
                )
            }
            Endpoint::Status(code) => json(code, &json!({ "status": code.as_u16() })),
            Endpoint::Info(_) => json(StatusCode::OK, &self.info),
            Endpoint::Version => json(StatusCode::OK, &json!({ "version": self.info.version })),
            Endpoint::Headers => json(StatusCode::OK, &listed(&parts.headers)),
            Endpoint::Env => {
                let env: Vec<_> = std::env::vars_os()
                    .map(|(name, value)| format!("{}={}", name.display(), value.display()))
                    .collect();
                json(StatusCode::OK, &env)
            }
            Endpoint::Invalid(form) => json(
                StatusCode::BAD_REQUEST,
                &json!({ "error": "bad argument", "endpoint": form }),
            ),
            _ => json(StatusCode::NOT_FOUND, &json!({ "error": "not found" })),
        })
    }

    /// Probes and the endpoints that look at the application.
    fn look(&self, endpoint: Endpoint) -> Response<AnswerBody> {
        match endpoint {
            Endpoint::Healthz => json(StatusCode::OK, &json!({ "status": "OK" })),
            Endpoint::Readyz if self.ready_at.is_some_and(|at| Instant::now() >= at) => {
                json(StatusCode::OK, &json!({ "status": "OK" }))
            }
            Endpoint::Readyz => json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "not ready" })),
            Endpoint::Executed => json(StatusCode::OK, &self.executed.counts()),
            Endpoint::Timing => json(StatusCode::OK, &self.timing.report()),
            Endpoint::Metrics => {
                let mut response = Response::new(AnswerBody::whole(self.metrics.text()));
                let text =
                    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, text);
                response
            }
            _ => json(StatusCode::NOT_FOUND, &json!({ "error": "not found" })),
        }
    }
}

/// A probe of a path that is work all the same.
fn is_kubelet(headers: &HeaderMap) -> bool {
    let agent = headers.get(http::header::USER_AGENT);
    agent.is_some_and(|agent| agent.as_bytes().starts_with(b"kube-probe/"))
}

fn take_one(left: &AtomicU64) -> bool {
    left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
        .is_ok()
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<AnswerBody> {
    let (status, text) = match serde_json::to_vec(value) {
        Ok(text) => (status, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into_bytes()),
    };
    let mut response = Response::new(AnswerBody::whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response
}

fn echo(parts: &Parts, body: Incoming) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::echo(body));
    let headers = response.headers_mut();
    if let Some(content_type) = parts.headers.get(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, content_type.clone());
    }
    let line = format!("{} {} {:?}", parts.method, parts.uri, parts.version);
    if let Ok(line) = HeaderValue::from_str(&line) {
        headers.insert("x-echo", line);
    }
    for (name, value) in &parts.headers {
        if let Ok(name) = HeaderName::try_from(format!("x-echo-{name}")) {
            headers.append(name, value.clone());
        }
    }
    response
}

fn listed(headers: &HeaderMap) -> BTreeMap<&str, Vec<String>> {
    let mut listed = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in headers {
        listed
            .entry(name.as_str())
            .or_default()
            .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    listed
}

async fn digest(mut body: Incoming) -> Result<Cksum, hyper::Error> {
    let mut cksum = Cksum::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            cksum.update(data);
        }
    }
    Ok(cksum)
}
