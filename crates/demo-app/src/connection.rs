//! An accepted connection that remembers when the first byte of its current request was read.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::timing::monotonic_ns;

/// When the oldest byte was read that no request has claimed yet. One per connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct FirstByte(Arc<AtomicU64>);

impl FirstByte {
    /// The moment, for the request that begins with that byte; later bytes count for the next request.
    ///
    /// On a connection with bodies or several streams the next request may be given an earlier moment than its own; the
    /// first request of a connection, which is the one that matters, is always exact.
    pub(crate) fn claim(&self) -> Option<u64> {
        Some(self.0.swap(0, Ordering::Relaxed)).filter(|ns| *ns != 0)
    }
}

/// A [`TcpStream`] that notes the moments in a [`FirstByte`].
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    first_byte: FirstByte,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> (Self, FirstByte) {
        let first_byte = FirstByte::default();
        (
            Self {
                stream,
                first_byte: first_byte.clone(),
            },
            first_byte,
        )
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before && self.first_byte.0.load(Ordering::Relaxed) == 0 {
            self.first_byte.0.store(monotonic_ns(), Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
