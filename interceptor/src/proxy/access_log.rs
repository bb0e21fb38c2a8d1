//! The access log: one line per request, when the head of its answer is known. Off unless asked for
//! (`KEDA_HTTP_LOG_REQUESTS`), as a layer around the proxy, so that a request pays nothing for it otherwise.
//!
//! The lines have a target of their own, `rouse_interceptor::access`, so that a filter can send them elsewhere.

use std::task::{Context, Poll};

use http::{Request, Response, header};
use hyper::body::Incoming;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::headers::COLD_START;
use crate::downstream::ClientConnection;

/// The target of the access log's lines.
pub(crate) const TARGET: &str = "rouse_interceptor::access";

/// Puts the access log around a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AccessLogLayer;

/// A service whose answers are logged.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog<S>(S);

impl<S> Layer<S> for AccessLogLayer {
    type Service = AccessLog<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AccessLog(inner)
    }
}

impl<S, B> Service<Request<Incoming>> for AccessLog<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let started = Instant::now();
        let client = request
            .extensions()
            .get::<ClientConnection>()
            .map(|client| tracing::field::display(client.peer_addr()));
        let (method, uri, version) = (request.method().clone(), request.uri().clone(), request.version());
        let host = request.headers().get(header::HOST).cloned();
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let duration_ms = started.elapsed().as_secs_f64() * 1e3;
            let host = host.as_ref().map_or_else(
                || uri.authority().map(|it| it.as_str().as_bytes()),
                |it| Some(it.as_bytes()),
            );
            let host = String::from_utf8_lossy(host.unwrap_or_default());
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            if let Ok(answer) = &answer {
                let cold_start = answer
                    .headers()
                    .get(COLD_START)
                    .is_some_and(|value| value == "true");
                let error = answer
                    .headers()
                    .get(super::respond::ROUSE_ERROR)
                    .and_then(|value| value.to_str().ok());
                tracing::info!(
                    target: TARGET, client, %method, %host, path, ?version,
                    status = answer.status().as_u16(), duration_ms, cold_start, error, "request"
                );
            } else {
                tracing::info!(
                    target: TARGET, client, %method, %host, path, ?version,
                    duration_ms, "client left"
                );
            }
            answer
        })
    }
}
