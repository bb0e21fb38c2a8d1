//! The socket of a connection to an endpoint, and how it notices that there is nobody at the other end any more.
//!
//! A node that loses power says nothing. What was sent to it is never acknowledged, and the kernel would send it again for a
//! quarter of an hour; keepalive probes are not sent meanwhile. So two bounds are needed, both [`SILENCE`]: keepalive for an
//! exchange that waits for its answer, and `TCP_USER_TIMEOUT` for one whose request has not arrived. Past them the connection
//! breaks off, and what may be repeated goes elsewhere.
//!
//! The second also ends a connection whose peer lives and does not read, which is no fault: an application may take its time
//! with a large upload, or with a tunnel. So while a connection carries one of these it is off.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// How long an endpoint's kernel may be silent while it owes an acknowledgement. An exchange with one that is gone counts as
/// demand until then, and its client waits.
const SILENCE: Duration = Duration::from_secs(20);
/// Two probes unanswered make [`SILENCE`].
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 2;

/// Whether the endpoint may leave unread what a connection carries now. Shared by the socket and whoever sends.
#[derive(Debug, Clone, Default)]
pub(super) struct MayStall(Arc<AtomicBool>);

impl MayStall {
    /// Takes effect with the next write.
    pub(super) fn set(&self, may_stall: bool) {
        self.0.store(may_stall, Ordering::Release);
    }
}

/// A socket to an endpoint.
#[derive(Debug)]
pub(super) struct EndpointStream {
    stream: TcpStream,
    may_stall: MayStall,
    /// What the socket is set to.
    stalls: bool,
}

impl EndpointStream {
    /// Takes over a socket that is connected.
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(KEEPALIVE_IDLE)
                .with_interval(KEEPALIVE_INTERVAL)
                .with_retries(KEEPALIVE_RETRIES),
        )?;
        set_user_timeout(&stream, Some(SILENCE))?;
        Ok(Self {
            stream,
            may_stall: MayStall::default(),
            stalls: false,
        })
    }

    /// For whoever sends on it.
    pub(super) fn may_stall(&self) -> MayStall {
        self.may_stall.clone()
    }

    /// Before each write: what follows may be of another kind than what was.
    fn follow(&mut self) -> io::Result<()> {
        let stalls = self.may_stall.0.load(Ordering::Acquire);
        if stalls != self.stalls {
            set_user_timeout(&self.stream, (!stalls).then_some(SILENCE))?;
            self.stalls = stalls;
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn set_user_timeout(stream: &TcpStream, timeout: Option<Duration>) -> io::Result<()> {
    SockRef::from(stream).set_tcp_user_timeout(timeout)
}

/// Without it the response header timeout is what ends the wait.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "it is as on Linux")]
fn set_user_timeout(_: &TcpStream, _: Option<Duration>) -> io::Result<()> {
    Ok(())
}

impl AsyncRead for EndpointStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for EndpointStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.follow()?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.follow()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    async fn pair() -> (EndpointStream, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let (stream, peer) = tokio::join!(TcpStream::connect(addr), listener.accept());
        let stream = EndpointStream::new(stream.expect("it listens")).expect("options");
        (stream, peer.expect("a connection").0)
    }

    #[tokio::test]
    async fn connections_notice_an_endpoint_that_is_gone_without_a_word() {
        let (stream, _peer) = pair().await;
        let socket = SockRef::from(&stream.stream);
        assert!(socket.keepalive().expect("open"));
        assert_eq!(socket.tcp_keepalive_time().expect("open"), KEEPALIVE_IDLE);
        assert_eq!(socket.tcp_keepalive_retries().expect("open"), KEEPALIVE_RETRIES);
        assert!(stream.stream.nodelay().expect("open"));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_was_sent_is_not_waited_for_longer_than_an_answer_but_an_upload_may_rest() {
        let (mut stream, mut peer) = pair().await;
        let may_stall = stream.may_stall();
        let timeout =
            |stream: &EndpointStream| SockRef::from(&stream.stream).tcp_user_timeout().expect("open");
        assert_eq!(timeout(&stream), Some(SILENCE));
        for (carries_upload, expected) in [(true, None), (true, None), (false, Some(SILENCE))] {
            may_stall.set(carries_upload);
            stream.write_all(b"x").await.expect("open");
            assert_eq!(timeout(&stream), expected, "upload: {carries_upload}");
        }
        let mut read = [0; 3];
        peer.read_exact(&mut read).await.expect("all of it arrives");
    }
}
