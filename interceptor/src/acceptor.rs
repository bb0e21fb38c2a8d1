//! Accepts clients' connections and hands them to the workers.
//!
//! One listener, run on the control runtime. Accepted sockets are never registered with that runtime: the worker that
//! gets one registers it with its own. Bounded by the workers' limit on open connections, at which accepting pauses and
//! clients wait in the kernel's backlog of [`BACKLOG`]. They wait there too, for at most [`MAX_EARLY_WAIT`], until the
//! routes are known: an interceptor that is started again under its old address is sent requests before anybody asks
//! whether it is ready, and would say of every host that it does not know it.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{downstream::readable, worker::Assigner};

/// Connections that the kernel completes before we accept them; the kernel's own limit (`net.core.somaxconn`) may be
/// lower.
const BACKLOG: i32 = 4096;
/// How long connections wait in the backlog for the routes to be known. Much longer than that takes while the API server
/// answers; who waits for longer had better be told to go elsewhere.
const MAX_EARLY_WAIT: Duration = Duration::from_secs(5);
/// Back-off when accepting fails for want of descriptors or memory: long enough for connections to end, short enough for
/// their clients to wait.
const MIN_BACKOFF: Duration = Duration::from_millis(5);
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// Between two warnings about the same.
const WARN_INTERVAL: Duration = Duration::from_secs(10);
/// Notices a client that vanished without a FIN after two minutes, so that its held request does not run.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 4;

/// A bound listener. Connections wait in its backlog until [`Acceptor::run`].
#[derive(Debug)]
pub struct Acceptor {
    listener: AsyncFd<TcpListener>,
    local_addr: SocketAddr,
}

impl Acceptor {
    /// Binds the address; port 0 takes a free port, an unspecified IPv6 address takes IPv4 clients too. Must be called in
    /// the runtime that will run it.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        // Without it a restart has to wait for the old process's connections to leave TIME_WAIT. Never SO_REUSEPORT,
        // with which a second process would take the port unseen.
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // Accepted sockets inherit these, which saves system calls per connection.
        configure_client(&socket)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let local_addr = listener.local_addr()?;
        Ok(Self {
            listener: readable(listener)?,
            local_addr,
        })
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Accepts from when `ready` ends until `stop`, then takes what is left in the backlog, so that a client that is
    /// already connected gets its answer, and closes the listener.
    pub async fn run(self, ready: impl Future<Output = ()>, assigner: Assigner, stop: CancellationToken) {
        tokio::select! {
            // First: who is ready and told to stop at once still answers those who are connected.
            biased;
            () = self.turn_away_until(ready) => {}
            () = stop.cancelled() => return,
        }
        info!(addr = %self.local_addr, "accepting connections");
        stop.run_until_cancelled(self.accept_all(&assigner)).await;
        self.accept_backlog(&assigner).await;
        info!(addr = %self.local_addr, "no longer accepting connections");
    }

    /// Closes what has waited for too long, again and again until `ready` ends.
    async fn turn_away_until(&self, ready: impl Future<Output = ()>) {
        let mut ready = std::pin::pin!(ready);
        while time::timeout(MAX_EARLY_WAIT, &mut ready).await.is_err() {
            let mut closed = 0_u64;
            while let Ok((socket, _)) = accept(self.listener.get_ref()) {
                drop(socket);
                closed += 1;
            }
            if closed > 0 {
                warn!(connections = closed, waited = ?MAX_EARLY_WAIT, "routes are not known, connections closed");
            }
        }
    }

    async fn accept_all(&self, assigner: &Assigner) {
        let mut backoff = Backoff::default();
        let mut warned_at = None::<Instant>;
        loop {
            if assigner.is_full() {
                // At the limit each connection that ends lets one in, and that is not news.
                if warned_at.is_none_or(|at| at.elapsed() > WARN_INTERVAL) {
                    warned_at = Some(Instant::now());
                    warn!("at the limit of open connections, accepting pauses");
                }
                assigner.room().await;
            }
            match self.listener.async_io(Interest::READABLE, accept).await {
                Ok((socket, peer_addr)) => {
                    backoff = Backoff::default();
                    hand_over(assigner, socket, peer_addr).await;
                }
                Err(error) if is_of_the_connection(&error) => {
                    debug!(%error, "a connection ended before it was accepted");
                }
                Err(error) => {
                    let pause = backoff.next();
                    warn!(%error, pause_ms = pause.as_millis(), "cannot accept connections");
                    time::sleep(pause).await;
                }
            }
        }
    }

    async fn accept_backlog(&self, assigner: &Assigner) {
        // The kernel refills the backlog meanwhile, but it held no more than this when we were told to stop.
        for _ in 0..BACKLOG {
            if assigner.is_full() {
                return;
            }
            let Ok((socket, peer_addr)) = accept(self.listener.get_ref()) else {
                return;
            };
            hand_over(assigner, socket, peer_addr).await;
        }
    }
}

async fn hand_over(assigner: &Assigner, socket: TcpStream, peer_addr: SocketAddr) {
    if let Err(error) = assigner.assign(socket, peer_addr).await {
        warn!(client.addr = %peer_addr, %error, "no worker takes the connection");
    }
}

fn configure_client(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_RETRIES),
    )
}

fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (socket, peer_addr) = listener.accept()?;
    socket.set_nonblocking(true)?;
    // Only Linux promises that they are inherited.
    #[cfg(not(target_os = "linux"))]
    configure_client(&socket2::SockRef::from(&socket))?;
    Ok((socket, peer_addr))
}

/// Whether `accept` reported an error of the connection it would have returned (accept(2) lists them), so that the next
/// one may be accepted at once.
fn is_of_the_connection(error: &io::Error) -> bool {
    let Some(errno) = Errno::from_io_error(error) else {
        return false;
    };
    matches!(
        errno,
        Errno::CONNABORTED
            | Errno::INTR
            | Errno::PROTO
            | Errno::PERM
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NOPROTOOPT
            | Errno::OPNOTSUPP
            | Errno::TIMEDOUT
    )
}

/// Doubles from [`MIN_BACKOFF`] to [`MAX_BACKOFF`].
#[derive(Debug)]
struct Backoff {
    pause: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { pause: MIN_BACKOFF }
    }
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(MAX_BACKOFF);
        pause
    }
}

#[cfg(test)]
mod tests;
