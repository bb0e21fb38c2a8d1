//! The index at work: told of objects from any thread, it publishes what changes to the data plane.
//!
//! Endpoints are published before `apply_…` returns, because a held request may be waiting for them. Routes are gathered:
//! the first change of a quiet time is published at once, further ones every [`COALESCE`], so that a thousand objects that
//! arrive together cost a few tables and not a thousand.
//!
//! A target is published before the first table whose routes use it, and withdrawn after the first table whose routes do
//! not.

use std::{
    collections::{BTreeSet, HashMap},
    fmt, mem,
    sync::Arc,
    time::Duration,
};

use ahash::RandomState;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use parking_lot::Mutex;
use rouse_api::{HTTPScaledObject, InterceptorRoute};
use rouse_routing::{Conflict, HostOwnership, Rejection, RouteId, RouteIndex, RouteSpec, RouteTable};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Changes, Index, ObjectKind, ObjectProblem, PlannedRoute};
use crate::plan::{RouteConfig, TargetConfig, TargetKey};

/// How far apart route tables are published.
pub(super) const COALESCE: Duration = Duration::from_millis(20);

/// How many conflicts are written to the log for one table; a thousand copies of one mistake are one mistake.
const MAX_LOGGED: usize = 20;

/// How many conflicts are looked at after each table. One object can have thousands; they must not slow the others' changes.
const MAX_CONFLICTS: usize = 1_000;

/// Takes over what changed. Implemented over the data plane's live state; called with the index locked, so it must not
/// block and must not call the handle.
pub trait Publisher: fmt::Debug + Send + Sync + 'static {
    /// What a lookup in the route table returns: the route's live state, compared by identity.
    type Route: Clone + PartialEq + fmt::Debug + Send + Sync + 'static;

    /// Targets are new or different, or no route in the published table uses them any longer.
    fn targets(&self, upserted: &[(TargetKey, TargetConfig)], removed: &[TargetKey]);

    /// The live state of a route, which is made or brought up to date. The targets that it names were published before.
    /// The table that has it follows.
    fn route(&self, config: &RouteConfig) -> Self::Route;

    /// Routes are matched by this table from now on. Those in `removed` are in it no longer.
    fn routes(&self, table: Arc<RouteTable<Self::Route>>, removed: &[RouteId]);

    /// The feed has told of everything that exists, and all of it is published. Called once.
    fn synced(&self) {}
}

/// What feeds call. Cheap to clone; any thread may call it.
#[derive(Debug, Clone)]
pub struct IndexHandle(Arc<dyn Feed>);

/// The handle's inside, without the publisher's type.
trait Feed: fmt::Debug + Send + Sync {
    fn change(&self, change: &mut dyn FnMut(&mut Index) -> Changes);
    fn read(&self, read: &mut dyn FnMut(&Index));
    fn synced(&self);
    fn problems(&self) -> Vec<ObjectProblem>;
    fn stats(&self) -> IndexStats;
}

/// The index in numbers, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexStats {
    /// Routes that are served.
    pub routes: usize,
    /// Targets that routes use.
    pub targets: usize,
    /// Objects that cannot be served as they are.
    pub problems: usize,
    /// Matches that a route claims and another gets; counted up to 1,000.
    pub conflicts: usize,
    /// Route tables published.
    pub tables: u64,
    /// How long it took to build the last one.
    pub last_table_build: Duration,
    /// How long building all of them took.
    pub table_build_total: Duration,
    /// When the feed last told of anything, if ever.
    pub last_input: Option<Instant>,
}

/// Publishes the route tables; see [`TablePublisher::run`].
#[derive(Debug)]
pub struct TablePublisher<P: Publisher>(Arc<Shared<P>>);

#[derive(Debug)]
struct Shared<P: Publisher> {
    publisher: P,
    /// The index and what waits for the next table. Held while endpoints are published, so that they are published in
    /// the order in which they came; never while a table is built.
    state: Mutex<Waiting>,
    /// The route tables' builder. Locked before `state` where both are.
    tables: Mutex<Tables<P::Route>>,
    /// Something waits for the next table.
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    index: Index,
    /// What becomes of each route with the next table; `None`: it goes. Bounded by the routes that there are and were.
    routes: HashMap<RouteId, Option<Arc<PlannedRoute>>, RandomState>,
    /// Targets to withdraw, and after which batch of routes.
    removed_targets: HashMap<TargetKey, u64, RandomState>,
    /// The batch of routes being gathered.
    batch: u64,
    synced: Synced,
    last_input: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Synced {
    #[default]
    No,
    /// The feed has said so; the publisher is told after the next table.
    Asked,
    Told,
}

#[derive(Debug)]
struct Tables<T> {
    routes: RouteIndex<T>,
    conflicts: BTreeSet<Conflict>,
    rejections: BTreeSet<RejectedRoute>,
    published: u64,
    last_build: Duration,
    build_total: Duration,
}

impl IndexHandle {
    /// An empty index that publishes to `publisher`. Routes are published while [`TablePublisher::run`] runs.
    pub fn new<P: Publisher>(publisher: P, ownership: HostOwnership) -> (Self, TablePublisher<P>) {
        let shared = Arc::new(Shared {
            publisher,
            state: Mutex::new(Waiting::default()),
            tables: Mutex::new(Tables {
                routes: RouteIndex::new(ownership),
                conflicts: BTreeSet::new(),
                rejections: BTreeSet::new(),
                published: 0,
                last_build: Duration::ZERO,
                build_total: Duration::ZERO,
            }),
            wake: Notify::new(),
        });
        let feed: Arc<dyn Feed> = Arc::<Shared<P>>::clone(&shared);
        (Self(feed), TablePublisher(shared))
    }

