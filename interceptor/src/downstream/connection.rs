//! One client's connection as the rest of the process sees it: who it is, what it is doing, whether it is still there.
//!
//! Its counters are written on the connection's worker and read by that worker's sweeper, all `Relaxed`: they only time
//! things out, a sweep late. The one exception is the command, which other threads store before they wake the task.

use std::{
    fmt, io,
    net::{Shutdown, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
    task::Waker,
    thread,
};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::TcpStream;
use tracing::error;

use super::{
    Command, Connections,
    hangup::{Hangup, Waiters},
};
use crate::worker::WorkerId;

/// The protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientProtocol {
    /// HTTP/1.0 or HTTP/1.1
    Http1,
    /// HTTP/2 with prior knowledge
    Http2,
}

const PROTOCOL_UNKNOWN: u8 = 0;
const PROTOCOL_HTTP1: u8 = 1;
const PROTOCOL_HTTP2: u8 = 2;

/// The connection that a request came on; every request carries it as an extension. Cheap to clone. A clone keeps the
/// socket's descriptor from being reused, not the connection open.
#[derive(Clone)]
pub struct ClientConnection {
    pub(super) state: Arc<ConnectionState>,
}

impl ClientConnection {
    pub(crate) fn new(state: Arc<ConnectionState>) -> Self {
        Self { state }
    }

    /// The client's address. An IPv4 client of a dual-stack listener has an IPv4 address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.state.peer_addr
    }

    /// The address the client connected to. Asks the kernel.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let addr = self.state.stream.local_addr()?;
        Ok(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
    }

    /// The worker that owns the connection.
    pub fn worker_id(&self) -> WorkerId {
        self.state.owner.worker_id()
    }

    /// The protocol of the connection.
    pub fn protocol(&self) -> ClientProtocol {
        if self.state.is_http2() {
            ClientProtocol::Http2
        } else {
            ClientProtocol::Http1
        }
    }

    /// Whether the client is known to have left: a [`Hangup`] has seen it, or the connection has ended.
    pub fn has_left(&self) -> bool {
        self.state.has_left()
    }

    /// Resolves when the client has left, even when bytes that nobody reads are waiting before its FIN. For HTTP/1 while
    /// a request is held; an HTTP/2 request that its client gave up is dropped by hyper, so there it never resolves.
    ///
    /// Costs two system calls when polled, nothing until then. Any number may be polled at a time.
    pub fn hangup(&self) -> Hangup {
        Hangup::new(Arc::clone(&self.state))
    }

    /// Counts a request as in progress until the guard goes.
    pub(crate) fn begin_request(&self, has_body: bool) -> RequestGuard {
        self.state.may_send.store(has_body, Ordering::Relaxed);
        // The head is complete, whatever bytes started it.
        self.state.head_since.store(0, Ordering::Relaxed);
        self.state.in_progress.fetch_add(1, Ordering::Relaxed);
        RequestGuard {
            connection: self.clone(),
        }
    }

    pub(crate) fn mark_tunnel(&self) {
        self.state.is_tunnel.store(true, Ordering::Relaxed);
    }

    /// Whether HTTP/1 responses should tell the client not to come back on this connection.
    pub(crate) fn should_close(&self) -> bool {
        !self.state.is_http2() && (self.state.owner.is_closing() || self.state.command() != Command::Run)
    }
}

impl fmt::Debug for ClientConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConnection")
            .field("peer_addr", &self.peer_addr())
            .field("worker_id", &self.worker_id())
            .field("protocol", &self.protocol())
            .finish_non_exhaustive()
    }
}

/// A request in progress: from its head to the last byte of its response.
pub(crate) struct RequestGuard {
    connection: ClientConnection,
}

impl RequestGuard {
    pub(crate) fn connection(&self) -> &ClientConnection {
        &self.connection
    }
}

