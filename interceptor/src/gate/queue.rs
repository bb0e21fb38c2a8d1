//! The queues of a gate: one per route, drawn round robin.

use std::collections::BTreeMap;

use rouse_routing::RouteId;
use tokio::sync::oneshot;

use super::Verdict;

/// A request that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) tx: oneshot::Sender<Verdict>,
    /// The pacing window that its route begins with.
    pub(super) window: u32,
}

#[derive(Debug)]
struct RouteQueue {
    route: RouteId,
    /// By sequence number: the first is the oldest.
    waiters: BTreeMap<u64, Waiter>,
}

/// Queues by route. Routes without waiters are not kept; few routes share a target, so a vector does.
#[derive(Debug, Default)]
pub(super) struct Queues {
    routes: Vec<RouteQueue>,
    /// Whose turn it is, an index into `routes`.
    turn: usize,
}

impl Queues {
    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    pub(super) fn insert(&mut self, route: &RouteId, sequence: u64, waiter: Waiter) {
        if let Some(queue) = self.routes.iter_mut().find(|queue| queue.route == *route) {
            queue.waiters.insert(sequence, waiter);
        } else {
            let waiters = BTreeMap::from([(sequence, waiter)]);
            self.routes.push(RouteQueue {
                route: route.clone(),
                waiters,
            });
        }
    }

    /// Takes one waiter out; false when it is not there (any longer).
    pub(super) fn remove(&mut self, route: &RouteId, sequence: u64) -> bool {
        let Some(index) = self.routes.iter().position(|queue| queue.route == *route) else {
            return false;
        };
        let removed = self.routes[index].waiters.remove(&sequence).is_some();
        self.forget_if_empty(index);
        removed
    }

    /// Takes out every waiter of `route`, oldest first.
    pub(super) fn remove_route(&mut self, route: &RouteId) -> Vec<Waiter> {
        let Some(index) = self.routes.iter().position(|queue| queue.route == *route) else {
            return Vec::new();
        };
        let waiters = std::mem::take(&mut self.routes[index].waiters);
        self.forget_if_empty(index);
        waiters.into_values().collect()
    }

    /// The pacing window of the waiter that [`Queues::pop`] would take.
    pub(super) fn next_window(&self) -> Option<u32> {
        let queue = self.routes.get(self.turn)?;
        queue.waiters.first_key_value().map(|(_, waiter)| waiter.window)
    }

    /// Takes the oldest waiter of the route whose turn it is, and passes the turn on.
    pub(super) fn pop(&mut self) -> Option<Waiter> {
        let index = self.turn;
        let (_, waiter) = self.routes.get_mut(index)?.waiters.pop_first()?;
        self.turn = index + 1;
        self.forget_if_empty(index);
        if self.turn >= self.routes.len() {
            self.turn = 0;
        }
        Some(waiter)
    }

    fn forget_if_empty(&mut self, index: usize) {
        if !self.routes[index].waiters.is_empty() {
            return;
        }
        self.routes.remove(index);
        // The turn stays with the route that had it; where that one is gone, with the next.
        if index < self.turn {
            self.turn -= 1;
        }
        if self.turn >= self.routes.len() {
            self.turn = 0;
        }
    }
}
