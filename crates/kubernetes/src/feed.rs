//! One kind of object on its way to its sink: one watch of every namespace, or one for each namespace of a set that changes.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use rouse_daemon::readiness::Blocker;
use serde::de::DeserializeOwned;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    driver::{Driver, LONGEST_PAUSE, Step},
    guard::Guarded,
    health::{KindHealth, WatchHealth},
    listed::Listed,
    namespaces::Namespaces,
    sink::Sink,
    transport,
    trouble::{Reason, Trouble},
};

/// How long a watch that is refused is waited for where the process is of use without it. Long enough for a role that is
/// applied together with the process.
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// A kind that can be watched: any namespaced one.
pub trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + DeserializeOwned
    + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + DeserializeOwned
        + Clone
        + Debug
        + Send
        + Sync
        + 'static
{
}

/// What is to be watched of a kind.
#[derive(Debug, Clone)]
pub struct Feed {
    pub(crate) name: &'static str,
    pub(crate) is_required: bool,
    pub(crate) labels: Option<String>,
    pub(crate) fields: Option<String>,
    pub(crate) namespace: Option<String>,
}

impl Feed {
    /// A kind without which the process is of no use: it is not ready before all objects of the kind are known. `name` is
    /// the kind's, for people and for the metrics' label.
    pub fn required(name: &'static str) -> Self {
        Self {
            name,
            is_required: true,
            labels: None,
            fields: None,
            namespace: None,
        }
    }

    /// A kind that the cluster need not have. Where it has it, readiness waits for its objects as well.
    pub fn optional(name: &'static str) -> Self {
        Self {
            is_required: false,
            ..Self::required(name)
        }
    }

    /// Only the objects whose labels match `selector`.
    #[must_use]
    pub fn labelled(mut self, selector: impl Into<String>) -> Self {
        self.labels = Some(selector.into());
        self
    }

    /// Only the objects whose fields match `selector`, of those that the API server selects the kind by.
    #[must_use]
    pub fn with_fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = Some(selector.into());
        self
    }

    /// Only the objects of this namespace, whatever the scope.
    #[must_use]
    pub fn only_in(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }
}

/// Held by every watch of a kind that is still waited for: see [`Start`].
#[derive(Debug)]
pub(crate) struct Unsynced {
    synced: watch::Sender<bool>,
    _blocker: Blocker,
}

impl Unsynced {
    /// What is held, and what becomes true when nobody holds it any longer.
    pub(crate) fn new(blocker: Blocker) -> (Arc<Self>, watch::Receiver<bool>) {
        let (synced, is_synced) = watch::channel(false);
        let unsynced = Self {
            synced,
            _blocker: blocker,
        };
        (Arc::new(unsynced), is_synced)
    }
}

impl Drop for Unsynced {
    fn drop(&mut self) {
        self.synced.send_replace(true);
    }
}

/// Runs the watches of one kind.
pub(crate) struct FeedTask<S> {
    pub(crate) client: Client,
    pub(crate) feed: Feed,
    pub(crate) health: Arc<KindHealth>,
    pub(crate) sink: Arc<S>,
    pub(crate) stop: CancellationToken,
    /// Whether any of the kind's watches has listed its objects.
    pub(crate) has_listed: AtomicBool,
}

