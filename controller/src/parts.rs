//! What the areas of the controller share.

use std::fmt;

use kube::Client;
use rouse_daemon::metrics::Metrics;
use rouse_kubernetes::lease::Leadership;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{event::Events, observed::SharedObserved, queue::Requeue};

/// What an area builds on. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Parts {
    /// For everything that is not watched here.
    pub(crate) client: Client,
    /// The routes and what they name, kept up to date by the reconciler's watches.
    pub(crate) observed: SharedObserved,
    /// Where a route is queued whose status may have to be written anew.
    #[allow(
        dead_code,
        reason = "for areas that are condition sources and know it by themselves"
    )]
    pub(crate) requeue: Requeue,
    /// Whether this process may write. Writes are made within a term: they stop when its token is cancelled.
    pub(crate) leadership: watch::Receiver<Leadership>,
    /// Where events are published.
    pub(crate) events: Events,
    /// Where metrics are registered.
    pub(crate) metrics: Metrics,
    /// Cancelled when the controller ends. What an area has spawned ends with it.
    pub(crate) shutdown: CancellationToken,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}
