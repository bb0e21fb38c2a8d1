//! The bodies of answers.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::executed::ExecutionGuard;

/// Bytes per frame of `/bytes`.
const CHUNK: u64 = 16 * 1024;
/// What `/bytes` consists of.
static FILL: [u8; CHUNK as usize] = [b'.'; CHUNK as usize];
/// Bytes of a `/drip`.
const DROPS: u32 = 10;

/// An answer's body. It holds the execution's guard, so that a request is in flight until its last byte is given away.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    content: Content,
    guard: Option<ExecutionGuard>,
}

#[derive(Debug)]
enum Content {
    Whole(Option<Bytes>),
    Echo(Incoming),
    Fill(u64),
    Drip {
        timer: Pin<Box<Sleep>>,
        pause: Duration,
        left: u32,
    },
}

impl AnswerBody {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::new(Content::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    pub(crate) fn echo(request: Incoming) -> Self {
        Self::new(Content::Echo(request))
    }

    pub(crate) fn fill(count: u64) -> Self {
        Self::new(Content::Fill(count))
    }

    /// A body that takes `duration` from now, sent in equal parts.
    pub(crate) fn drip(duration: Duration) -> Self {
        let pause = duration / DROPS;
        let timer = Box::pin(sleep_until(Instant::now() + pause));
        Self::new(Content::Drip {
            timer,
            pause,
            left: DROPS,
        })
    }

    fn new(content: Content) -> Self {
        Self { content, guard: None }
    }

    pub(crate) fn guarded_by(mut self, guard: Option<ExecutionGuard>) -> Self {
        self.guard = guard;
        self
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let bytes = match &mut self.content {
            Content::Whole(bytes) => bytes.take(),
            Content::Echo(incoming) => return Pin::new(incoming).poll_frame(cx),
            Content::Fill(0) | Content::Drip { left: 0, .. } => None,
            Content::Fill(left) => {
                let count = CHUNK.min(*left);
                *left -= count;
                Some(Bytes::from_static(FILL.get(..count as usize).unwrap_or_default()))
            }
            Content::Drip { timer, pause, left } => {
                ready!(timer.as_mut().poll(cx));
                *left -= 1;
                let next = timer.deadline() + *pause;
                timer.as_mut().reset(next);
                Some(Bytes::from_static(b"."))
            }
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(self.poll_content(cx));
        if frame.is_none() || self.is_end_stream() {
            self.guard = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_none(),
            Content::Echo(incoming) => incoming.is_end_stream(),
            Content::Fill(left) => *left == 0,
            Content::Drip { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Content::Echo(incoming) => incoming.size_hint(),
            Content::Fill(left) => SizeHint::with_exact(*left),
            // Unknown, so that HTTP/1.1 sends chunks.
            Content::Drip { .. } => SizeHint::default(),
        }
    }
}
