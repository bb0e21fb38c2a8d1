//! A small, fast application for the proxies to forward to: one answer, one thread.

use std::{convert::Infallible, fs, net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

static BODY: &[u8] = &[b'.'; 1024];

/// The flags of the hidden command `serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    pub(crate) addr: SocketAddr,
    /// A file that is given the address.
    #[arg(long)]
    pub(crate) announce: PathBuf,
    #[arg(long)]
    pub(crate) cpu: Option<usize>,
}

/// Serves until the process is killed.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.addr)
        .await
        .with_context(|| format!("listen on {}", args.addr))?;
    let addr = listener.local_addr().context("read the listener's address")?;
    fs::write(&args.announce, addr.to_string()).context("announce the address")?;
    loop {
        let (stream, _) = listener.accept().await.context("accept")?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        tokio::spawn(async move {
            let service = service_fn(|_| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(BODY))))
            });
            // A connection that fails is the proxy's to notice.
            drop(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}