/// The watch of one namespace.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl<S> FeedTask<S> {
    /// Runs until the token is cancelled.
    pub(crate) async fn run<K>(self, namespaces: Namespaces, unsynced: Arc<Unsynced>)
    where
        K: Watched,
        S: Sink<K>,
    {
        let task = Arc::new(self);
        match namespaces {
            Namespaces::All => {
                let watch = Arc::clone(&task).watch::<K>(None, Some(unsynced));
                // Whether it was cancelled makes no difference.
                task.stop.run_until_cancelled(watch).await;
            }
            Namespaces::Set(mut set) => {
                let follow = Arc::clone(&task).follow::<K>(&mut set, unsynced);
                task.stop.run_until_cancelled(follow).await;
            }
        }
    }

    /// Starts and stops watches as namespaces come and go.
    async fn follow<K>(
        self: Arc<Self>,
        set: &mut watch::Receiver<Option<crate::namespaces::Set>>,
        unsynced: Arc<Unsynced>,
    ) where
        K: Watched,
        S: Sink<K>,
    {
        let mut unsynced = Some(unsynced);
        let mut running: BTreeMap<Arc<str>, Running> = BTreeMap::new();
        loop {
            let wanted = set.borrow_and_update().clone();
            if let Some(wanted) = wanted {
                let gone: Vec<Arc<str>> = running
                    .keys()
                    .filter(|namespace| !wanted.contains(*namespace))
                    .cloned()
                    .collect();
                for namespace in gone {
                    if let Some(watch) = running.remove(&namespace) {
                        watch.stop.cancel();
                        // Awaited, so that it applies nothing after the reset. A panic has been logged by the hook.
                        drop(watch.task.await);
                        self.forget::<K>(&namespace);
                    }
                }
                for namespace in wanted.iter() {
                    running
                        .entry(Arc::clone(namespace))
                        .or_insert_with(|| Arc::clone(&self).start::<K>(namespace, unsynced.clone()));
                }
                // Namespaces that come later are not waited for.
                unsynced = None;
            }
            if set.changed().await.is_err() {
                // The set is fixed.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Tells the sink that a namespace has left. A panic in it, which the hook has logged, must not end the following of all
    /// others.
    fn forget<K>(&self, namespace: &str)
    where
        K: Watched,
        S: Sink<K>,
    {
        let reset = || self.sink.reset(Some(namespace), &Listed::default());
        if catch_unwind(AssertUnwindSafe(reset)).is_err() {
            tracing::error!(
                kind = self.feed.name,
                namespace,
                "a panic while a namespace's objects were taken away: some may be left"
            );
        }
    }

    fn start<K>(self: Arc<Self>, namespace: &Arc<str>, unsynced: Option<Arc<Unsynced>>) -> Running
    where
        K: Watched,
        S: Sink<K>,
    {
        let stop = self.stop.child_token();
        let (namespace, until) = (Arc::clone(namespace), stop.clone());
        let task = tokio::spawn(async move {
            until
                .run_until_cancelled(self.watch::<K>(Some(namespace), unsynced))
                .await;
        });
        Running { stop, task }
    }

    /// One watch. Does not end by itself: where the sink panics, it is begun anew, and is waited for as before.
    async fn watch<K>(self: Arc<Self>, namespace: Option<Arc<str>>, unsynced: Option<Arc<Unsynced>>)
    where
        K: Watched,
        S: Sink<K>,
    {
        let health = Registered::new(&self.health);
        let client = transport::observed(&self.client, &health.watch);
        let api: Api<Guarded<K>> = match namespace.as_deref() {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let driver = Driver {
            sink: &*self.sink,
            health: &health.watch,
            within: namespace.as_deref(),
            kind: self.feed.name,
            resource: resource::<K>(),
        };
        let mut start = Start {
            unsynced,
            refused_since: None,
            is_required: self.feed.is_required,
            has_listed: &self.has_listed,
        };
        loop {
            let events = transport::events(
                api.clone(),
                self.feed.labels.as_deref(),
                self.feed.fields.as_deref(),
            );
            survive(&health.watch, driver.run(events, |step| start.take(step))).await;
        }
    }
}

/// Lets a watch run until it has to be begun anew, also where that is a panic in its sink: after a pause.
pub(crate) async fn survive(health: &WatchHealth, run: impl Future<Output = ()>) {
    // The hook has logged the panic.
    if AssertUnwindSafe(run).catch_unwind().await.is_err() {
        health.fails(Trouble {
            reason: Reason::Failed,
            text: "a panic while an object was taken over (see the log); all are listed anew".to_owned(),
        });
        sleep(LONGEST_PAUSE).await;
    }
}

/// What a watch is waited for with, until it has told enough.
struct Start<'a> {
    unsynced: Option<Arc<Unsynced>>,
    /// Since when every answer is a refusal.
    refused_since: Option<Instant>,
    is_required: bool,
    /// As in [`FeedTask`].
    has_listed: &'a AtomicBool,
}

impl Start<'_> {
    fn take(&mut self, step: Step) {
        let is_enough = match step {
            Step::Listed => {
                self.has_listed.store(true, Ordering::Relaxed);
                true
            }
            Step::Missing => !self.is_required,
            // A namespace that is deleted takes its role along: it must not keep the others from being served.
            Step::Forbidden => {
                let since = *self.refused_since.get_or_insert_with(Instant::now);
                let is_dispensable = !self.is_required || self.has_listed.load(Ordering::Relaxed);
                is_dispensable && since.elapsed() >= REFUSED_FOR
            }
        };
        if step != Step::Forbidden {
            self.refused_since = None;
        }
        if is_enough {
            self.unsynced = None;
        }
    }
}

/// A watch in its kind's health, for as long as it runs.
pub(crate) struct Registered {
    kind: Arc<KindHealth>,
    pub(crate) watch: Arc<WatchHealth>,
}

impl Registered {
    pub(crate) fn new(kind: &Arc<KindHealth>) -> Self {
        Self {
            kind: Arc::clone(kind),
            watch: kind.watch(),
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.kind.remove(&self.watch);
    }
}

/// What the API server calls the kind.
pub(crate) fn resource<K: Resource<DynamicType = ()>>() -> String {
    let (plural, group, version) = (K::plural(&()), K::group(&()), K::version(&()));
    if group.is_empty() {
        format!("{plural}/{version}")
    } else {
        format!("{plural}.{group}/{version}")
    }
}
