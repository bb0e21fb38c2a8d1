//! The thin layer between hyper and the proxy's service: gives each request its connection and keeps count of the
//! requests in progress, to the last byte of their response.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONNECTION};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use pin_project_lite::pin_project;

use super::{ClientConnection, connection::RequestGuard};

/// The service of one connection.
pub(crate) struct ObservedService<S> {
    inner: TowerToHyperService<S>,
    connection: ClientConnection,
}

impl<S> ObservedService<S> {
    pub(crate) fn new(inner: S, connection: ClientConnection) -> Self {
        Self {
            inner: TowerToHyperService::new(inner),
            connection,
        }
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for ObservedService<S>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>> + Clone,
{
    type Response = Response<ObservedBody<B>>;
    type Error = S::Error;
    type Future =
        ObservedFuture<<TowerToHyperService<S> as hyper::service::Service<Request<Incoming>>>::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let guard = self.connection.begin_request(!request.body().is_end_stream());
        request.extensions_mut().insert(self.connection.clone());
        let is_connect = request.method() == Method::CONNECT;
        ObservedFuture {
            inner: self.inner.call(request),
            guard: Some(guard),
            is_connect,
        }
    }
}

impl<S> fmt::Debug for ObservedService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedService")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// A request until its response's head.
    pub(crate) struct ObservedFuture<F> {
        // Before the guard, so that it goes first: the guard counts its panic.
        #[pin]
        inner: F,
        guard: Option<RequestGuard>,
        is_connect: bool,
    }
}

impl<F, B, E> Future for ObservedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ObservedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some(guard) = this.guard.as_ref() {
            let connection = guard.connection();
            let is_tunnel = response.status() == StatusCode::SWITCHING_PROTOCOLS
                || (*this.is_connect && response.status().is_success());
            if is_tunnel {
                connection.mark_tunnel();
            } else if connection.should_close() {
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        let guard = this.guard.take();
        Poll::Ready(Ok(response.map(|inner| ObservedBody { inner, guard })))
    }
}

impl<F> fmt::Debug for ObservedFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedFuture").finish_non_exhaustive()
    }
}

pin_project! {
    /// A response body whose end is the end of its request.
    pub struct ObservedBody<B> {
        #[pin]
        inner: B,
        guard: Option<RequestGuard>,
    }
}

impl<B: Body> Body for ObservedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            this.guard.take();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> fmt::Debug for ObservedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedBody").finish_non_exhaustive()
    }
}
