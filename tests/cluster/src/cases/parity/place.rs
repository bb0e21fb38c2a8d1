//! What a scene can do, whichever place it is played in.

use std::{fmt, net::SocketAddr, time::Duration};

use super::{cluster::OnCluster, local::Local};
use crate::wait;

/// Until a count is what it is to be.
const COUNT_BOUND: Duration = Duration::from_secs(30);

/// A cluster's namespace, or a `rouse local` process, which serve the same routes.
pub(super) struct Place {
    namespace: String,
    kind: Kind,
}

pub(super) enum Kind {
    Cluster(Box<OnCluster>),
    Local(Box<Local>),
}

impl From<OnCluster> for Kind {
    fn from(place: OnCluster) -> Self {
        Self::Cluster(Box::new(place))
    }
}

impl From<Local> for Kind {
    fn from(place: Local) -> Self {
        Self::Local(Box::new(place))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Cluster(_) => "the cluster",
            Kind::Local(_) => "rouse local",
        })
    }
}

impl Place {
    pub(super) fn new(namespace: &str, kind: Kind) -> Self {
        Self {
            namespace: namespace.to_owned(),
            kind,
        }
    }

    /// Where requests go.
    pub(super) fn proxy(&self) -> SocketAddr {
        match &self.kind {
            Kind::Cluster(place) => place.proxy(),
            Kind::Local(place) => place.proxy(),
        }
    }

    /// The requests of a route that are held or in flight, as `/queue` tells, of all interceptors together.
    pub(super) async fn queued(&self, route: &str) -> anyhow::Result<u64> {
        Ok(self.counts(route).await?.iter().sum())
    }

    /// The same, of the interceptor that has the most.
    pub(super) async fn most_queued(&self, route: &str) -> anyhow::Result<u64> {
        Ok(self.counts(route).await?.into_iter().max().unwrap_or_default())
    }

    /// The counts of each interceptor. One that has just started may not know the route yet.
    async fn counts(&self, route: &str) -> anyhow::Result<Vec<u64>> {
        let queues = match &self.kind {
            Kind::Cluster(place) => place.queues().await?,
            Kind::Local(place) => vec![place.queue().await?],
        };
        let key = format!("{}/{route}", self.namespace);
        let counts: Vec<_> = queues
            .iter()
            .filter_map(|queue| queue.get(&key)?["Concurrency"].as_u64())
            .collect();
        anyhow::ensure!(!counts.is_empty(), "{key} is not in {queues:?}");
        Ok(counts)
    }

    /// Waits until so many requests of a route are held or in flight, and gives what there are at the end.
    pub(super) async fn queued_at(&self, route: &str, count: u64) -> u64 {
        let what = format!("{count} requests of {route} are counted");
        let waited = wait::until(&what, COUNT_BOUND, async || match self.queued(route).await? {
            queued if queued == count => wait::done(()),
            queued => wait::not_yet(queued.to_string()),
        })
        .await;
        if waited.is_ok() {
            return count;
        }
        self.queued(route).await.unwrap_or(u64::MAX)
    }

    /// The numbers of replicas that an application was scaled to so far, that of its manifest first.
    pub(super) fn scaled(&self, app: &str) -> Vec<u32> {
        match &self.kind {
            Kind::Cluster(place) => place.scaled(app),
            Kind::Local(place) => place.scaled(app),
        }
    }

    /// Waits until an application has been scaled in a way, and gives the numbers.
    pub(super) async fn scaled_until(
        &self,
        app: &str,
        bound: Duration,
        is_done: impl Fn(&[u32]) -> bool,
    ) -> anyhow::Result<Vec<u32>> {
        wait::until(&format!("{app} is scaled, in {self}"), bound, async || {
            let scaled = self.scaled(app);
            if is_done(&scaled) {
                wait::done(scaled)
            } else {
                wait::not_yet(format!("{scaled:?}"))
            }
        })
        .await
    }

    /// Waits until no replica of an application is left, not even one that ends.
    pub(super) async fn gone(&self, app: &str) -> anyhow::Result<()> {
        wait::until(&format!("{app} is gone, in {self}"), COUNT_BOUND, async || {
            let left = match &self.kind {
                Kind::Cluster(place) => place.replicas(app).await?.len(),
                Kind::Local(place) => place.replicas(app).len(),
            };
            if left == 0 {
                wait::done(())
            } else {
                wait::not_yet(format!("{left} replicas"))
            }
        })
        .await
    }

    /// Asks the replicas of an application to end, as when their node is drained; others take their place.
    pub(super) async fn end_replicas(&self, app: &str) -> anyhow::Result<()> {
        match &self.kind {
            Kind::Cluster(place) => place.end_replicas(app).await,
            Kind::Local(place) => place.end_replicas(app),
        }
    }

    /// What the process has said, where it is one.
    pub(super) fn said(&self) -> Option<String> {
        match &self.kind {
            Kind::Cluster(_) => None,
            Kind::Local(place) => Some(place.said()),
        }
    }

    /// Ends the process, where it is one, as a person does, and has it end in order.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        match self.kind {
            Kind::Cluster(_) => Ok(()),
            Kind::Local(place) => place.end().await,
        }
    }
}
