//! What the request path shares: the current route table, the live routes and targets, the process-wide bounds.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use parking_lot::Mutex;
use rouse_routing::{RouteId, RouteTable};
use tokio::{sync::watch, time::Instant};

use crate::{
    config::Config,
    gate::bounds::ProcessBounds,
    load::LoadHub,
    metrics::{Metrics, ProcessGauges},
    plan::TargetKey,
    route::RouteState,
    target::{Target, TargetSettings},
    worker::WorkerHandle,
};

/// The data plane's shared state. Requests read `table` and what hangs from it; the maps are for the control side.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) table: ArcSwap<RouteTable<Arc<RouteState>>>,
    /// Rises after each new table, for requests whose route is gone.
    pub(crate) tables: watch::Sender<u64>,
    pub(crate) routes: DashMap<RouteId, Arc<RouteState>, ahash::RandomState>,
    pub(crate) targets: DashMap<TargetKey, Arc<Target>, ahash::RandomState>,
    pub(crate) bounds: Arc<ProcessBounds>,
    pub(crate) hub: LoadHub,
    pub(crate) metrics: Metrics,
    pub(crate) target_settings: Arc<TargetSettings>,
    /// Wakes that have begun and are not known to be over.
    wakes: Mutex<Vec<Weak<RouteState>>>,
}

impl State {
    pub(crate) fn new(
        config: Config,
        hub: LoadHub,
        metrics: Metrics,
        target_settings: TargetSettings,
    ) -> Arc<Self> {
        let bounds = ProcessBounds::new(config.pending.total, config.pending.bytes);
        Arc::new(Self {
            config,
            table: ArcSwap::from_pointee(RouteTable::default()),
            tables: watch::Sender::default(),
            routes: DashMap::default(),
            targets: DashMap::default(),
            bounds: Arc::new(bounds),
            hub,
            metrics,
            target_settings: Arc::new(target_settings),
            wakes: Mutex::default(),
        })
    }

    /// A wake has begun: it is demand until it is over, and somebody has to notice that.
    pub(crate) fn note_wake(&self, route: &Arc<RouteState>) {
        self.wakes.lock().push(Arc::downgrade(route));
    }

    /// Tells the scalers of wakes that are over: the target was ready, or the longest hold has passed.
    pub(crate) fn end_wakes(&self, now: Instant) {
        self.wakes.lock().retain(|route| {
            let Some(route) = route.upgrade() else {
                return false;
            };
            let waking = route.is_waking(now);
            if !waking {
                route.end_wake(now);
                route.report();
            }
            waking
        });
    }

    /// What is held right now, for metrics.
    pub(crate) fn gauges(&self, workers: &[WorkerHandle]) -> ProcessGauges {
        let mut gauges = ProcessGauges {
            downstream_connections: workers
                .iter()
                .map(|worker| worker.open_connections() as u64)
                .sum(),
            downstream_connections_accepted: workers.iter().map(WorkerHandle::accepted_connections).sum(),
            panics: workers.iter().map(WorkerHandle::panics).sum(),
            pending_bytes: self.bounds.bytes(),
            ..ProcessGauges::default()
        };
        for target in &self.targets {
            for endpoint in &target.endpoints().endpoints {
                gauges.upstream_in_flight_requests += endpoint.in_flight() as u64;
                gauges.upstream_idle_connections += endpoint.pool().idle() as u64;
            }
        }
        gauges
    }

    /// Closes upstream connections that have been idle too long.
    pub(crate) fn evict_idle_connections(&self, now: Instant) {
        for target in &self.targets {
            for endpoint in &target.endpoints().endpoints {
                endpoint.pool().evict_idle(now);
            }
        }
    }
}
