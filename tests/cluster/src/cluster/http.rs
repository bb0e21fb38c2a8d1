//! Timed requests, as `curl` in a person's hands would make them: one connection each; and on a [`Kept`] one.

mod kept;

use std::{io, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

pub use self::kept::Kept;

/// An answer, and how long it took from the first attempt to connect.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Until the head of the answer was there.
    pub head: Duration,
    /// Until the last byte was there.
    pub total: Duration,
}

impl Answer {
    /// The line that goes into evidence.
    pub fn summary(&self) -> String {
        format!(
            "{} in {:.3} s, {} bytes",
            self.status,
            self.total.as_secs_f64(),
            self.body.len()
        )
    }
}

/// GETs a path from a host at an address.
pub async fn get(addr: SocketAddr, host: &str, path: &str, bound: Duration) -> anyhow::Result<Answer> {
    let request = Request::get(path)
        .header(HOST, host)
        .body(Full::default())
        .context("make a request")?;
    send(addr, request, bound).await
}

/// Sends a request on a connection of its own. It has its `Host`.
pub async fn send(
    addr: SocketAddr,
    request: Request<Full<Bytes>>,
    bound: Duration,
) -> anyhow::Result<Answer> {
    let shown = format!("{} {}", request.method(), request.uri());
    timeout(bound, exchange(addr, request))
        .await
        .with_context(|| format!("{shown} to {addr} is not answered after {bound:?}"))?
        .with_context(|| format!("{shown} to {addr}"))
}

async fn exchange(addr: SocketAddr, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
    let started = Instant::now();
    let stream = TcpStream::connect(addr).await.context("connect")?;
    stream.set_nodelay(true).context("set TCP_NODELAY")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .context("start HTTP")?;
    let exchange = async {
        let answer = sender.send_request(request).await.context("send the request")?;
        read(answer, started).await
    };
    let connection = async {
        // The exchange ends with an error of its own when the connection does.
        drop(connection.await);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = exchange => answer,
        () = connection => anyhow::bail!("the connection never ends"),
    }
}

/// The rest of an answer whose head has come.
async fn read(answer: Response<Incoming>, started: Instant) -> anyhow::Result<Answer> {
    let head = started.elapsed();
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.context("read the body")?.to_bytes();
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body,
        head,
        total: started.elapsed(),
    })
}

/// Whether nobody listened: nothing of the request was sent, and it was in nobody's hands.
pub fn is_refused(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
    })
}
