//! HTTP/2 connections of one worker to one endpoint: few, each shared by many requests.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hyper::client::conn::http2::SendRequest;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::ConnectError;
use crate::proxy::RequestBody;

/// Connections kept per worker and endpoint. A further request shares the least busy one and waits for a free stream
/// there.
const MAX_CONNECTIONS: usize = 4;
/// Streams given to a connection before another one is opened: what servers commonly allow. Where one allows fewer,
/// requests wait on the connection for a stream.
const STREAMS_BEFORE_ANOTHER: usize = 100;

pub(crate) type H2Sender = SendRequest<RequestBody>;

/// A connection that many exchanges share.
#[derive(Debug, Clone)]
pub(crate) struct H2Connection {
    sender: H2Sender,
    streams: Arc<AtomicUsize>,
}

/// A request's place on a connection; counted until dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    streams: Arc<AtomicUsize>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl H2Connection {
    fn new(sender: H2Sender) -> Self {
        Self {
            sender,
            streams: Arc::new(AtomicUsize::new(0)),
        }
    }

    pub(crate) fn sender(&mut self) -> &mut H2Sender {
        &mut self.sender
    }

    fn lease(&self) -> Lease {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Lease {
            streams: Arc::clone(&self.streams),
        }
    }

    fn has_room(&self) -> bool {
        self.streams.load(Ordering::Relaxed) < STREAMS_BEFORE_ANOTHER
    }
}

#[derive(Debug, Default)]
struct State {
    connections: Vec<H2Connection>,
    /// One request opens a connection, the others wait for its outcome: a burst opens one connection, not hundreds,
    /// and an endpoint that does not answer costs all of them one timeout, not one each.
    connecting: bool,
    waiting: Vec<oneshot::Sender<ConnectError>>,
}

/// The HTTP/2 connections of one worker to one endpoint.
#[derive(Debug, Default)]
pub(crate) struct SharedConnections {
    state: Mutex<State>,
}

enum Next {
    Use(H2Connection, Lease),
    /// The sender says why there is no connection; it goes without a word when there is one, or when the request that
    /// was to open it is gone.
    Wait(oneshot::Receiver<ConnectError>),
    Connect,
}

/// Ends the connecting phase also when the request that connects is dropped.
struct Connecting<'a>(&'a SharedConnections);

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        drop(self.end());
    }
}

impl Connecting<'_> {
    fn end(&self) -> Vec<oneshot::Sender<ConnectError>> {
        let mut state = self.0.state.lock();
        state.connecting = false;
        std::mem::take(&mut state.waiting)
    }

    fn fail(self, error: &ConnectError) {
        for waiter in self.end() {
            // One that has left needs no word.
            let _left = waiter.send(error.clone());
        }
    }
}

/// A connection with a place on it.
#[derive(Debug)]
pub(crate) struct Leased {
    pub(crate) connection: H2Connection,
    pub(crate) lease: Lease,
    /// It was opened before, so that it may have been closed meanwhile.
    pub(crate) reused: bool,
}

impl SharedConnections {
    /// A connection with room for one more stream, opened by `connect` where there is none.
    ///
    /// # Cancel safety
    /// A dropped call leaves the pool as it was; requests that waited for its connection look again.
    pub(crate) async fn get<F>(&self, connect: impl Fn() -> F) -> Result<Leased, ConnectError>
    where
        F: Future<Output = Result<H2Sender, ConnectError>>,
    {
        loop {
            match self.next() {
                Next::Use(connection, lease) => {
                    return Ok(Leased {
                        connection,
                        lease,
                        reused: true,
                    });
                }
                Next::Wait(outcome) => {
                    if let Ok(error) = outcome.await {
                        return Err(error);
                    }
                }
                Next::Connect => {
                    let guard = Connecting(self);
                    let sender = match connect().await {
                        Ok(sender) => sender,
                        Err(error) => {
                            guard.fail(&error);
                            return Err(error);
                        }
                    };
                    let connection = H2Connection::new(sender);
                    let lease = connection.lease();
                    self.state.lock().connections.push(connection.clone());
                    drop(guard);
                    return Ok(Leased {
                        connection,
                        lease,
                        reused: false,
                    });
                }
            }
        }
    }

    /// Keeps a connection that was opened ahead of a request, where there is room for it.
    pub(crate) fn put(&self, sender: H2Sender) {
        let mut state = self.state.lock();
        state
            .connections
            .retain(|connection| !connection.sender.is_closed());
        if state.connections.len() < MAX_CONNECTIONS {
            state.connections.push(H2Connection::new(sender));
        }
    }

    fn next(&self) -> Next {
        let mut state = self.state.lock();
        state
            .connections
            .retain(|connection| !connection.sender.is_closed());
        let least_busy = state
            .connections
            .iter()
            .min_by_key(|connection| connection.streams.load(Ordering::Relaxed))
            .cloned();
        match least_busy {
            Some(connection) if connection.has_room() || state.connections.len() >= MAX_CONNECTIONS => {
                let lease = connection.lease();
                Next::Use(connection, lease)
            }
            _ if state.connecting => {
                let (tx, rx) = oneshot::channel();
                state.waiting.push(tx);
                Next::Wait(rx)
            }
            _ => {
                state.connecting = true;
                Next::Connect
            }
        }
    }

    pub(super) fn clear(&self) {
        let connections = std::mem::take(&mut self.state.lock().connections);
        drop(connections);
    }
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::http2;
    use hyper_util::rt::{TokioExecutor, TokioIo};

    use super::*;

    #[tokio::test]
    async fn connections_that_are_opened_ahead_are_bounded() {
        let pool = SharedConnections::default();
        let mut open = Vec::new();
        for _ in 0..2 * MAX_CONNECTIONS {
            let (io, peer) = tokio::io::duplex(1024);
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io))
                .await
                .expect("room for the preface");
            pool.put(sender);
            open.push((connection, peer));
        }
        assert_eq!(pool.state.lock().connections.len(), MAX_CONNECTIONS);

        drop(open);
        assert!(matches!(pool.next(), Next::Connect), "those that end make room");
    }
}