    /// An HTTPScaledObject exists, as it is now.
    #[expect(clippy::needless_pass_by_value, reason = "a feed hands its objects over")]
    pub fn apply_http_scaled_object(&self, object: HTTPScaledObject) {
        self.0
            .change(&mut |index| index.apply_http_scaled_object(&object));
    }

    /// An InterceptorRoute exists, as it is now.
    #[expect(clippy::needless_pass_by_value, reason = "a feed hands its objects over")]
    pub fn apply_interceptor_route(&self, object: InterceptorRoute) {
        self.0.change(&mut |index| index.apply_interceptor_route(&object));
    }

    /// A Service exists, as it is now.
    #[expect(clippy::needless_pass_by_value, reason = "a feed hands its objects over")]
    pub fn apply_service(&self, object: Service) {
        self.0.change(&mut |index| index.apply_service(&object));
    }

    /// An EndpointSlice exists, as it is now.
    #[expect(clippy::needless_pass_by_value, reason = "a feed hands its objects over")]
    pub fn apply_endpoint_slice(&self, object: EndpointSlice) {
        self.0.change(&mut |index| index.apply_endpoint_slice(&object));
    }

    /// An HTTPScaledObject is gone.
    pub fn delete_http_scaled_object(&self, namespace: &str, name: &str) {
        self.0
            .change(&mut |index| index.delete_http_scaled_object(namespace, name));
    }

    /// An InterceptorRoute is gone.
    pub fn delete_interceptor_route(&self, namespace: &str, name: &str) {
        self.0
            .change(&mut |index| index.delete_interceptor_route(namespace, name));
    }

    /// A Service is gone.
    pub fn delete_service(&self, namespace: &str, name: &str) {
        self.0.change(&mut |index| index.delete_service(namespace, name));
    }

    /// An EndpointSlice is gone.
    pub fn delete_endpoint_slice(&self, namespace: &str, name: &str) {
        self.0
            .change(&mut |index| index.delete_endpoint_slice(namespace, name));
    }

    /// Whether a pod of the Service waits for a node to be provisioned.
    pub fn set_waiting_for_node(&self, namespace: &str, service: &str, is_waiting: bool) {
        self.0
            .change(&mut |index| index.set_waiting_for_node(namespace, service, is_waiting));
    }

    /// The feed has told of everything that exists. The publisher hears of it when all of it is published.
    pub fn synced(&self) {
        self.0.synced();
    }

    /// The objects of a kind that it was told of, as [`Index::names`].
    pub fn names(&self, kind: ObjectKind, within: Option<&str>) -> Vec<(Arc<str>, Arc<str>)> {
        let mut names = Vec::new();
        self.0.read(&mut |index| names = index.names(kind, within));
        names
    }

    /// How many objects of a kind it was told of.
    pub fn count(&self, kind: ObjectKind) -> usize {
        let mut count = 0;
        self.0.read(&mut |index| count = index.count(kind));
        count
    }

    /// What is wrong with objects that cannot be served as they are, by object.
    pub fn problems(&self) -> Vec<ObjectProblem> {
        self.0.problems()
    }

    /// The index in numbers.
    pub fn stats(&self) -> IndexStats {
        self.0.stats()
    }
}

impl<P: Publisher> Feed for Shared<P> {
    fn change(&self, change: &mut dyn FnMut(&mut Index) -> Changes) {
        let mut state = self.state.lock();
        state.last_input = Some(Instant::now());
        let changes = change(&mut state.index);
        if !changes.targets_upserted.is_empty() {
            self.publisher.targets(&changes.targets_upserted, &[]);
        }
        let has_table_news = state.gather(&changes);
        drop(state);
        if has_table_news {
            self.wake.notify_one();
        }
        // The log may be slow; nobody waits for it here but the feed.
        if let Some(problem) = &changes.problem {
            tracing::warn!("not served as it is now: {problem}");
        }
        if let Some(warning) = &changes.warning {
            tracing::warn!("{warning}");
        }
    }

    fn read(&self, read: &mut dyn FnMut(&Index)) {
        read(&self.state.lock().index);
    }

