//! Listens to one interceptor: connects, applies its reports, and comes back when the stream ends or falls silent.

use std::{error::Error, io, sync::Arc, time::Duration};

use ahash::RandomState;
use rouse_daemon::chain::chain;
use rouse_proto::load::{WatchRequest, load_client::LoadClient};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Status, transport::Endpoint};

use crate::{
    metrics::{LossReason, ScalerMetrics},
    picture::{Peer, Picture, ReportError, Session},
};

/// To an open connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// To the next report. Interceptors send one every second, with or without news.
const SILENCE: Duration = Duration::from_secs(3);

/// Between attempts, doubling, jittered.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Largest report. A full one of 100,000 routes with their rings is about 20 MiB.
const MAX_REPORT_BYTES: usize = 64 << 20;

/// Room for a full report to arrive without a round trip per 64 KiB.
const WINDOW_BYTES: u32 = 1 << 20;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("connect")]
    Connect(#[source] tonic::transport::Error),
    #[error("no connection within {CONNECT_TIMEOUT:?}")]
    ConnectTimeout,
    #[error("watch the load")]
    Watch(#[source] Box<Status>),
    #[error("nothing heard for {SILENCE:?}")]
    Silent,
    #[error("the interceptor ended the stream")]
    Ended,
    #[error("take over a report")]
    Report(#[from] ReportError),
}

impl WatchError {
    fn reason(&self) -> LossReason {
        match self {
            Self::Connect(_) if self.is_refusal() => LossReason::Refused,
            Self::Connect(_) | Self::ConnectTimeout => LossReason::Unreachable,
            Self::Watch(_) | Self::Ended => LossReason::Ended,
            Self::Silent => LossReason::Silent,
            Self::Report(_) => LossReason::Protocol,
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

/// Listens to `peer` for as long as it is listed, and to the end of its stream if it is not.
///
/// # Cancel safety
///
/// May be dropped at any time; the interceptor's share then leaves the picture.
pub(crate) async fn listen(picture: Arc<Picture>, peer: Arc<Peer>, metrics: Arc<ScalerMetrics>) {
    let retention = picture.patience().retention;
    let mut session = Session::new(Arc::clone(&picture), Arc::clone(&peer));
    let mut pauses = Pauses::default();
    let mut heard_at = Instant::now();
    loop {
        let error = match watch(&mut session, &mut pauses).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        metrics.peer_lost(error.reason());
        peer.attempt_failed(matches!(error.reason(), LossReason::Refused), picture.now());
        if session.lost() {
            heard_at = Instant::now();
            if peer.is_draining() {
                tracing::info!(peer.addr = %peer.addr, "interceptor has shut down");
            } else {
                tracing::warn!(peer.addr = %peer.addr, error = %chain(&error), "interceptor lost");
            }
        } else {
            tracing::debug!(peer.addr = %peer.addr, error = %chain(&error), "interceptor not reached");
        }
        if picture.forget(peer.addr) {
            tracing::info!(peer.addr = %peer.addr, "interceptor gone");
            return;
        }
        if heard_at.elapsed() >= retention && session.withdraw() {
            tracing::warn!(peer.addr = %peer.addr, silent_for = ?retention, "last counts of a lost interceptor dropped");
        }
        sleep(pauses.next()).await;
    }
}

/// One stream, from the connection to its end.
async fn watch(session: &mut Session, pauses: &mut Pauses) -> Result<std::convert::Infallible, WatchError> {
    let addr = session.peer().addr;
    let endpoint = Endpoint::from_shared(format!("http://{addr}"))
        .map_err(WatchError::Connect)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(SILENCE)
        .keep_alive_timeout(SILENCE)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    // The endpoint's own limit covers the socket; this one the HTTP/2 handshake too.
    let channel = match timeout(CONNECT_TIMEOUT, endpoint.connect()).await {
        Ok(connected) => connected.map_err(WatchError::Connect)?,
        Err(_) => return Err(WatchError::ConnectTimeout),
    };
    let mut client = LoadClient::new(channel).max_decoding_message_size(MAX_REPORT_BYTES);
    let opened = timeout(SILENCE, client.watch(WatchRequest {}))
        .await
        .map_err(|_| WatchError::Silent)?;
    let mut reports = opened
        .map_err(|status| WatchError::Watch(Box::new(status)))?
        .into_inner();
    loop {
        let report = timeout(SILENCE, reports.message())
            .await
            .map_err(|_| WatchError::Silent)?;
        let report = report
            .map_err(|status| WatchError::Watch(Box::new(status)))?
            .ok_or(WatchError::Ended)?;
        if session.apply(report).await? {
            pauses.reset();
            tracing::info!(peer.addr = %addr, "interceptor heard");
        }
    }
}

/// The pauses between attempts.
#[derive(Debug)]
struct Pauses {
    next: Duration,
    random: RandomState,
    drawn: u64,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            next: FIRST_PAUSE,
            random: RandomState::new(),
            drawn: 0,
        }
    }
}

impl Pauses {
    fn reset(&mut self) {
        self.next = FIRST_PAUSE;
    }

    /// Between half of the pause and the whole, so that the replicas of a scaler do not come back in step.
    fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        self.drawn += 1;
        let share = (self.random.hash_one(self.drawn) % 1000) as u32;
        pause / 2 + pause / 2 * share / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_bound_and_begin_anew() {
        let mut pauses = Pauses::default();
        let drawn: Vec<Duration> = (0..10).map(|_| pauses.next()).collect();
        for (place, pause) in drawn.iter().enumerate() {
            let whole = (FIRST_PAUSE * (1 << place)).min(LONGEST_PAUSE);
            assert!(
                *pause >= whole / 2 && *pause <= whole,
                "pause {place} of {whole:?} is {pause:?}"
            );
        }
        pauses.reset();
        assert!(pauses.next() <= FIRST_PAUSE);
    }
}
