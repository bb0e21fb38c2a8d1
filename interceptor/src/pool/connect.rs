//! Opening a connection to an endpoint: TCP, then the HTTP handshake, its I/O driven by a task on the calling worker.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::Instant};

use super::{H1Connection, h2::H2Sender, stream::EndpointStream};
use crate::{
    metrics::{ConnectOutcome, Metrics},
    proxy::RequestBody,
};

/// HTTP/2 windows towards an endpoint: a stream's, and a connection's that one slow stream cannot use up.
const H2_STREAM_WINDOW: u32 = 256 * 1024;
const H2_CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// Why there is no connection. Nothing of a request has been sent. Cloned for those who waited for the same attempt.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("connect to {addr}")]
    Connect {
        addr: SocketAddr,
        #[source]
        source: Arc<io::Error>,
    },
    #[error("connect to {addr}: no answer within {timeout:?}")]
    Timeout { addr: SocketAddr, timeout: Duration },
    #[error("HTTP handshake with {addr}")]
    Handshake {
        addr: SocketAddr,
        #[source]
        source: Arc<hyper::Error>,
    },
}

/// Opens connections, with one deadline and one count for all.
#[derive(Debug)]
pub(crate) struct Dialer {
    timeout: Duration,
    metrics: Metrics,
}

impl Dialer {
    /// Attempts may take `timeout` each.
    pub(crate) fn new(timeout: Duration, metrics: Metrics) -> Self {
        Self { timeout, metrics }
    }

    /// Opens an HTTP/1.1 connection to `addr`. Must run on a worker; cancelling it closes the socket.
    pub(crate) async fn h1(&self, addr: SocketAddr) -> Result<H1Connection, ConnectError> {
        let stream = self.connect(addr).await?;
        let may_stall = stream.may_stall();
        let (sender, connection) = http1::Builder::new()
            .handshake::<_, RequestBody>(TokioIo::new(stream))
            .await
            .map_err(|source| no_handshake(addr, source))?;
        drive(addr, connection.with_upgrades());
        Ok(H1Connection::new(sender, may_stall))
    }

    /// Opens an HTTP/2 connection with prior knowledge to `addr`. Must run on a worker.
    ///
    /// It never stalls as a whole: streams have windows of their own, and who speaks HTTP/2 reads its connection.
    pub(crate) async fn h2(&self, addr: SocketAddr) -> Result<H2Sender, ConnectError> {
        let stream = self.connect(addr).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .handshake::<_, RequestBody>(TokioIo::new(stream))
            .await
            .map_err(|source| no_handshake(addr, source))?;
        drive(addr, connection);
        Ok(sender)
    }

    async fn connect(&self, addr: SocketAddr) -> Result<EndpointStream, ConnectError> {
        let started = Instant::now();
        let timeout = self.timeout;
        let connected = match tokio::time::timeout(timeout, TcpStream::connect(addr)).await {
            Ok(connected) => connected
                .and_then(EndpointStream::new)
                .map_err(|source| refused(addr, source)),
            Err(_) => Err(ConnectError::Timeout { addr, timeout }),
        };
        let outcome = match &connected {
            Ok(_) => ConnectOutcome::Connected,
            Err(ConnectError::Timeout { .. }) => ConnectOutcome::Timeout,
            Err(ConnectError::Connect { source, .. })
                if source.kind() == io::ErrorKind::ConnectionRefused =>
            {
                ConnectOutcome::Refused
            }
            Err(_) => ConnectOutcome::Failed,
        };
        self.metrics.connect_ended(started.elapsed(), outcome);
        connected
    }
}

fn refused(addr: SocketAddr, source: io::Error) -> ConnectError {
    let source = Arc::new(source);
    ConnectError::Connect { addr, source }
}

fn no_handshake(addr: SocketAddr, source: hyper::Error) -> ConnectError {
    let source = Arc::new(source);
    ConnectError::Handshake { addr, source }
}

/// Runs a connection's I/O on the calling worker until it ends; it ends with its last sender.
fn drive(addr: SocketAddr, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    drop(tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(endpoint = %addr, error = %rouse_daemon::chain::chain(&error), "upstream connection ended");
        }
    }));
}
