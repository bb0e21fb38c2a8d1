//! One route: what every interceptor says about it, whether it is active, and who is to be told.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use rouse_proto::load::RouteLoad;
use rouse_routing::RouteId;
use tokio::sync::watch;

use super::{
    moment::Moment,
    rate::{RateRing, RateWindow},
    target::Target,
};
use crate::activity::{self, PollingGap};

/// Most seconds of a report's ring that are looked at: the longest window there is.
const MAX_SECONDS: usize = 3600;

/// The window of a ring whose object has not been applied yet, at least.
const PROVISIONAL_WINDOW: Duration = Duration::from_mins(1);

/// One route's load. Made when an interceptor reports it, an object is applied or a stream is opened for it; dropped by
/// [`Picture`](super::Picture) when none of the three is left.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) id: RouteId,
    /// KEDA's polling interval, where it is known; else it is learned.
    polling_interval: Option<Duration>,
    /// What streams wait for. Warm traffic leaves it unchanged.
    signal: watch::Sender<Signal>,
    state: Mutex<State>,
}

/// What a stream is woken for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signal {
    /// Counts the moments at which a wake became wanted: each is pushed at once.
    pub(crate) edges: u64,
    /// Whether the target has no ready endpoint.
    pub(crate) cold: bool,
}

#[derive(Debug, Default)]
struct State {
    contributions: Vec<Contribution>,
    target: Option<Arc<Target>>,
    rate: Option<RateRing>,
    /// Whether an object for the route has been applied; then it decides whether there is a rate to be kept.
    registered: bool,
    polling: PollingGap,
    last_demand: Option<Moment>,
    /// The target's state when the route was last evaluated.
    was_cold: bool,
}

/// One interceptor process's share. Counters are kept apart per process, by its boot id, so that one that comes back at
/// the same address begins anew and one that leaves and returns is not counted twice.
#[derive(Debug, Clone, Copy, Default)]
struct Contribution {
    boot_id: u64,
    concurrency: u64,
    waking: bool,
    requests_total: u64,
    demand_pulses: u64,
    /// The interceptor no longer reports the route; only the counters are kept, until the rate has forgotten them.
    gone: Option<Moment>,
}

impl Contribution {
    fn is_demand(&self) -> bool {
        self.concurrency > 0 || self.waking
    }
}

/// Why an interceptor no longer counts for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retirement {
    /// It says that it has no such route.
    Removed,
    /// It is not heard any longer, or another process has taken its place.
    Unheard,
}

/// What an evaluation compares.
#[derive(Debug, Clone, Copy)]
struct Before {
    demanding: bool,
    wanted: bool,
}

impl Route {
    pub(crate) fn new(id: RouteId, polling_interval: Option<Duration>) -> Self {
        Self {
            id,
            polling_interval,
            signal: watch::Sender::new(Signal { edges: 0, cold: true }),
            state: Mutex::new(State {
                was_cold: true,
                ..State::default()
            }),
        }
    }

    // --- What interceptors say ---

    /// Takes over what the interceptor `boot_id` reports, and returns by how much its concurrency changed.
    /// `target` is the one that `load` names; `full` says that the report is one.
    pub(crate) fn report(
        self: &Arc<Self>,
        boot_id: u64,
        load: &RouteLoad,
        target: Option<Arc<Target>>,
        full: bool,
        now: Moment,
    ) -> ConcurrencyChange {
        let mut state = self.state.lock();
        let before = self.before(&state, now);
        self.send_to(&mut state, target);
        let change = state.take_over(boot_id, load, full, now);
        self.evaluate(&mut state, before, now);
        change
    }

