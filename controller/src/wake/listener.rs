//! Listens to every interceptor that there is.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use rouse_daemon::chain::chain;
use rouse_kubernetes::peers::Addresses;
use rouse_load::{Pauses, ReportSink};
use rouse_proto::load::LoadReport;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::demand::{ReportError, SharedDemand};

/// How long the last word of an interceptor that is not heard stands: a broken stream is back long before, and the
/// requests of a dead one are gone.
const RETENTION: Duration = Duration::from_secs(10);

/// Listens to all on the list as it changes. Does not end; dropped, the listeners end.
pub(crate) async fn listen_to_all(mut interceptors: Addresses, demand: SharedDemand) {
    let mut listening: BTreeMap<SocketAddr, AbortOnDropHandle<()>> = BTreeMap::new();
    loop {
        let listed = interceptors.borrow_and_update().clone();
        if let Some(listed) = listed {
            // Draining interceptors are on the list to their end: these are gone.
            for (addr, listener) in listening.extract_if(.., |addr, _| !listed.contains(addr)) {
                listener.abort();
                // Its last report may be on its way to the demand on another thread: forgotten before that, it would stand
                // for ever.
                drop(listener.await);
                demand.forget(addr);
            }
            for addr in listed.iter() {
                listening
                    .entry(*addr)
                    .or_insert_with(|| AbortOnDropHandle::new(tokio::spawn(listen(*addr, demand.clone()))));
            }
        }
        if interceptors.changed().await.is_err() {
            // Nobody will say anything new.
            std::future::pending::<()>().await;
        }
    }
}

/// Listens to one until dropped.
async fn listen(addr: SocketAddr, demand: SharedDemand) {
    let mut listener = Listener {
        addr,
        demand,
        pauses: Pauses::default(),
        is_heard: false,
        heard_at: Instant::now(),
    };
    loop {
        let error = rouse_load::follow(addr, &mut listener).await;
        if listener.is_heard {
            listener.is_heard = false;
            tracing::info!(interceptor.addr = %addr, error = %chain(&error), "interceptor lost");
        } else {
            tracing::debug!(interceptor.addr = %addr, error = %chain(&error), "interceptor not reached");
        }
        if listener.heard_at.elapsed() >= RETENTION {
            listener.demand.forget(addr);
        }
        sleep(listener.pauses.next_pause()).await;
    }
}

/// Hands one interceptor's reports to the demand.
struct Listener {
    addr: SocketAddr,
    demand: SharedDemand,
    pauses: Pauses,
    /// Whether the running stream has brought its first report.
    is_heard: bool,
    heard_at: Instant,
}

impl ReportSink for Listener {
    type Error = ReportError;

    async fn apply(&mut self, report: LoadReport) -> Result<(), ReportError> {
        self.demand.report(self.addr, !self.is_heard, report)?;
        if !self.is_heard {
            self.is_heard = true;
            self.pauses.reset();
            tracing::debug!(interceptor.addr = %self.addr, "interceptor heard");
        }
        self.heard_at = Instant::now();
        Ok(())
    }
}
