//! What the hub asks of a route's state.

use std::{
    fmt,
    sync::atomic::{AtomicU8, Ordering},
};

use rouse_routing::RouteId;

use crate::plan::TargetKey;

/// A route's counters, as the hub reads them. Implemented by the route's state; every method is called from the control
/// runtime, at most every few milliseconds, and must not block.
pub trait LoadSource: fmt::Debug + Send + Sync {
    /// The route.
    fn id(&self) -> &RouteId;
    /// Its load now.
    fn load(&self) -> RouteLoadSample;
    /// Its arrivals by second, newest first ([`RateRing::arrivals`](super::RateRing::arrivals)).
    fn arrivals(&self) -> Vec<u32>;
    /// Its mark: one per source, made with the source.
    fn mark(&self) -> &LoadMark;
}

/// A route's load at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteLoadSample {
    /// Requests held plus requests in flight.
    pub concurrency: u64,
    /// Of these, the requests held.
    pub pending: u64,
    /// Matched arrivals since the process started.
    pub requests_total: u64,
    /// Placeholders served since the process started.
    pub demand_pulses: u64,
    /// A wake has begun and the target has not been ready since.
    pub waking: bool,
    /// Where the route's requests go.
    pub target: TargetKey,
}

/// Says that a source waits to be sampled, so that it is queued once however often it changes.
#[derive(Debug, Default)]
pub struct LoadMark(AtomicU8);

/// In the list that is gathered for 100 ms.
const CHANGED: u8 = 1;
/// In the list that is sent at once.
const URGENT: u8 = 2;

impl LoadMark {
    /// A mark that is not set.
    pub const fn new() -> Self {
        Self(AtomicU8::new(0))
    }

    /// Sets the mark for the gathered list; true when the caller has to queue the source.
    ///
    /// The first look is relaxed and may, on a weakly ordered machine, see a mark that was just taken and whose sampler
    /// missed the caller's count. The hub therefore samples every source that changed once more a round later.
    pub(super) fn set_changed(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0 && self.0.fetch_or(CHANGED, Ordering::AcqRel) & CHANGED == 0
    }

    /// Sets the mark for the list that is sent at once; true when the caller has to queue the source.
    ///
    /// Always an exchange: it meets the sampler's own on the same word, so either the sampler sees the caller's counts or
    /// the caller queues the source again.
    pub(super) fn set_urgent(&self) -> bool {
        self.0.fetch_or(URGENT, Ordering::AcqRel) & URGENT == 0
    }

    /// Whether the source is in the gathered list.
    pub(super) fn is_changed(&self) -> bool {
        self.0.load(Ordering::Relaxed) & CHANGED != 0
    }

    /// Takes the mark of the gathered list, before sampling.
    pub(super) fn take_changed(&self) {
        self.0.fetch_and(!CHANGED, Ordering::AcqRel);
    }

    /// Takes the mark of the urgent list, before sampling.
    pub(super) fn take_urgent(&self) {
        self.0.fetch_and(!URGENT, Ordering::AcqRel);
    }
}
