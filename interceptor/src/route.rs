//! A route's live state: its counters, its settings, its wake. It outlives route tables: a change of the route swaps
//! its settings, requests in flight keep counting.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use rouse_routing::RouteId;
use tokio::time::Instant;

use crate::{
    config::{Config, EffectiveTimeouts},
    load::{DEFAULT_RATE_WINDOW, LoadHub, LoadMark, LoadSource, RateRing, RouteLoadSample},
    metrics::RouteMetrics,
    plan::RouteConfig,
    target::Target,
};

/// What a request needs to know of its route, resolved when the route changes.
#[derive(Debug)]
pub(crate) struct RouteSettings {
    pub(crate) target: Arc<Target>,
    pub(crate) fallback: Option<Arc<Target>>,
    pub(crate) timeouts: EffectiveTimeouts,
    /// How many requests may be held.
    pub(crate) max_pending: usize,
    /// Requests that one endpoint is given at once when a hold ends.
    pub(crate) pace_window: u32,
}

/// The pacing window of routes that scale on rate only.
const DEFAULT_PACE_WINDOW: u32 = 100;

impl RouteSettings {
    pub(crate) fn new(
        config: &RouteConfig,
        defaults: &Config,
        target: Arc<Target>,
        fallback: Option<Arc<Target>>,
    ) -> Self {
        Self {
            target,
            fallback,
            timeouts: defaults.timeouts.for_route(config),
            max_pending: defaults.pending.for_route(config),
            pace_window: config.concurrency_target.unwrap_or(DEFAULT_PACE_WINDOW),
        }
    }
}

/// A wake that has begun, for a target that has not been ready since.
#[derive(Debug)]
struct Wake {
    /// The target's [`Target::ready_generation`] when the wake began, plus one; zero while there is none.
    generation: AtomicU64,
    /// When the wake ceases to be demand, in milliseconds after the route's epoch.
    until_ms: AtomicU64,
}

/// A route's live state.
#[derive(Debug)]
pub(crate) struct RouteState {
    id: RouteId,
    settings: ArcSwap<RouteSettings>,
    /// Requests held and in flight.
    concurrency: AtomicU64,
    /// Requests held; raised and lowered by [`crate::gate::bounds`].
    pub(crate) pending: AtomicU64,
    /// Matched arrivals.
    requests: AtomicU64,
    rate: RateRing,
    wake: Wake,
    mark: LoadMark,
    removed: AtomicBool,
    pub(crate) metrics: RouteMetrics,
    hub: LoadHub,
    epoch: Instant,
}

/// A route is itself: the table is rebuilt when another takes its place, not when its counters move.
impl PartialEq for RouteState {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl RouteState {
    pub(crate) fn new(
        id: RouteId,
        rate_window: Option<Duration>,
        settings: RouteSettings,
        metrics: RouteMetrics,
        hub: LoadHub,
    ) -> Self {
        Self {
            id,
            settings: ArcSwap::from_pointee(settings),
            concurrency: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            rate: RateRing::new(rate_window.unwrap_or(DEFAULT_RATE_WINDOW), Instant::now()),
            wake: Wake {
                generation: AtomicU64::new(0),
                until_ms: AtomicU64::new(0),
            },
            mark: LoadMark::new(),
            removed: AtomicBool::new(false),
            metrics,
            hub,
            epoch: Instant::now(),
        }
    }

    pub(crate) fn id(&self) -> &RouteId {
        &self.id
    }

    pub(crate) fn settings(&self) -> Arc<RouteSettings> {
        self.settings.load_full()
    }

    /// Takes over new settings and returns the old ones.
    pub(crate) fn update(&self, settings: RouteSettings) -> Arc<RouteSettings> {
        self.settings.swap(Arc::new(settings))
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    pub(crate) fn remove(&self) {
        self.removed.store(true, Ordering::Release);
    }

    /// Counts an arrival.
    pub(crate) fn arrive(self: &Arc<Self>, now: Instant) {
        self.concurrency.fetch_add(1, Ordering::AcqRel);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.rate.add(now);
        self.hub.mark_dirty(self);
    }

    /// Ends what [`RouteState::arrive`] began.
    pub(crate) fn leave(self: &Arc<Self>) {
        self.concurrency.fetch_sub(1, Ordering::AcqRel);
        self.hub.mark_dirty(self);
    }

    /// Tells the scalers at once: a request has met a target at zero.
    pub(crate) fn report_edge(self: &Arc<Self>) {
        self.hub.edge(self);
    }

    /// Tells the scalers with the next gathered report.
    pub(crate) fn report(self: &Arc<Self>) {
        self.hub.mark_dirty(self);
    }

    pub(crate) fn concurrency(&self) -> u64 {
        self.concurrency.load(Ordering::Relaxed)
    }

    /// A request meets a target at zero: demand from now on until the target has been ready once or `hold` is over,
    /// even when every client leaves. `generation` is the target's as it was before it was seen to be at zero. Returns
    /// whether a wake begins with this request.
    pub(crate) fn begin_wake(&self, generation: u64, hold: Duration, now: Instant) -> bool {
        let until = self.millis(now) + hold.as_millis() as u64;
        self.wake.until_ms.fetch_max(until, Ordering::AcqRel);
        let generation = generation + 1;
        self.wake.generation.swap(generation, Ordering::AcqRel) != generation
    }

    /// Whether a wake has begun, is not over, and its target has not been ready since.
    pub(crate) fn is_waking(&self, now: Instant) -> bool {
        let generation = self.wake.generation.load(Ordering::Acquire);
        generation != 0
            && generation == self.settings.load().target.ready_generation() + 1
            && self.millis(now) < self.wake.until_ms.load(Ordering::Acquire)
    }

    /// Forgets a wake that is over, so that a later request begins a new one.
    pub(crate) fn end_wake(&self, now: Instant) {
        let generation = self.wake.generation.load(Ordering::Acquire);
        // Not one that has begun since the caller looked.
        if !self.is_waking(now) {
            let _begun_anew =
                self.wake
                    .generation
                    .compare_exchange(generation, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_millis() as u64
    }
}

impl LoadSource for RouteState {
    fn id(&self) -> &RouteId {
        &self.id
    }

    fn load(&self) -> RouteLoadSample {
        RouteLoadSample {
            concurrency: self.concurrency.load(Ordering::Acquire),
            pending: self.pending.load(Ordering::Acquire),
            requests_total: self.requests.load(Ordering::Relaxed),
            // Placeholders are not served yet.
            demand_pulses: 0,
            waking: self.is_waking(Instant::now()),
            target: self.settings.load().target.key().clone(),
        }
    }

    fn arrivals(&self) -> Vec<u32> {
        self.rate.arrivals(Instant::now())
    }

    fn mark(&self) -> &LoadMark {
        &self.mark
    }
}
