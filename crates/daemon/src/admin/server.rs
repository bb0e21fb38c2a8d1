//! The listener and the life of its connections.

use std::{io, net::SocketAddr, time::Duration};

use axum::Router;
use tokio::{
    net::TcpListener,
    task::{JoinError, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    accept::Acceptor,
    connection::{self, Settings},
};

/// Connections at once.
const MAX_CONNECTIONS: usize = 256;

/// Longer than a minute, so that a scraper with the common intervals keeps its connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(65);

/// KEDA opens one stream per trigger, all on one connection: 20,000 triggers are 20,000 streams. A stream beyond the limit
/// would wait, unseen, for one of the others to end, which they never do; so the limit is well above.
const MAX_CONCURRENT_STREAMS: u32 = 32_768;

/// How long connections have to finish after the shutdown began.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The port is taken, or not ours to take.
#[derive(Debug, thiserror::Error)]
#[error("listen on {addr}")]
pub struct BindError {
    /// The address asked for.
    pub addr: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// A bound admin port. Nothing is accepted before [`serve`](Self::serve); clients wait in the backlog until then.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    local_addr: SocketAddr,
    max_connections: usize,
    shutdown_timeout: Duration,
    settings: Settings,
}

impl AdminServer {
    /// Binds the port, on the runtime that is to serve it.
    pub async fn bind(addr: SocketAddr) -> Result<Self, BindError> {
        let error = |source| BindError { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(error)?;
        let local_addr = listener.local_addr().map_err(error)?;
        Ok(Self {
            listener,
            local_addr,
            max_connections: MAX_CONNECTIONS,
            shutdown_timeout: SHUTDOWN_TIMEOUT,
            settings: Settings {
                header_timeout: HEADER_TIMEOUT,
                max_concurrent_streams: MAX_CONCURRENT_STREAMS,
            },
        })
    }

    /// The bound address, with the port that the system chose where port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Connections at once, 256 by default. While all are taken, further clients wait in the kernel's backlog.
    #[must_use]
    pub fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = max;
        self
    }

    /// How long a client has to send a request's head, from the connection's start or the last answer; 65 s by default.
    /// On HTTP/1.1 this is also how long an idle connection is kept; HTTP/2 connections are kept while they answer pings.
    #[must_use]
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.settings.header_timeout = timeout;
        self
    }

    /// Streams at once on one HTTP/2 connection, 32,768 by default. The connection's window follows: 512 bytes for each, and
    /// at least 1 MiB.
    #[must_use]
    pub fn max_concurrent_streams(mut self, max: u32) -> Self {
        self.settings.max_concurrent_streams = max;
        self
    }

    /// How long connections have to finish once the shutdown began, 5 s by default; then they are cut.
    #[must_use]
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Serves until `shutdown`, then finishes what was begun, within the shutdown timeout. The port is free once the
    /// shutdown has begun. Streaming responses do not end by themselves: whoever streams ends them at the shutdown.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the port and cuts every connection.
    pub async fn serve(self, router: Router, shutdown: CancellationToken) {
        // Resolves the router's layers once, not per connection.
        let router = router.with_state::<()>(());
        let mut acceptor = Acceptor::new(self.listener, self.max_connections);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = connections.join_next() => report(ended),
                (stream, permit) = acceptor.accept() => {
                    let (router, settings) = (router.clone(), self.settings.clone());
                    let shutdown = shutdown.clone();
                    connections.spawn(async move {
                        connection::serve(stream, router, settings, shutdown).await;
                        drop(permit);
                    });
                }
            }
        }
        drop(acceptor);
        let finish = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if timeout(self.shutdown_timeout, finish).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "admin connections cut at shutdown"
            );
            connections.shutdown().await;
        }
    }
}

/// A handler that panics takes its connection with it; the panic itself has been logged by the hook.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "admin connection failed");
    }
}
