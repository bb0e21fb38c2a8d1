//! The client's socket as hyper reads and writes it.

use std::{
    fmt,
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::{Shutdown, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    thread,
};

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};
use tracing::error;

use super::{ClientConnection, ClientProtocol, Connections, OpenSlot, connection::ConnectionState};

/// What an HTTP/2 client that knows what it speaks to sends first.
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Read at once while looking for the preface: most request heads fit, so that hyper gets the whole from memory and the
/// look costs no extra system call.
const FIRST_READ_BYTES: usize = 2048;
/// Discarded at once while lingering; on the stack.
const DISCARD_BYTES: usize = 8192;

/// A client's socket. Dropping it ends the connection: it leaves its worker's registry and the count of open ones.
///
/// The socket itself is shared with [`ClientConnection`], whose watchers need the descriptor to stay what it is.
pub struct ClientStream {
    connection: Arc<ConnectionState>,
    /// Bytes read to tell the protocol and not yet taken by hyper.
    replay: BytesMut,
    _slot: OpenSlot,
}

impl ClientStream {
    /// Registers a socket with this thread's runtime and with the worker that owns it.
    pub(crate) fn open(
        owner: &Arc<Connections>,
        slot: OpenSlot,
        socket: std::net::TcpStream,
        peer_addr: SocketAddr,
    ) -> io::Result<Self> {
        let stream = TcpStream::from_std(socket)?;
        Ok(Self {
            connection: owner.insert(stream, peer_addr),
            replay: BytesMut::new(),
            _slot: slot,
        })
    }

    /// The connection this is the socket of.
    pub fn connection(&self) -> ClientConnection {
        ClientConnection::new(Arc::clone(&self.connection))
    }

    pub(super) fn state(&self) -> &Arc<ConnectionState> {
        &self.connection
    }

    /// Reads until it is clear which protocol the client speaks; `None` when it closed without a byte. The bytes are
    /// kept and read again by hyper.
    pub(super) fn poll_protocol(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<ClientProtocol>>> {
        loop {
            if let Some(protocol) = recognise(&self.replay) {
                self.connection.set_protocol(protocol);
                return Poll::Ready(Ok(Some(protocol)));
            }
            let mut bytes = [const { MaybeUninit::uninit() }; FIRST_READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut bytes);
            ready!(self.poll_read_socket(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                if self.replay.is_empty() {
                    return Poll::Ready(Ok(None));
                }
                // It began like HTTP/2 and ended: hyper's HTTP/1 side answers that it is neither.
                self.connection.set_protocol(ClientProtocol::Http1);
                return Poll::Ready(Ok(Some(ClientProtocol::Http1)));
            }
            self.replay.extend_from_slice(buffer.filled());
        }
    }

    fn poll_read_socket(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = &self.connection.stream;
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let room = buffer.remaining();
            let read = try_io(stream, Interest::READABLE, room, || stream.try_read_buf(buffer));
            match read {
                Ok(read) => {
                    if read > 0 {
                        self.connection.note_bytes();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_write_socket(
        &self,
        cx: &mut Context<'_>,
        length: usize,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let stream = &self.connection.stream;
        loop {
            ready!(stream.poll_write_ready(cx))?;
            match try_io(stream, Interest::WRITABLE, length, || write(stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Discards what the client still sends until it closes. Closing with unread bytes, or before the client has sent
    /// its whole body, makes the kernel send a RST, which may overtake the response that says why we did not read. The
    /// sweeper ends it after a few seconds.
    fn poll_linger(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut bytes = [const { MaybeUninit::uninit() }; DISCARD_BYTES];
            let mut buffer = ReadBuf::uninit(&mut bytes);
            match ready!(self.poll_read_socket(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}

/// Transfers up to `length` bytes, and when it were fewer forgets that the socket was ready, without a system call to
/// hear that it no longer is.
///
/// A short read has emptied the receive buffer and a short write has filled the send buffer, and the runtime's events are
/// edge-triggered: whatever changes afterwards is a new event. If that event arrives during the transfer, readiness is
/// kept, because `try_io` clears only the readiness that it saw before. A FIN that came with the bytes is kept as well:
/// readiness for a closed side is never cleared. tokio's own `poll_read` does the same, but needs the stream for itself.
fn try_io(
    stream: &TcpStream,
    interest: Interest,
    length: usize,
    mut transfer: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    let mut short = None;
    let result = stream.try_io(interest, || match transfer() {
        Ok(transferred) if 0 < transferred && transferred < length => {
            short = Some(transferred);
            Err(io::ErrorKind::WouldBlock.into())
        }
        result => result,
    });
    short.map_or(result, Ok)
}

/// HTTP/2 once the preface is complete, HTTP/1 as soon as a byte differs from it.
fn recognise(bytes: &[u8]) -> Option<ClientProtocol> {
    let length = bytes.len().min(HTTP2_PREFACE.len());
    if bytes[..length] != HTTP2_PREFACE[..length] {
        Some(ClientProtocol::Http1)
    } else if length == HTTP2_PREFACE.len() {
        Some(ClientProtocol::Http2)
    } else {
        None
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.replay.is_empty() {
            return self.poll_read_socket(cx, buffer);
        }
        let length = self.replay.len().min(buffer.remaining());
        buffer.put_slice(&self.replay[..length]);
        self.replay.advance(length);
        if self.replay.is_empty() {
            self.replay = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_socket(cx, bytes.len(), |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.poll_write_socket(cx, length, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.connection.is_lingering() {
            match SockRef::from(&self.connection.stream).shutdown(Shutdown::Write) {
                Err(error) if error.kind() != io::ErrorKind::NotConnected => return Poll::Ready(Err(error)),
                _ => {}
            }
            if !self.connection.begin_linger() {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_linger(cx).map(Ok)
    }
}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream")
            .field("peer_addr", &self.connection.peer_addr())
            .finish_non_exhaustive()
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        let owner = &self.connection.owner;
        // A request's own panic is counted by its guard, which goes after the socket.
        if thread::panicking() && !self.connection.has_requests() {
            owner.count_panic();
            error!(client.addr = %self.connection.peer_addr(), "a connection panicked");
        }
        owner.remove(self.connection.key);
        self.connection.mark_left();
        // While there is a task, it looks after the rest.
        if !self.connection.has_task() {
            self.connection.cut_if_held();
        }
    }
}

#[cfg(test)]
mod tests;
