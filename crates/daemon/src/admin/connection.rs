//! One connection of the admin port.

use std::{error::Error, pin::pin, time::Duration};

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;

use super::preface::{self, Protocol};
use crate::chain::chain;

/// How connections are served.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// From the connection's start, or the last answer on HTTP/1.1, to the whole head of the next request.
    pub(super) header_timeout: Duration,
    /// HTTP/2: streams that one client may have open at once.
    pub(super) max_concurrent_streams: u32,
}

/// HTTP/2: how often a silent client is asked whether it lives, and how long it has to say so. Without it a client behind a
/// cut wire would keep its streams for as long as nothing is sent on them.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// HTTP/2: streams that were opened and reset before they were looked at. More than hyper's 20, because a client with
/// thousands of streams that shuts down resets them together; still far from what an attack needs.
const MAX_PENDING_RESETS: usize = 1024;

/// HTTP/2: what h2 books for a small DATA frame that has arrived and was not read yet. It closes the connection
/// (`too_many_data_frames`) when the sum exceeds half of the connection's window. A client that opens all its streams at
/// once, each with one small message, must not meet that bound.
const SMALL_FRAME_BYTES: u32 = 256;

/// HTTP/2: the least connection window, hyper's own.
const MIN_CONNECTION_WINDOW: u32 = 1 << 20;

/// HTTP/2: a stream's window. Requests on this port are small.
const STREAM_WINDOW: u32 = 64 << 10;

/// Largest request head. Nothing on this port needs more.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// The connection window with which every allowed stream may have a small message waiting.
fn connection_window(max_concurrent_streams: u32) -> u32 {
    // The largest window that HTTP/2 knows is 2^31 - 1 (RFC 9113, section 6.9.1).
    max_concurrent_streams
        .saturating_mul(2 * SMALL_FRAME_BYTES)
        .clamp(MIN_CONNECTION_WINDOW, i32::MAX as u32)
}

/// Serves one connection to its end. After `shutdown` the request at hand is finished and no other begun.
pub(super) async fn serve(
    stream: TcpStream,
    router: Router,
    settings: Settings,
    shutdown: CancellationToken,
) {
    let opened = tokio::select! {
        biased;
        () = shutdown.cancelled() => return,
        opened = timeout(settings.header_timeout, preface::read(stream)) => opened,
    };
    let (protocol, io) = match opened {
        Ok(Ok(Some((protocol, io)))) => (protocol, TokioIo::new(io)),
        // Silent, gone or reset: nobody is there to be told.
        Ok(Ok(None) | Err(_)) | Err(_) => return,
    };
    let service = TowerToHyperService::new(router);
    let result = match protocol {
        Protocol::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(settings.header_timeout)
                .max_header_size(MAX_HEAD_BYTES)
                .serve_connection(io, service);
            let mut connection = pin!(connection);
            tokio::select! {
                result = connection.as_mut() => result,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
        Protocol::Http2 => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .max_concurrent_streams(settings.max_concurrent_streams)
                .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
                .initial_connection_window_size(connection_window(settings.max_concurrent_streams))
                .initial_stream_window_size(STREAM_WINDOW)
                .max_header_list_size(MAX_HEAD_BYTES as u32)
                .serve_connection(io, service);
            let mut connection = pin!(connection);
            tokio::select! {
                result = connection.as_mut() => result,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = result {
        let error: &(dyn Error + 'static) = &error;
        tracing::debug!(error = %chain(error), "admin connection ended early");
    }
}
