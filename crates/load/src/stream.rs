//! One load stream, from the connection to its end.

use std::{error::Error, io, net::SocketAddr, time::Duration};

use rouse_proto::load::{LoadReport, WatchRequest, load_client::LoadClient};
use tokio::time::timeout;
use tonic::{Status, transport::Endpoint};

/// To an open connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// To the next report. Interceptors send one every second, with or without news.
const SILENCE: Duration = Duration::from_secs(3);

/// Largest report. A full one of 100,000 routes with their rings is about 20 MiB.
pub const MAX_REPORT_BYTES: usize = 64 << 20;

/// Room for a full report to arrive without a round trip per 64 KiB.
const WINDOW_BYTES: u32 = 1 << 20;

/// Takes the reports of one interceptor over.
pub trait ReportSink {
    /// Why a report cannot be taken over; the stream then ends.
    type Error: Error + Send + Sync + 'static;

    /// Takes one report over.
    fn apply(&mut self, report: LoadReport) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum StreamError<E: Error + 'static> {
    /// No connection came about.
    #[error("connect")]
    Connect(#[source] tonic::transport::Error),
    /// Nor in time.
    #[error("no connection within {CONNECT_TIMEOUT:?}")]
    ConnectTimeout,
    /// The interceptor, or the connection, ended the stream with an error.
    #[error("watch the load")]
    Watch(#[source] Box<Status>),
    /// The stream is open and nothing comes.
    #[error("nothing heard for {SILENCE:?}")]
    Silent,
    /// The interceptor ended it in order.
    #[error("the interceptor ended the stream")]
    Ended,
    /// The sink refused a report.
    #[error("take over a report")]
    Report(#[source] E),
}

/// Why an interceptor is not heard, as a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loss {
    /// The host answers, and nobody listens there.
    Refused,
    /// No connection for another reason, or none in time.
    Unreachable,
    /// The stream ended.
    Ended,
    /// The stream is open and nothing comes.
    Silent,
    /// What came made no sense.
    Protocol,
}

impl Loss {
    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Ended => "ended",
            Self::Silent => "silent",
            Self::Protocol => "protocol",
        }
    }
}

impl<E: Error + 'static> StreamError<E> {
    /// In one word.
    pub fn loss(&self) -> Loss {
        match self {
            Self::Connect(_) if self.is_refusal() => Loss::Refused,
            Self::Connect(_) | Self::ConnectTimeout => Loss::Unreachable,
            Self::Watch(_) | Self::Ended => Loss::Ended,
            Self::Silent => Loss::Silent,
            Self::Report(_) => Loss::Protocol,
        }
    }

    /// Whether the host said that nobody listens.
    fn is_refusal(&self) -> bool {
        let mut cause: Option<&(dyn Error + 'static)> = self.source();
        for _ in 0..16 {
            let Some(error) = cause else { return false };
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return error.kind() == io::ErrorKind::ConnectionRefused;
            }
            cause = error.source();
        }
        false
    }
}

/// Connects to the interceptor at `addr` and hands its reports to `sink` until the stream ends, and says why it did.
///
/// # Cancel safety
///
/// As that of the sink: nothing else is left behind.
pub async fn follow<S: ReportSink>(addr: SocketAddr, sink: &mut S) -> StreamError<S::Error> {
    match try_follow(addr, sink).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn try_follow<S: ReportSink>(
    addr: SocketAddr,
    sink: &mut S,
) -> Result<std::convert::Infallible, StreamError<S::Error>> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}"))
        .map_err(StreamError::Connect)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(SILENCE)
        .keep_alive_timeout(SILENCE)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    // The endpoint's own limit covers the socket; this one the HTTP/2 handshake too.
    let channel = match timeout(CONNECT_TIMEOUT, endpoint.connect()).await {
        Ok(connected) => connected.map_err(StreamError::Connect)?,
        Err(_) => return Err(StreamError::ConnectTimeout),
    };
    let mut client = LoadClient::new(channel).max_decoding_message_size(MAX_REPORT_BYTES);
    let opened = timeout(SILENCE, client.watch(WatchRequest {}))
        .await
        .map_err(|_| StreamError::Silent)?;
    let mut reports = opened
        .map_err(|status| StreamError::Watch(Box::new(status)))?
        .into_inner();
    loop {
        let report = timeout(SILENCE, reports.message())
            .await
            .map_err(|_| StreamError::Silent)?;
        let report = report
            .map_err(|status| StreamError::Watch(Box::new(status)))?
            .ok_or(StreamError::Ended)?;
        sink.apply(report).await.map_err(StreamError::Report)?;
    }
}

#[cfg(test)]
mod tests;