    /// The interceptor `boot_id` no longer counts. If it is only not heard, its counters are kept for as long as the rate
    /// remembers what they counted; if it has removed the route, they begin anew should it come again.
    pub(crate) fn retire(&self, boot_id: u64, why: Retirement, now: Moment) -> ConcurrencyChange {
        let mut state = self.state.lock();
        let before = self.before(&state, now);
        let reach = state.rate.as_ref().map(RateRing::reach);
        let mut change = ConcurrencyChange::default();
        for contribution in &mut state.contributions {
            if contribution.boot_id == boot_id && contribution.gone.is_none() {
                change.before = contribution.concurrency;
                contribution.concurrency = 0;
                contribution.waking = false;
                contribution.gone = Some(now);
            }
        }
        state
            .contributions
            .retain(|contribution| match (contribution.gone, reach) {
                (None, _) => true,
                (Some(_), _) if contribution.boot_id == boot_id && why == Retirement::Removed => false,
                (Some(gone), Some(reach)) => now.since(gone) < reach,
                (Some(_), None) => false,
            });
        if before.demanding {
            state.last_demand = Some(now);
        }
        self.evaluate(&mut state, before, now);
        change
    }

    /// The target gained its first ready endpoint or lost its last.
    pub(super) fn target_changed(&self, now: Moment) {
        let mut state = self.state.lock();
        let before = self.before(&state, now);
        self.evaluate(&mut state, before, now);
    }

    /// Points the route at `target`.
    fn send_to(self: &Arc<Self>, state: &mut State, target: Option<Arc<Target>>) {
        let Some(target) = target else { return };
        if let Some(old) = &state.target {
            if Arc::ptr_eq(old, &target) {
                return;
            }
            old.detach(self);
        }
        target.attach(self);
        state.target = Some(target);
    }

    fn before(&self, state: &State, now: Moment) -> Before {
        Before {
            demanding: state.is_demanding(),
            wanted: state.was_cold && self.active(state, now),
        }
    }

    /// Tells the streams what changed: an edge when a wake is wanted now and was not before, or when a request came for
    /// a cold target that was active only because of an earlier one.
    fn evaluate(&self, state: &mut State, before: Before, now: Moment) {
        let cold = state.is_cold();
        state.was_cold = cold;
        let wanted = cold && self.active(state, now);
        let edge = wanted && (!before.wanted || (state.is_demanding() && !before.demanding));
        self.signal.send_if_modified(|signal| {
            let changed = edge || signal.cold != cold;
            signal.edges += u64::from(edge);
            signal.cold = cold;
            changed
        });
    }

    // --- What the objects say ---

    /// An object for the route has been applied; `window` if it is scaled on its rate.
    pub(crate) fn register(&self, window: Option<RateWindow>, now: Moment) {
        let mut state = self.state.lock();
        state.registered = true;
        match (window, &mut state.rate) {
            (Some(window), Some(ring)) => ring.reshape(window, now),
            (Some(window), rate @ None) => *rate = Some(RateRing::new(window, now)),
            (None, rate) => *rate = None,
        }
    }

    /// The object is gone.
    pub(crate) fn unregister(&self) {
        let mut state = self.state.lock();
        state.registered = false;
        state.rate = None;
    }

    /// Whether nothing speaks for keeping the route.
    pub(crate) fn is_unused(&self) -> bool {
        let state = self.state.lock();
        !state.registered
            && state
                .contributions
                .iter()
                .all(|contribution| contribution.gone.is_some())
            && self.signal.receiver_count() == 0
    }

    /// Lets go of the target, which is returned to be dropped if this was its last route.
    pub(crate) fn release(self: &Arc<Self>) -> Option<Arc<Target>> {
        let target = self.state.lock().target.take();
        if let Some(target) = &target {
            target.detach(self);
        }
        target
    }

    /// The target, to see whether a report names the same.
    pub(crate) fn target(&self) -> Option<Arc<Target>> {
        self.state.lock().target.clone()
    }

    // --- What KEDA asks ---

    /// Held and in-flight requests over all interceptors.
    pub(crate) fn concurrency(&self) -> u64 {
        self.state.lock().concurrency()
    }

    /// Requests per second over all interceptors.
    pub(crate) fn request_rate(&self, now: Moment) -> f64 {
        self.state
            .lock()
            .rate
            .as_ref()
            .map_or(0.0, |rate| rate.average(now))
    }

    /// Whether the workload should leave zero, or stay above it.
    pub(crate) fn is_active(&self, now: Moment) -> bool {
        self.active(&self.state.lock(), now)
    }