impl fmt::Debug for RequestGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestGuard").finish_non_exhaustive()
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let state = &self.connection.state;
        if state.in_progress.fetch_sub(1, Ordering::Relaxed) == 1 {
            state.idle_since.store(state.owner.now_ms(), Ordering::Relaxed);
        }
        if thread::panicking() {
            state.owner.count_panic();
            error!(client.addr = %state.peer_addr, "a request panicked");
        }
    }
}

/// The state behind [`ClientConnection`], shared by the socket wrapper, the requests and the registry.
pub(crate) struct ConnectionState {
    pub(super) stream: TcpStream,
    peer_addr: SocketAddr,
    /// The worker's side of it.
    pub(super) owner: Arc<Connections>,
    /// Its place in the registry, never used twice within 2³² connections of the worker.
    pub(super) key: u64,
    protocol: AtomicU8,
    command: AtomicU8,
    /// Handed over to a tunnel: no HTTP timer applies.
    is_tunnel: AtomicBool,
    has_left: AtomicBool,
    /// The last request has a body, which may not have been read to its end.
    may_send: AtomicBool,
    /// The response is out and the rest of the request is being discarded.
    is_lingering: AtomicBool,
    /// Requests whose response has not ended.
    in_progress: AtomicU32,
    /// When the last request ended, or the connection began, on the worker's clock.
    idle_since: AtomicU32,
    /// When the first byte of an incomplete head came; 0 when there is none.
    head_since: AtomicU32,
    /// The connection task, for commands. The task clears it when it ends: a waker keeps a task's memory.
    task: Mutex<Option<Waker>>,
    pub(super) waiters: Mutex<Waiters>,
}

/// What the sweeper finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// Requests in progress, or a tunnel: no timer runs.
    Busy,
    /// Not a byte yet, for this long.
    Silent(u32),
    /// A head that has been incomplete for this long.
    Head(u32),
    /// No request for this long.
    Idle(u32),
    /// Discarding the rest of a request for this long.
    Lingering(u32),
}

impl ConnectionState {
    pub(super) fn new(
        stream: TcpStream,
        peer_addr: SocketAddr,
        owner: Arc<Connections>,
        key: u64,
        command: Command,
    ) -> Self {
        Self {
            stream,
            peer_addr: SocketAddr::new(peer_addr.ip().to_canonical(), peer_addr.port()),
            key,
            protocol: AtomicU8::new(PROTOCOL_UNKNOWN),
            command: AtomicU8::new(command as u8),
            is_tunnel: AtomicBool::new(false),
            has_left: AtomicBool::new(false),
            may_send: AtomicBool::new(false),
            is_lingering: AtomicBool::new(false),
            in_progress: AtomicU32::new(0),
            idle_since: AtomicU32::new(owner.now_ms()),
            head_since: AtomicU32::new(0),
            task: Mutex::new(None),
            waiters: Mutex::new(Waiters::default()),
            owner,
        }
    }

    pub(super) fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    pub(super) fn is_http2(&self) -> bool {
        self.protocol.load(Ordering::Relaxed) == PROTOCOL_HTTP2
    }

    pub(super) fn set_protocol(&self, protocol: ClientProtocol) {
        let value = match protocol {
            ClientProtocol::Http1 => PROTOCOL_HTTP1,
            ClientProtocol::Http2 => {
                // The preface is complete; what follows is frames, not a head.
                self.head_since.store(0, Ordering::Relaxed);
                PROTOCOL_HTTP2
            }
        };
        self.protocol.store(value, Ordering::Relaxed);
    }

    /// Notes that bytes came. Between requests they start a head.
    pub(super) fn note_bytes(&self) {
        if self.in_progress.load(Ordering::Relaxed) == 0
            && self.head_since.load(Ordering::Relaxed) == 0
            && !self.is_http2()
        {
            self.head_since.store(self.owner.now_ms(), Ordering::Relaxed);
        }
    }

    pub(super) fn has_requests(&self) -> bool {
        self.in_progress.load(Ordering::Relaxed) != 0
    }

