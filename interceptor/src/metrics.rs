//! What the interceptor counts, under the add-on's names where the add-on has one, under `rouse_interceptor_…` otherwise.
//!
//! A route's series hang from a [`RouteMetrics`] that lives in the route's state: counting is a search through a handful
//! of slots and two atomic additions, without a lock, a hash or an allocation. Everything is put into text by collectors
//! when somebody asks, on the control runtime. Series of a route go when its last [`RouteMetrics`] goes.
//!
//! What exists as state anyway is not counted twice: collectors read it from the load hub, the index and the process.

mod collectors;
mod histogram;
mod route;
mod slots;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ahash::RandomState;
use http::{Method, StatusCode};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use rouse_routing::RouteId;

pub use self::{collectors::ProcessGauges, route::RouteMetrics};
use self::{
    histogram::{CONNECT_BOUNDS, HOLD_BOUNDS, Histogram},
    route::RouteSeries,
    slots::Slots,
};
use crate::{index::IndexHandle, load::LoadHub};

/// Namespace and name: the labels by which the add-on tells routes apart.
type RouteName = (Arc<str>, Arc<str>);

/// Routes' series, for as long as somebody counts in them.
type RouteMap = Mutex<HashMap<RouteName, Weak<RouteSeries>, RandomState>>;

/// How a hold ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldOutcome {
    /// An endpoint took the request.
    Served,
    /// The client left.
    Abandoned,
    /// The readiness timeout was over.
    Timeout,
    /// Anything else: the route went, the target cannot be resolved, the process ended.
    Failed,
}

impl HoldOutcome {
    const ALL: [Self; 4] = [Self::Served, Self::Abandoned, Self::Timeout, Self::Failed];

    fn label(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Abandoned => "abandoned",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
        }
    }
}

/// How an attempt to connect to an endpoint ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectOutcome {
    /// There is a connection.
    Connected,
    /// Nobody listens there.
    Refused,
    /// The connect timeout was over.
    Timeout,
    /// Anything else.
    Failed,
}

impl ConnectOutcome {
    const ALL: [Self; 4] = [Self::Connected, Self::Refused, Self::Timeout, Self::Failed];

    fn label(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
        }
    }
}

/// The interceptor's metrics; a handle, cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    routes: Arc<RouteMap>,
    /// Requests that found no route: empty labels, as the add-on has it.
    unrouted: RouteMetrics,
    /// Answers that Rouse made itself, by reason.
    answers: Slots<&'static str, AtomicU64>,
    /// Holds of all routes, by outcome.
    holds: [Histogram; HoldOutcome::ALL.len()],
    connects: [AtomicU64; ConnectOutcome::ALL.len()],
    connect_duration: Histogram,
    retry_budget_exhausted: AtomicU64,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            routes: Arc::default(),
            unrouted: RouteMetrics::default(),
            answers: Slots::new(),
            holds: HoldOutcome::ALL.map(|_| Histogram::new(HOLD_BOUNDS)),
            connects: ConnectOutcome::ALL.map(|_| AtomicU64::new(0)),
            connect_duration: Histogram::new(CONNECT_BOUNDS),
            retry_budget_exhausted: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// Metrics that `registry` shows.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register_collector(Box::new(collectors::Counted(metrics.clone())));
        metrics
    }

    /// Shows the routes' concurrency and held requests, and the load streams.
    pub fn observe_load(registry: &mut Registry, hub: LoadHub) {
        registry.register_collector(Box::new(collectors::Load(hub)));
    }

    /// Shows how many routes and targets there are, and the route tables.
    pub fn observe_index(registry: &mut Registry, index: IndexHandle) {
        registry.register_collector(Box::new(collectors::Index(index)));
    }

    /// Shows what the process as a whole holds.
    pub fn observe_process(
        registry: &mut Registry,
        gauges: impl Fn() -> ProcessGauges + Send + Sync + 'static,
    ) {
        registry.register_collector(Box::new(collectors::Process(Box::new(gauges))));
    }

    /// The metrics of a route. Keep them in the route's state: its series last as long as they do. Two kinds of object
    /// with one name share their series, because the labels have no kind.
    pub fn for_route(&self, id: &RouteId) -> RouteMetrics {
        let name = (Arc::clone(&id.namespace), Arc::clone(&id.name));
        let mut routes = self.0.routes.lock();
        if let Some(series) = routes.get(&name).and_then(Weak::upgrade) {
            return RouteMetrics::new(series, &self.0);
        }
        let series = Arc::new(RouteSeries::new(name.clone(), Arc::downgrade(&self.0.routes)));
        routes.insert(name, Arc::downgrade(&series));
        RouteMetrics::new(series, &self.0)
    }

    /// A request that found no route was answered.
    pub fn unrouted(&self, method: &Method, status: StatusCode, reason: &'static str) {
        // Nothing was waited for.
        self.0
            .unrouted
            .request_ended(method, Some(status), Duration::ZERO, false);
        self.own_answer(reason);
    }

    /// Rouse itself answered a request; `reason` is the `rouse-error` header's.
    pub fn own_answer(&self, reason: &'static str) {
        // Reasons are a closed set, and a small one.
        if let Some(count) = self.0.answers.get_or_insert(reason, AtomicU64::default) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An attempt to connect to an endpoint ended after `took`.
    pub fn connect_ended(&self, took: Duration, outcome: ConnectOutcome) {
        self.0.connects[outcome as usize].fetch_add(1, Ordering::Relaxed);
        if outcome == ConnectOutcome::Connected {
            self.0.connect_duration.observe(took);
        }
    }

    /// A request was not sent again because too many were.
    pub fn retry_budget_exhausted(&self) {
        self.0.retry_budget_exhausted.fetch_add(1, Ordering::Relaxed);
    }

    /// The series of the routes that there are, by namespace and name.
    fn series(&self) -> Vec<Arc<RouteSeries>> {
        // Upgraded under the lock and dropped after it: dropping the last one locks again.
        let mut series: Vec<_> = self.0.routes.lock().values().filter_map(Weak::upgrade).collect();
        series.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        series
    }
}

impl Inner {
    fn hold_ended(&self, took: Duration, outcome: HoldOutcome) {
        self.holds[outcome as usize].observe(took);
    }
}
