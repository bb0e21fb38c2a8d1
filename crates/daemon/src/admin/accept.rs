//! Accepting, within bounds.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

/// The pause after a first error, doubled at each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A listener that hands out no more connections than it may.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: TcpListener,
    /// One permit per connection. While all are taken new clients wait in the kernel's backlog, which is bounded too.
    permits: Arc<Semaphore>,
    pause: Duration,
}

impl Acceptor {
    pub(super) fn new(listener: TcpListener, max_connections: usize) -> Self {
        Self {
            listener,
            permits: Arc::new(Semaphore::new(max_connections)),
            pause: FIRST_PAUSE,
        }
    }

    /// The next connection and its place among those allowed.
    ///
    /// An error of the client's is skipped. Any other (no file descriptors, no memory) lasts, and accepting in a loop
    /// would burn a core while it does: so each is followed by a pause.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost when the future is dropped; a pause may be cut short.
    pub(super) async fn accept(&mut self) -> (TcpStream, OwnedSemaphorePermit) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                // Never closed; should it ever be, nothing more is accepted.
                return std::future::pending().await;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    self.pause = FIRST_PAUSE;
                    prepare(&stream);
                    return (stream, permit);
                }
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, pause = ?self.pause, "cannot accept on the admin port");
                    let pause = self.pause;
                    self.pause = (pause * 2).min(LONGEST_PAUSE);
                    sleep(pause).await;
                }
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// Sets what a socket needs. A failure only means that the client has gone, which the first read will tell.
fn prepare(stream: &TcpStream) {
    // A pushed activation is one small segment and must not wait for the acknowledgement of the last.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "set TCP_NODELAY");
    }
    // A peer that vanished, or that reads nothing, is given up after this long.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, 30_000) {
        tracing::debug!(%error, "set TCP_USER_TIMEOUT");
    }
}
