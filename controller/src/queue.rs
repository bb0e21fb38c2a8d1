//! The reconciler's queue: each route at most once, none twice at a time, those that failed later and later.
//!
//! Everything that may make a reconcile necessary says so by [`Requeue::route`], as often as it likes; the leader's workers
//! take from it. Bounded by the routes that there are: what does not exist leaves with its next turn.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rouse_routing::RouteId;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// How long a route waits for what happens together with what it was queued for: the objects of one `kubectl apply` come
/// within it, and a status need not be written for each of them.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// The wait after the first failure; it doubles with each further one.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);

/// The longest wait between two attempts. What could change the outcome is mostly watched, and then ends the wait.
const LONGEST_BACK_OFF: Duration = Duration::from_mins(5);

/// Where routes are queued. Cheap to clone; all clones are the same queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requeue {
    queue: Arc<Queue>,
}

/// How a reconcile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing is left to do until something changes.
    Settled,
    /// To be looked at again after this time, because something that is not watched may have changed.
    Again(Duration),
    /// To be tried again, later with each failure.
    Failed,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// When each queued route is due, with a number that keeps those of one instant in order.
    due: BTreeMap<(Instant, u64), RouteId>,
    entries: HashMap<RouteId, Entry>,
    sequence: u64,
}

#[derive(Debug, Default)]
struct Entry {
    due: Option<(Instant, u64)>,
    is_running: bool,
    failures: u32,
}

impl Requeue {
    /// Queues a route: soon, whatever it waits for.
    pub(crate) fn route(&self, id: RouteId) {
        self.queue.schedule(id, Instant::now() + DEBOUNCE);
    }

    /// How many routes are queued or at work.
    pub(crate) fn len(&self) -> usize {
        self.queue.state.lock().entries.len()
    }

    /// The next route that is due and not at work. Give it back with [`done`](Self::done).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(crate) async fn next(&self) -> RouteId {
        loop {
            let changed = self.queue.changed.notified();
            let next_due = {
                let mut state = self.queue.state.lock();
                let now = Instant::now();
                if let Some(id) = state.take(now) {
                    return id;
                }
                state.next_due(now)
            };
            match next_due {
                Some(due) => {
                    tokio::select! {
                        () = sleep_until(due) => {}
                        () = changed => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// Ends a route's turn.
    pub(crate) fn done(&self, id: &RouteId, outcome: Outcome) {
        {
            let mut state = self.queue.state.lock();
            let Some(entry) = state.entries.get_mut(id) else {
                return;
            };
            entry.is_running = false;
            let wait = match outcome {
                Outcome::Settled => {
                    entry.failures = 0;
                    None
                }
                Outcome::Again(wait) => {
                    entry.failures = 0;
                    Some(wait)
                }
                Outcome::Failed => {
                    let wait = back_off(entry.failures);
                    entry.failures = entry.failures.saturating_add(1);
                    Some(wait)
                }
            };
            match wait {
                Some(wait) => state.schedule(id.clone(), Instant::now() + wait),
                None if entry.due.is_none() => {
                    state.entries.remove(id);
                }
                None => {}
            }
        }
        self.queue.changed.notify_one();
    }

    /// Ends all turns, because those who had them are gone.
    pub(crate) fn abandon(&self) {
        let mut state = self.queue.state.lock();
        state.entries.retain(|_, entry| {
            entry.is_running = false;
            entry.due.is_some()
        });
    }
}

impl Queue {
    fn schedule(&self, id: RouteId, at: Instant) {
        self.state.lock().schedule(id, at);
        self.changed.notify_one();
    }
}

impl State {
    /// At `at`, unless it is due earlier.
    fn schedule(&mut self, id: RouteId, at: Instant) {
        let entry = self.entries.entry(id.clone()).or_default();
        if let Some(due) = entry.due {
            if due.0 <= at {
                return;
            }
            self.due.remove(&due);
        }
        self.sequence += 1;
        let due = (at, self.sequence);
        entry.due = Some(due);
        self.due.insert(due, id);
    }

    fn take(&mut self, now: Instant) -> Option<RouteId> {
        let due = self
            .due
            .iter()
            .take_while(|((at, _), _)| *at <= now)
            .find(|(_, id)| self.entries.get(*id).is_none_or(|entry| !entry.is_running))
            .map(|(due, _)| *due)?;
        let id = self.due.remove(&due)?;
        let entry = self.entries.entry(id.clone()).or_default();
        entry.due = None;
        entry.is_running = true;
        Some(id)
    }

    /// When the next route is due. Those that are at work say so themselves when they end.
    fn next_due(&self, now: Instant) -> Option<Instant> {
        self.due.keys().map(|(at, _)| *at).find(|at| *at > now)
    }
}

fn back_off(failures: u32) -> Duration {
    FIRST_BACK_OFF
        .saturating_mul(2_u32.saturating_pow(failures.min(16)))
        .min(LONGEST_BACK_OFF)
}

#[cfg(test)]
mod tests;
