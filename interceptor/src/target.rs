//! A target: the Service port that routes send to, with its endpoints and the gate in front of them.
//!
//! Endpoints change far more often than routes and live here, outside the route table: a change of one pod touches
//! one target. Requests read the endpoints through one `ArcSwap`; the gate's lock is taken only when requests wait.

mod driver;

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use rouse_routing::RouteId;
use tokio::{runtime::Handle, sync::Notify, time::Instant};
use tower::retry::budget::TpsBudget;

use crate::{
    endpoint::Endpoint,
    gate::{Gate, Ticket},
    plan::{TargetConfig, TargetKey, TargetProblem},
    pool::{Dialer, IdleLimits},
    random,
    worker::WorkerId,
};

/// Retries may be a fifth of the requests of the last ten seconds, and ten per second always.
const RETRY_SHARE: f32 = 0.2;
const RETRY_MIN_PER_SECOND: u32 = 10;
const RETRY_WINDOW: Duration = Duration::from_secs(10);

/// What all targets share.
#[derive(Debug)]
pub(crate) struct TargetSettings {
    /// The workers' runtimes, known once they have started: a gate's driver runs on one of them.
    runtimes: OnceLock<Vec<Handle>>,
    /// How many workers there are.
    pub(crate) workers: usize,
    /// The bounds on idle connections to endpoints.
    idle: Arc<IdleLimits>,
    /// Opens connections to endpoints.
    pub(crate) dialer: Dialer,
}

impl TargetSettings {
    pub(crate) fn new(workers: usize, idle: Arc<IdleLimits>, dialer: Dialer) -> Self {
        Self {
            runtimes: OnceLock::new(),
            workers,
            idle,
            dialer,
        }
    }

    /// The workers have started. Called once, before the first target is made.
    pub(crate) fn set_workers(&self, runtimes: Vec<Handle>) {
        if self.runtimes.set(runtimes).is_err() {
            tracing::error!("the workers were started twice");
        }
    }

    fn runtime(&self, worker: WorkerId) -> Option<Handle> {
        self.runtimes.get()?.get(worker.0).cloned()
    }
}

/// The endpoints of a target at one moment.
#[derive(Debug, Default)]
pub(crate) struct EndpointSet {
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) problem: Option<TargetProblem>,
}

/// A Service port, its endpoints, and the requests that wait for them.
pub(crate) struct Target {
    key: TargetKey,
    settings: Arc<TargetSettings>,
    endpoints: ArcSwap<EndpointSet>,
    gate: Gate,
    waiting_for_node: AtomicBool,
    /// Raised each time the target gains its first ready endpoint: a wake that began before is over.
    ready_generation: AtomicU64,
    retry_budget: TpsBudget,
    driving: AtomicBool,
    /// Wakes the driver: endpoints changed, one failed, or nobody waits any longer.
    changed: Notify,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("key", &self.key)
            .field("waiting", &self.gate.len())
            .finish_non_exhaustive()
    }
}

impl Target {
    pub(crate) fn new(key: TargetKey, settings: Arc<TargetSettings>) -> Arc<Self> {
        Arc::new(Self {
            key,
            settings,
            endpoints: ArcSwap::default(),
            gate: Gate::default(),
            waiting_for_node: AtomicBool::new(false),
            ready_generation: AtomicU64::new(0),
            retry_budget: TpsBudget::new(RETRY_WINDOW, RETRY_MIN_PER_SECOND, RETRY_SHARE),
            driving: AtomicBool::new(false),
            changed: Notify::new(),
        })
    }

