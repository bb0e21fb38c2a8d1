//! A client that keeps its connection from one request to the next, as applications' clients and gateways do.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{Answer, read};

/// One connection at a time to one address. A connection that its other end closes between two requests is replaced, as every
/// client does; one that ends with a request on it has lost that request.
#[derive(Debug)]
pub struct Kept {
    addr: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
    /// What drives the connection. Ends with the client.
    driver: JoinSet<()>,
    opened: usize,
}

impl Kept {
    /// A client that has no connection yet.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            connection: None,
            driver: JoinSet::new(),
            opened: 0,
        }
    }

    /// How many connections it has had.
    pub fn opened(&self) -> usize {
        self.opened
    }

    /// Sends a request, which has its `Host`.
    ///
    /// # Cancel safety
    /// Dropped, the connection ends, and the next request gets one of its own.
    pub async fn send(&mut self, request: Request<Full<Bytes>>, bound: Duration) -> anyhow::Result<Answer> {
        let shown = format!("{} {}", request.method(), request.uri());
        let addr = self.addr;
        timeout(bound, self.exchange(request))
            .await
            .with_context(|| format!("{shown} to {addr} is not answered after {bound:?}"))?
            .with_context(|| format!("{shown} to {addr} on a kept connection"))
    }

    async fn exchange(&mut self, mut request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        let started = Instant::now();
        loop {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            if connection.ready().await.is_err() {
                continue; // closed while it was idle
            }
            match connection.try_send_request(request).await {
                Ok(answer) => {
                    let answer = read(answer, started).await?;
                    self.connection = Some(connection);
                    return Ok(answer);
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent, // closed before anything of it was sent
                    None => return Err(error.into_error()).context("send the request"),
                },
            }
        }
    }

    async fn connect(&mut self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.addr).await.context("connect")?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .context("start HTTP")?;
        self.driver.abort_all();
        // A connection's error is that of the request on it; between two requests it is none.
        self.driver.spawn(async move { drop(connection.await) });
        self.opened += 1;
        Ok(sender)
    }
}
