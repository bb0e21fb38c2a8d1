//! The bodies that pass through: a request's on its way up, a response's on its way down with what must be undone when
//! its last byte is gone.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::exchange::{Exchange, InFlight};

/// How far a request's body has come.
#[derive(Debug)]
pub(crate) struct Upload {
    is_over: AtomicBool,
    epoch: Instant,
    /// When bytes were last read from the client, in milliseconds after `epoch`.
    moved_ms: AtomicU64,
}

impl Upload {
    fn new() -> Self {
        Self {
            is_over: AtomicBool::new(false),
            epoch: Instant::now(),
            moved_ms: AtomicU64::new(0),
        }
    }

    /// Whether the last byte has been read from the client.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// When bytes were last read from the client.
    pub(crate) fn moved(&self) -> Instant {
        self.epoch + Duration::from_millis(self.moved_ms.load(Ordering::Relaxed))
    }

    fn note(&self, is_over: bool) {
        self.moved_ms
            .store(self.epoch.elapsed().as_millis() as u64, Ordering::Relaxed);
        if is_over {
            self.is_over.store(true, Ordering::Release);
        }
    }
}

/// A request's body towards the endpoint: streamed, never gathered.
#[derive(Debug)]
pub(crate) struct RequestBody {
    incoming: Option<Incoming>,
    upload: Option<Arc<Upload>>,
}

impl RequestBody {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self {
            incoming: None,
            upload: None,
        }
    }

    /// The client's body, and how far it has come; a request without a body has no such thing.
    pub(crate) fn new(incoming: Incoming) -> (Self, Option<Arc<Upload>>) {
        if incoming.is_end_stream() {
            return (Self::empty(), None);
        }
        let upload = Arc::new(Upload::new());
        (
            Self {
                incoming: Some(incoming),
                upload: Some(Arc::clone(&upload)),
            },
            Some(upload),
        )
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(incoming).poll_frame(cx);
        if let Some(upload) = &self.upload {
            match &polled {
                Poll::Ready(None) => upload.note(true),
                Poll::Ready(Some(Ok(_))) => upload.note(self.is_end_stream()),
                _ => {}
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// A response's body towards the client.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Upstream {
        incoming: Incoming,
        /// What ends with the last byte, or with the body when it is dropped before.
        exchange: Exchange,
        /// The end of the route's request timeout.
        deadline: Option<Pin<Box<Sleep>>>,
    },
    /// Made by Rouse itself.
    Own {
        text: Option<Bytes>,
        /// Held for its drop, which lowers the route's concurrency.
        in_flight: Option<InFlight>,
    },
}

/// Why a response breaks off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the endpoint's answer broke off")]
    Upstream(#[source] hyper::Error),
    #[error("the answer was not complete when the request's time was over")]
    RequestTimeout,
}

impl ResponseBody {
    pub(super) fn upstream(incoming: Incoming, exchange: Exchange, deadline: Option<Instant>) -> Self {
        let deadline = deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline)));
        Self {
            kind: Kind::Upstream {
                incoming,
                exchange,
                deadline,
            },
        }
    }

    /// A short text of our own; none where `text` is empty.
    pub(super) fn own(text: &'static str) -> Self {
        let text = (!text.is_empty()).then(|| Bytes::from_static(text.as_bytes()));
        Self {
            kind: Kind::Own {
                text,
                in_flight: None,
            },
        }
    }

    /// Ties the end of the request's count to the end of an answer of our own.
    pub(super) fn counted(mut self, request: InFlight) -> Self {
        if let Kind::Own { in_flight, .. } = &mut self.kind {
            *in_flight = Some(request);
        }
        self
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut self.kind {
            Kind::Upstream {
                incoming,
                exchange,
                deadline,
            } => {
                // First, or an answer that never pauses would never be over.
                let is_over = deadline
                    .as_mut()
                    .is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
                if is_over {
                    return Poll::Ready(Some(Err(BodyError::RequestTimeout)));
                }
                let polled = Pin::new(incoming).poll_frame(cx);
                if let Poll::Ready(None) = polled {
                    exchange.complete();
                }
                polled.map(|frame| frame.map(|frame| frame.map_err(BodyError::Upstream)))
            }
            Kind::Own { text, .. } => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Upstream { incoming, .. } => incoming.is_end_stream(),
            Kind::Own { text, .. } => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Upstream { incoming, .. } => incoming.size_hint(),
            Kind::Own { text, .. } => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // The server does not poll a body of known length beyond its last byte.
        if let Kind::Upstream {
            incoming, exchange, ..
        } = &mut self.kind
            && incoming.is_end_stream()
        {
            exchange.complete();
        }
    }
}