    fn synced(&self) {
        let mut state = self.state.lock();
        if state.synced == Synced::No {
            state.synced = Synced::Asked;
            self.wake.notify_one();
        }
    }

    fn problems(&self) -> Vec<ObjectProblem> {
        let mut problems: Vec<_> = self.state.lock().index.problems().cloned().collect();
        problems.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
        problems
    }

    fn stats(&self) -> IndexStats {
        let tables = self.tables.lock();
        let state = self.state.lock();
        IndexStats {
            routes: state.index.route_count(),
            targets: state.index.target_count(),
            problems: state.index.problems().count(),
            conflicts: tables.conflicts.len(),
            tables: tables.published,
            last_table_build: tables.last_build,
            table_build_total: tables.build_total,
            last_input: state.last_input,
        }
    }
}

impl Waiting {
    /// Puts down what has to wait for the next table. Says whether there is any.
    fn gather(&mut self, changes: &Changes) -> bool {
        let has_news = !changes.routes_upserted.is_empty()
            || !changes.routes_removed.is_empty()
            || !changes.targets_removed.is_empty();
        for (key, _) in &changes.targets_upserted {
            self.removed_targets.remove(key);
        }
        let batch = self.batch;
        self.removed_targets
            .extend(changes.targets_removed.iter().map(|key| (key.clone(), batch)));
        self.routes
            .extend(changes.routes_removed.iter().map(|id| (id.clone(), None)));
        self.routes.extend(
            changes
                .routes_upserted
                .iter()
                .map(|route| (route.config.id.clone(), Some(Arc::clone(route)))),
        );
        has_news
    }
}

impl<P: Publisher> TablePublisher<P> {
    /// Publishes route tables until `stop`. Runs once, on the control runtime.
    pub async fn run(self, stop: CancellationToken) {
        let mut earliest = Instant::now();
        loop {
            let next = async {
                self.0.wake.notified().await;
                tokio::time::sleep_until(earliest).await;
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = next => {}
            }
            self.0.publish_table();
            earliest = Instant::now() + COALESCE;
        }
    }
}

impl<P: Publisher> Shared<P> {
    /// Builds and publishes the table of the routes gathered so far, then withdraws the targets it no longer uses.
    fn publish_table(&self) {
        let mut tables = self.tables.lock();
        let (routes, batch, synced) = {
            let mut state = self.state.lock();
            let batch = state.batch;
            state.batch += 1;
            (mem::take(&mut state.routes), batch, state.synced)
        };

        let started = Instant::now();
        let mut removed = Vec::new();
        for (id, planned) in routes {
            if let Some(planned) = planned {
                tables.routes.apply(RouteSpec {
                    value: self.publisher.route(&planned.config),
                    id,
                    created: planned.created,
                    rules: planned.rules.clone(),
                });
            } else {
                tables.routes.remove(&id);
                removed.push(id);
            }
        }
        let table = tables.routes.table();
        let took = started.elapsed();
        tables.last_build = took;
        tables.build_total += took;
        tables.published += 1;
        self.publisher.routes(table, &removed);
        tables.log_news();

        let mut state = self.state.lock();
        // What was put down after this batch was taken waits for the next table.
        let withdrawn: Vec<TargetKey> = state
            .removed_targets
            .extract_if(|_, after| *after <= batch)
            .map(|(key, _)| key)
            .collect();
        if !withdrawn.is_empty() {
            self.publisher.targets(&[], &withdrawn);
        }
        if synced == Synced::Asked {
            state.synced = Synced::Told;
            self.publisher.synced();
        }
    }
}

impl<T: Clone> Tables<T> {
    /// Writes to the log what is not served, when it is new.
    fn log_news(&mut self) {
        let conflicts: BTreeSet<Conflict> = self.routes.conflicts().take(MAX_CONFLICTS).cloned().collect();
        log(conflicts.difference(&self.conflicts));
        self.conflicts = conflicts;

        let rejections: BTreeSet<RejectedRoute> = self
            .routes
            .rejections()
            .take(MAX_CONFLICTS)
            .map(|(id, rejection)| RejectedRoute(id.clone(), rejection.clone()))
            .collect();
        log(rejections.difference(&self.rejections));
        self.rejections = rejections;
    }
}

/// Writes the first few to the log, and how many more there are.
fn log(news: impl Iterator<Item: fmt::Display>) {
    let mut more = 0;
    for (position, news) in news.enumerate() {
        if position < MAX_LOGGED {
            tracing::warn!("{news}");
        } else {
            more += 1;
        }
    }
    if more > 0 {
        tracing::warn!("{more} more of this kind");
    }
}

/// What of a route can never be served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct RejectedRoute(RouteId, Rejection);

impl fmt::Display for RejectedRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(id, rejection) = self;
        write!(f, "{} {id}: {rejection}", id.kind)
    }
}

#[cfg(test)]
mod tests;