    pub(super) fn activity(&self, now_ms: u32) -> Activity {
        if self.has_requests() || self.is_tunnel.load(Ordering::Relaxed) {
            return Activity::Busy;
        }
        let idle = now_ms.wrapping_sub(self.idle_since.load(Ordering::Relaxed));
        if self.is_lingering() {
            return Activity::Lingering(idle);
        }
        let head_since = self.head_since.load(Ordering::Relaxed);
        if head_since != 0 {
            return Activity::Head(now_ms.wrapping_sub(head_since));
        }
        if self.protocol.load(Ordering::Relaxed) == PROTOCOL_UNKNOWN {
            Activity::Silent(idle)
        } else {
            Activity::Idle(idle)
        }
    }

    /// Whether a request seems to be on its way: part of its head was read, or bytes wait in the kernel. A connection
    /// that drains then waits for it (the header timer bounds that), because closing would lose the request.
    pub(super) fn expects_request(&self) -> bool {
        if self.has_requests() {
            return false;
        }
        self.head_since.load(Ordering::Relaxed) != 0
            || SockRef::from(&self.stream)
                .peek(&mut [std::mem::MaybeUninit::uninit()])
                .is_ok_and(|bytes| bytes > 0)
    }

    pub(super) fn command(&self) -> Command {
        Command::from_u8(self.command.load(Ordering::Acquire))
    }

    /// Tells the connection's task to drain or abort. Commands only escalate: says whether this one did.
    pub(super) fn order(&self, command: Command) -> bool {
        let is_news = self.command.fetch_max(command as u8, Ordering::AcqRel) < command as u8;
        if is_news {
            // Stored before the task is looked up, and the task leaves its waker before it reads the command: one of
            // the two sees the other.
            let task = self.task.lock().clone();
            match task {
                Some(task) => task.wake(),
                // Not polled yet, and then it will read the command; or ended, and only a tunnel is left of it.
                None if command == Command::Abort => self.cut(),
                None => {}
            }
        }
        is_news
    }

    /// Ends the connection whoever holds it.
    pub(super) fn cut(&self) {
        // It fails on a socket that is closed already, which is what is wanted.
        drop(SockRef::from(&self.stream).shutdown(Shutdown::Both));
    }

    pub(super) fn is_lingering(&self) -> bool {
        self.is_lingering.load(Ordering::Relaxed)
    }

    /// Says whether the client may still be sending, so that closing has to wait. From here on only the sweeper's short
    /// linger timer runs.
    pub(super) fn begin_linger(&self) -> bool {
        let lingers = self.may_send.load(Ordering::Relaxed) && !self.is_http2() && !self.has_left();
        if lingers {
            self.idle_since.store(self.owner.now_ms(), Ordering::Relaxed);
            self.is_lingering.store(true, Ordering::Relaxed);
        }
        lingers
    }

    /// Ends the connection if somebody other than the caller still holds it, if only to log its address: the descriptor
    /// closes with the last holder, and the client must not wait for them.
    pub(super) fn cut_if_held(self: &Arc<Self>) {
        if Arc::strong_count(self) > 1 {
            self.cut();
        }
    }

    pub(super) fn has_task(&self) -> bool {
        self.task.lock().is_some()
    }

    pub(super) fn set_task(&self, task: Option<Waker>) {
        // The old waker must not go while the lock is held: the last one frees the task.
        let old = std::mem::replace(&mut *self.task.lock(), task);
        drop(old);
    }

    pub(super) fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Acquire)
    }

    /// Resolves every [`Hangup`] of the connection, now and later.
    pub(super) fn mark_left(&self) {
        self.has_left.store(true, Ordering::Release);
        let wakers = self.waiters.lock().take_wakers();
        for waker in wakers {
            waker.wake();
        }
    }
}

impl fmt::Debug for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionState")
            .field("peer_addr", &self.peer_addr)
            .finish_non_exhaustive()
    }
}
