//! The list of interceptors and the tasks that listen to them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{metrics::ScalerMetrics, picture::Picture, subscriber};

/// Says which interceptors there are. Cheap to clone; usable from any thread.
///
/// Every interceptor whose requests count belongs on the list: the draining ones too.
#[derive(Debug, Clone)]
pub struct PeersHandle {
    picture: Arc<Picture>,
    metrics: Arc<ScalerMetrics>,
    tasks: TaskTracker,
    stop: CancellationToken,
    runtime: Handle,
}

impl PeersHandle {
    /// Must be called on the runtime that is to run the tasks.
    pub(crate) fn new(picture: Arc<Picture>, metrics: Arc<ScalerMetrics>, stop: CancellationToken) -> Self {
        Self {
            picture,
            metrics,
            tasks: TaskTracker::new(),
            stop,
            runtime: Handle::current(),
        }
    }

    /// Replaces the list by `addrs`, the interceptors' admin addresses.
    ///
    /// One that left the list counts until its stream ends: a draining interceptor is often unlisted before it is done.
    /// One that is listed and silent keeps every route from being called idle until it is given up.
    pub fn set(&self, addrs: impl IntoIterator<Item = SocketAddr>) {
        let addrs: Vec<SocketAddr> = addrs.into_iter().collect();
        for addr in &addrs {
            if let Some(peer) = self.picture.list(*addr) {
                tracing::info!(peer.addr = %addr, "interceptor listed");
                let listening =
                    subscriber::listen(Arc::clone(&self.picture), peer, Arc::clone(&self.metrics));
                self.spawn(listening);
            }
        }
        self.picture.unlist_others(&addrs);
    }

    /// Says how long ago the list was last known to be right. Once told, it has to be told again and again: without a word
    /// for two minutes no route is called idle. A list of which this is never told stands as it is.
    pub fn confirm(&self, ago: Duration) {
        self.picture.confirm_list(ago);
    }

    /// Runs `task` until it ends or the scaler stops.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let task = async move {
            // Whether it was cancelled makes no difference.
            stop.run_until_cancelled(task).await;
        };
        self.tasks.spawn_on(task, &self.runtime);
    }

    /// Ends when every task has ended, once they have been told to stop.
    pub(crate) async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