    /// Whether it is active and its requests wait for an endpoint.
    pub(crate) fn wants_wake(&self, now: Moment) -> bool {
        let state = self.state.lock();
        state.is_cold() && self.active(&state, now)
    }

    /// KEDA polled.
    pub(crate) fn polled(&self, now: Moment) {
        if self.polling_interval.is_none() {
            let mut state = self.state.lock();
            let cold = state.is_cold();
            state.polling.called(now, cold);
        }
    }

    /// A receiver that changes when a wake becomes wanted and when the target's readiness changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }

    fn active(&self, state: &State, now: Moment) -> bool {
        let linger = activity::linger(self.polling_interval.unwrap_or_else(|| state.polling.interval()));
        state.is_demanding() || state.last_demand.is_some_and(|last| now < last.plus(linger))
    }
}

/// A contribution's concurrency before and after a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ConcurrencyChange {
    pub(crate) before: u64,
    pub(crate) after: u64,
}

impl State {
    fn concurrency(&self) -> u64 {
        self.contributions.iter().fold(0, |sum, contribution| {
            sum.saturating_add(contribution.concurrency)
        })
    }

    fn is_demanding(&self) -> bool {
        self.contributions.iter().any(Contribution::is_demand)
    }

    /// A route whose target nobody has reported yet is taken to be cold.
    fn is_cold(&self) -> bool {
        self.target.as_ref().is_none_or(|target| target.is_cold())
    }

    fn take_over(&mut self, boot_id: u64, load: &RouteLoad, full: bool, now: Moment) -> ConcurrencyChange {
        let seconds = load.arrivals.get(..MAX_SECONDS).unwrap_or(&load.arrivals);
        let was_demanding = self.is_demanding();
        let known = self
            .contributions
            .iter()
            .position(|contribution| contribution.boot_id == boot_id);
        let old = match known.and_then(|place| self.contributions.get(place)) {
            Some(old) => *old,
            None => Contribution {
                boot_id,
                ..Contribution::default()
            },
        };
        // A counter that fell began again at zero: the route was removed and made anew.
        let new_requests = difference(load.requests_total, old.requests_total);
        let new_pulses = difference(load.demand_pulses, old.demand_pulses);
        let first_sight = known.is_none() && full;

        if !self.registered && self.rate.is_none() && !seconds.is_empty() {
            // The object may be applied later than the report comes, and the ring is sent only once.
            let window = Duration::from_secs(seconds.len() as u64).max(PROVISIONAL_WINDOW);
            self.rate = Some(RateRing::new(
                RateWindow {
                    window,
                    granularity: Duration::from_secs(1),
                },
                now,
            ));
        }
        if let Some(rate) = &mut self.rate {
            if first_sight {
                // Interceptors leave out the ring's trailing zeros. Arrivals older than it show that it is a whole one.
                let in_ring = seconds.iter().map(|&count| u64::from(count)).sum();
                let known = if load.requests_total > in_ring {
                    rate.reach()
                } else {
                    Duration::from_secs(seconds.len() as u64)
                };
                rate.known_since(now.minus(known));
                rate.add_seconds(now, seconds, u64::MAX);
            } else if full {
                rate.add_seconds(now, seconds, new_requests);
            } else {
                rate.add(now, new_requests);
            }
        }

        let seen_at = if full {
            let newest = seconds.iter().position(|&count| count > 0);
            newest.map(|age| now.minus(Duration::from_secs(age as u64)))
        } else {
            (new_requests > 0).then_some(now)
        };
        let demands = load.concurrency > 0 || load.waking || (new_pulses > 0 && !first_sight);
        let demand_at = (demands || was_demanding).then_some(now);
        self.last_demand = self.last_demand.max(seen_at).max(demand_at);

        let new = Contribution {
            boot_id,
            concurrency: load.concurrency,
            waking: load.waking,
            requests_total: load.requests_total,
            demand_pulses: load.demand_pulses,
            gone: None,
        };
        match known.and_then(|place| self.contributions.get_mut(place)) {
            Some(place) => *place = new,
            None => self.contributions.push(new),
        }
        ConcurrencyChange {
            before: old.concurrency,
            after: new.concurrency,
        }
    }
}

/// How much a counter rose.
fn difference(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}
