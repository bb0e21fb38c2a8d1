//! What bounds a downstream connection, and the hyper builders made from it.

use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// hyper reads HTTP/1 heads into the stack up to this many headers; any other limit costs an allocation per request.
const HYPER_DEFAULT_MAX_HEADERS: usize = 100;
/// hyper refuses a smaller read buffer.
const MIN_BUFFER_BYTES: usize = 8 * 1024;
/// The flow-control window of one HTTP/2 stream: what a client may send of a body that nobody reads yet.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// What is buffered of one HTTP/2 response that its client does not take.
const STREAM_SEND_BYTES: usize = 64 * 1024;
/// HTTP/2's own limit on a window.
const MAX_WINDOW_BYTES: u32 = (1 << 31) - 1;
/// Streams that a client opened and reset before we saw them. h2's default of 20 cuts a gateway's connection, and all
/// requests on it, when a wave of its clients leaves at once.
const MAX_PENDING_RESET_STREAMS: usize = 256;

/// Limits and timers of downstream connections. The defaults are bounded; `None` means no limit and is only for users
/// who ask for that.
#[derive(Debug, Clone)]
pub struct DownstreamSettings {
    /// Open connections over all workers. At the limit the acceptor pauses and clients wait in the listen backlog.
    pub max_connections: usize,
    /// How long a new connection may stay silent.
    pub first_byte_timeout: Option<Duration>,
    /// How long an HTTP/1 request head may take, from its first byte to its last.
    pub header_timeout: Option<Duration>,
    /// How long a connection may stay open without a request. Longer than the hour for which Envoy keeps its own, so
    /// that the gateway closes first and no request meets a closing connection.
    pub idle_timeout: Option<Duration>,
    /// How often connections are checked, and thereby how late a timer may be.
    pub sweep_interval: Duration,
    /// Size of an HTTP/1 request head, or of an HTTP/2 header list; larger ones are answered 431.
    pub max_header_bytes: u32,
    /// Number of headers of an HTTP/1 request.
    pub max_headers: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
}

impl Default for DownstreamSettings {
    fn default() -> Self {
        Self {
            max_connections: 32_768,
            first_byte_timeout: Some(Duration::from_mins(1)),
            header_timeout: Some(Duration::from_mins(1)),
            idle_timeout: Some(Duration::from_mins(66)),
            sweep_interval: Duration::from_secs(1),
            max_header_bytes: 64 * 1024,
            max_headers: HYPER_DEFAULT_MAX_HEADERS,
            max_concurrent_streams: 1024,
        }
    }
}

impl DownstreamSettings {
    pub(crate) fn http1(&self) -> http1::Builder {
        let header_bytes = self.max_header_bytes as usize;
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // The sweeper times heads: hyper's timer starts when a connection becomes idle, and so would close it.
            .header_read_timeout(None)
            // A FIN in the middle of an exchange means that the client has left. hyper sees it only where it reads; the
            // hang-up watcher sees it while a request is held.
            .half_close(false)
            .max_header_size(header_bytes)
            // Also the most that is read ahead of a body or buffered of a response; hyper's default is 400 KiB.
            .max_buf_size(header_bytes.max(MIN_BUFFER_BYTES));
        if self.max_headers != HYPER_DEFAULT_MAX_HEADERS {
            builder.max_headers(self.max_headers);
        }
        builder
    }

    pub(crate) fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.max_concurrent_streams)
            .max_header_list_size(self.max_header_bytes)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            // One window for all streams: with less than the sum, held uploads use it up and block their neighbours.
            .initial_connection_window_size(
                self.max_concurrent_streams
                    .saturating_mul(STREAM_WINDOW_BYTES)
                    .clamp(STREAM_WINDOW_BYTES, MAX_WINDOW_BYTES),
            )
            .max_send_buf_size(STREAM_SEND_BYTES)
            .max_pending_accept_reset_streams(MAX_PENDING_RESET_STREAMS);
        builder
    }
}