    pub(crate) fn key(&self) -> &TargetKey {
        &self.key
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(crate) fn retry_budget(&self) -> &TpsBudget {
        &self.retry_budget
    }

    pub(crate) fn endpoints(&self) -> arc_swap::Guard<Arc<EndpointSet>> {
        self.endpoints.load()
    }

    /// Endpoints that are ready, quarantined ones included.
    pub(crate) fn ready_count(&self) -> usize {
        self.endpoints.load().endpoints.len()
    }

    pub(crate) fn is_waiting_for_node(&self) -> bool {
        self.waiting_for_node.load(Ordering::Relaxed)
    }

    pub(crate) fn ready_generation(&self) -> u64 {
        self.ready_generation.load(Ordering::Acquire)
    }

    /// Takes over a new state. Endpoints that stay keep their connections and their record; those that go are
    /// retired. Whoever waits is served at once.
    pub(crate) fn update(self: &Arc<Self>, config: &TargetConfig) {
        self.waiting_for_node
            .store(config.waiting_for_node, Ordering::Relaxed);
        let old = self.endpoints.load_full();
        let known = |addr: SocketAddr| {
            old.endpoints
                .iter()
                .find(|endpoint| endpoint.addr() == addr && endpoint.protocol() == config.protocol)
                .map(Arc::clone)
        };
        let endpoints: Vec<_> = config
            .ready
            .iter()
            .map(|&addr| {
                known(addr).unwrap_or_else(|| {
                    Arc::new(Endpoint::new(
                        addr,
                        config.protocol,
                        self.settings.workers,
                        &self.settings.idle,
                    ))
                })
            })
            .collect();
        let gone: Vec<_> = old
            .endpoints
            .iter()
            .filter(|endpoint| !endpoints.iter().any(|kept| Arc::ptr_eq(kept, endpoint)))
            .map(Arc::clone)
            .collect();
        let first = old.endpoints.is_empty() && !endpoints.is_empty();
        self.endpoints.store(Arc::new(EndpointSet {
            endpoints,
            problem: config.problem,
        }));
        if first {
            self.ready_generation.fetch_add(1, Ordering::AcqRel);
        }
        for endpoint in gone {
            endpoint.retire();
        }
        self.pump(Instant::now());
        self.wake_driver();
    }

    /// An endpoint for a request that need not wait: power of two choices on requests in flight, among those not in
    /// quarantine; one whose quarantine is over gets a single request until it has shown what it does with it. `None` when
    /// there is none, or when others wait already.
    pub(crate) fn pick(&self, now: Instant) -> Option<Arc<Endpoint>> {
        if !self.gate.is_empty() {
            return None;
        }
        let set = self.endpoints.load();
        let endpoints = &set.endpoints;
        let taken = |endpoint: &&Arc<Endpoint>| endpoint.try_take(now);
        let picked = match endpoints.as_slice() {
            [] => None,
            [only] => Some(only).filter(taken),
            many => {
                let (first, second) = random::two_below(many.len());
                let (first, second) = (&many[first], &many[second]);
                let (fewer, more) = if second.in_flight() < first.in_flight() {
                    (second, first)
                } else {
                    (first, second)
                };
                let one_of_two = [fewer, more].into_iter().find(taken);
                one_of_two.or_else(|| {
                    many.iter()
                        .filter(|endpoint| endpoint.is_usable(now))
                        .min_by_key(|endpoint| endpoint.in_flight())
                        .filter(taken)
                })
            }
        };
        picked.map(Arc::clone)
    }

    /// Whether some endpoint may be tried now.
    pub(crate) fn has_usable_endpoint(&self, now: Instant) -> bool {
        self.endpoints
            .load()
            .endpoints
            .iter()
            .any(|endpoint| endpoint.is_usable(now))
    }

    /// Waits in the gate from now on: joins the queue and makes sure that it is served.
    pub(crate) fn wait(self: &Arc<Self>, route: &RouteId, sequence: u64, window: u32) -> Ticket {
        let ticket = self.gate.enqueue(self, route, sequence, window);
        // An endpoint may have come between the look that found none and the place in the queue.
        self.pump(Instant::now());
        self.ensure_driver();
        ticket
    }

    /// Gives waiting requests to the endpoints that have room for them.
    pub(crate) fn pump(self: &Arc<Self>, now: Instant) {
        if self.gate.is_empty() {
            return;
        }
        let set = self.endpoints.load();
        let usable: Vec<_> = set
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.is_usable(now))
            .map(Arc::clone)
            .collect();
        if !usable.is_empty() {
            self.gate.pump(self, &usable);
        }
    }

    pub(crate) fn wake_driver(&self) {
        self.changed.notify_one();
    }

    /// Starts the gate's driver where none runs.
    fn ensure_driver(self: &Arc<Self>) {
        if self.gate.is_empty() || self.driving.swap(true, Ordering::AcqRel) {
            return;
        }
        driver::spawn(Arc::clone(self));
    }

    /// The worker on whose runtime the driver runs: spread over the workers by the target's name.
    fn home(&self) -> WorkerId {
        let hash = self
            .key
            .service
            .bytes()
            .chain(self.key.namespace.bytes())
            .fold(0_usize, |hash, byte| {
                hash.wrapping_mul(31).wrapping_add(byte.into())
            });
        WorkerId(hash % self.settings.workers.max(1))
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::metrics::Metrics;

    /// One worker that has not started, so that no driver runs: tests turn the wheel themselves.
    pub(crate) fn settings() -> TargetSettings {
        let idle = IdleLimits::new(1, 1, 1, Duration::from_secs(1));
        let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
        TargetSettings::new(1, idle, Dialer::new(Duration::from_secs(1), metrics))
    }
}

#[cfg(test)]
mod tests;
