//! Listens to one interceptor: connects, applies its reports, and comes back when the stream ends or falls silent.

use std::sync::Arc;

use rouse_daemon::chain::chain;
use rouse_load::{Loss, Pauses, ReportSink};
use rouse_proto::load::LoadReport;
use tokio::time::{Instant, sleep};

use crate::{
    metrics::ScalerMetrics,
    picture::{Peer, Picture, ReportError, Session},
};

/// Listens to `peer` for as long as it is listed, and to the end of its stream if it is not.
///
/// # Cancel safety
///
/// May be dropped at any time; the interceptor's share then leaves the picture.
pub(crate) async fn listen(picture: Arc<Picture>, peer: Arc<Peer>, metrics: Arc<ScalerMetrics>) {
    let retention = picture.patience().retention;
    let mut listener = Listener {
        session: Session::new(Arc::clone(&picture), Arc::clone(&peer)),
        pauses: Pauses::default(),
    };
    let mut heard_at = Instant::now();
    loop {
        let error = rouse_load::follow(peer.addr, &mut listener).await;
        metrics.peer_lost(error.loss());
        peer.attempt_failed(error.loss() == Loss::Refused, picture.now());
        if listener.session.lost() {
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
        if heard_at.elapsed() >= retention && listener.session.withdraw() {
            tracing::warn!(peer.addr = %peer.addr, silent_for = ?retention, "last counts of a lost interceptor dropped");
        }
        sleep(listener.pauses.next_pause()).await;
    }
}

/// Hands reports to the session; the first of a stream ends the row of failed attempts.
struct Listener {
    session: Session,
    pauses: Pauses,
}

impl ReportSink for Listener {
    type Error = ReportError;

    async fn apply(&mut self, report: LoadReport) -> Result<(), ReportError> {
        if self.session.apply(report).await? {
            self.pauses.reset();
            tracing::info!(peer.addr = %self.session.peer().addr, "interceptor heard");
        }
        Ok(())
    }
}
