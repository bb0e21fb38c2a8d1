//! Tunnels: what an exchange becomes after `101 Switching Protocols` (RFC 9110 section 7.8). Bytes pass both ways until
//! both sides have ended, or one breaks, or one has ended and the other has nothing more to say.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::exchange::Exchange;

/// Copy buffers, one per direction.
const BUFFER_BYTES: usize = 16 * 1024;
/// How long a tunnel of which one side has ended lasts without a byte from the other: a peer that never closes would
/// count as demand for ever and keep its target from going to zero.
const HALF_CLOSED_IDLE: Duration = Duration::from_secs(30);

/// Joins the two sides once both have switched. The exchange, and with it the route's concurrency, lasts as long as
/// the tunnel; the tunnel ends with its worker at the latest.
pub(crate) fn spawn(client: OnUpgrade, endpoint: OnUpgrade, exchange: Exchange) {
    drop(tokio::spawn(async move {
        let ended = run(client, endpoint).await;
        if let Err(error) = ended {
            tracing::debug!(error = %rouse_daemon::chain::chain(&*error), "tunnel ended");
        }
        drop(exchange);
    }));
}

async fn run(client: OnUpgrade, endpoint: OnUpgrade) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (client, endpoint) = tokio::try_join!(client, endpoint)?;
    join(TokioIo::new(client), TokioIo::new(endpoint)).await?;
    Ok(())
}

async fn join<A, B>(one: A, other: B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let (one_reader, one_writer) = tokio::io::split(one);
    let (other_reader, other_writer) = tokio::io::split(other);
    let passed = AtomicU64::new(0);
    let mut there = std::pin::pin!(pass(one_reader, other_writer, &passed));
    let mut back = std::pin::pin!(pass(other_reader, one_writer, &passed));
    tokio::select! {
        ended = &mut there => {
            ended?;
            while_it_talks(back, &passed).await
        }
        ended = &mut back => {
            ended?;
            while_it_talks(there, &passed).await
        }
    }
}

/// Passes bytes on until the reader ends, then ends the writer. `passed` counts them.
async fn pass(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    passed: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = reader.read(&mut buffer).await?;
        if read == 0 {
            return writer.shutdown().await;
        }
        passed.fetch_add(read as u64, Ordering::Relaxed);
        writer.write_all(&buffer[..read]).await?;
        writer.flush().await?;
    }
}

/// Finishes the other direction, unless it falls silent.
async fn while_it_talks(
    mut direction: impl Future<Output = io::Result<()>> + Unpin,
    passed: &AtomicU64,
) -> io::Result<()> {
    let mut before = passed.load(Ordering::Relaxed);
    loop {
        if let Ok(ended) = tokio::time::timeout(HALF_CLOSED_IDLE, &mut direction).await {
            return ended;
        }
        let now = passed.load(Ordering::Relaxed);
        if now == before {
            return Err(io::ErrorKind::TimedOut.into());
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_side_that_never_closes_keeps_a_tunnel_only_while_it_talks() {
        let (client, proxy_client) = tokio::io::duplex(64);
        let (endpoint, proxy_endpoint) = tokio::io::duplex(64);
        let (mut endpoint_reader, mut endpoint_writer) = tokio::io::split(endpoint);
        let (mut client_reader, mut client_writer) = tokio::io::split(client);
        let tunnel = tokio::spawn(join(proxy_client, proxy_endpoint));

        endpoint_writer.shutdown().await.expect("open");
        assert_eq!(client_reader.read(&mut [0; 8]).await.expect("open"), 0);
        for _ in 0..3 {
            tokio::time::sleep(HALF_CLOSED_IDLE / 2).await;
            client_writer.write_all(b"still here").await.expect("open");
            let mut word = [0; 10];
            endpoint_reader.read_exact(&mut word).await.expect("open");
        }
        let silent = Instant::now();
        let ended = tunnel.await.expect("no panic");
        assert_eq!(ended.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        assert!(silent.elapsed() <= HALF_CLOSED_IDLE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_without_a_byte_lasts_while_both_sides_are_open() {
        let (client, proxy_client) = tokio::io::duplex(64);
        let (endpoint, proxy_endpoint) = tokio::io::duplex(64);
        let tunnel = tokio::spawn(join(proxy_client, proxy_endpoint));
        tokio::time::sleep(HALF_CLOSED_IDLE * 100).await;
        assert!(!tunnel.is_finished());
        drop((client, endpoint));
        tunnel.await.expect("no panic").expect("a regular end");
    }
}
