//! The watches of a process, as a whole.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
};

use kube::Client;
use rouse_daemon::{metrics::Metrics, readiness::Readiness};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Feed, NamespaceSet, Scope, Sink, Watched,
    feed::{FeedTask, Unsynced},
    health::{Count, Freshness, Health},
    namespaces::{self, NamespaceSink, Namespaces},
};

/// Watches of the API server, one for each kind and, where the scope names namespaces, for each of those. Dropped, they
/// end.
///
/// The process is not ready before every kind has been listed once, but for namespaces and optional kinds that it is refused
/// for half a minute. From then on readiness does not depend on the API
/// server: while it is away the sinks keep what they know, the metrics and the text of `/readyz` say since when, and the
/// process serves on.
pub struct Watches {
    client: Client,
    namespaces: Namespaces,
    health: Health,
    readiness: Readiness,
    tasks: TaskTracker,
    stop: CancellationToken,
    synced: Vec<watch::Receiver<bool>>,
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches")
            .field("namespaces", &self.namespaces)
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}

impl Watches {
    /// Nothing is watched yet but, where `scope` selects them by labels, the namespaces. Call it on the runtime that is to
    /// run the watches.
    pub fn new(client: Client, scope: &Scope, readiness: &Readiness, metrics: &Metrics) -> Self {
        let health = Health::default();
        metrics.register(|registry| registry.register_collector(Box::new(health.clone())));
        let remarks = health.clone();
        readiness.remark(move || remarks.remark());
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tracing::info!(%scope, "watching the Kubernetes API");
        let namespaces = match scope {
            Scope::All => Namespaces::All,
            Scope::Namespaces(names) => Namespaces::fixed(names),
            Scope::Selector(selector) => {
                let (sink, set) = NamespaceSink::new();
                let counted = Arc::clone(&sink);
                let count = Count(Box::new(move || counted.count()));
                let kind = health.add("Namespace", count);
                let watch = namespaces::watch_selected(client.clone(), selector.clone(), kind, sink);
                let stop = stop.clone();
                tasks.spawn(async move {
                    stop.run_until_cancelled(watch).await;
                });
                Namespaces::Set(set)
            }
        };
        Self {
            client,
            namespaces,
            health,
            readiness: readiness.clone(),
            tasks,
            stop,
            synced: Vec::new(),
        }
    }

    /// Watches a kind; its objects go to `sink`. Says how far what went there can be relied on.
    pub fn feed<K: Watched, S: Sink<K>>(&mut self, feed: Feed, sink: S) -> Freshness {
        let (unsynced, synced) = Unsynced::new(self.readiness.block(feed.name));
        self.synced.push(synced);
        let sink = Arc::new(sink);
        let counted = Arc::clone(&sink);
        let namespaces = match &feed.namespace {
            Some(namespace) => Namespaces::fixed([namespace]),
            None => self.namespaces.clone(),
        };
        let health = self
            .health
            .add(feed.name, Count(Box::new(move || counted.count())));
        let freshness = health.freshness();
        let task = FeedTask {
            client: self.client.clone(),
            health,
            feed,
            sink,
            stop: self.stop.clone(),
            has_listed: AtomicBool::new(false),
        };
        self.tasks.spawn(task.run::<K>(namespaces, unsynced));
        freshness
    }

    /// The namespaces of the scope, as they come and go (`None` until they are known), for those that watch kinds by
    /// themselves. `None` for every namespace.
    pub fn namespaces(&self) -> Option<watch::Receiver<Option<NamespaceSet>>> {
        match &self.namespaces {
            Namespaces::All => None,
            Namespaces::Set(set) => Some(set.clone()),
        }
    }

    /// Ends when all objects of all kinds that were there at the start are in their sinks, or the watches have been told
    /// to stop. Kinds that the cluster does not have are waited for if they are required.
    pub async fn synced(&self) {
        for synced in &self.synced {
            // The sender says so before it goes.
            drop(synced.clone().wait_for(|is_synced| *is_synced).await);
        }
    }

    /// Ends the watches.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests;
