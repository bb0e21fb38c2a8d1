//! The pending gate: where requests wait for an endpoint, in order of arrival, and go out as endpoints have room.
//!
//! One gate per target. Routes with the same target have a queue each, drawn round robin, and share the target's
//! pacing. A request's place is its process-wide sequence number, so that a request that comes back (its endpoint
//! refused it, its route changed target) stands where it stood.
//!
//! ```text
//!  enqueue ──▶ queue per route (BTreeMap by sequence) ──▶ pump ──▶ Grant { endpoint, pacing slot } ──▶ the request
//!                    ▲ back to the old place                 ▲
//!                    └──────── endpoint refused              └ endpoint became ready · a slot ended · driver's tick
//! ```
//!
//! Bounds: requests per route by count, requests of the process by count and by bytes ([`bounds`]), each request by
//! its own deadline. The warm path reads one atomic ([`Gate::is_empty`]) and takes no lock.
//!
//! Everything under the lock is a few map operations; grants are delivered after it is released.

pub(crate) mod bounds;
mod pace;
mod queue;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use rouse_routing::RouteId;
use tokio::{sync::oneshot, time::Instant};

use self::{pace::Pacing, queue::Queues};
use crate::{
    endpoint::{Endpoint, EndpointGuard},
    target::Target,
};

/// What a waiting request is told.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It may go to this endpoint now.
    Granted(Grant),
    /// Its route has another target now: wait there.
    Retarget,
    /// Its route is gone.
    RouteRemoved,
}

/// The permission to send one request to one endpoint. Dropped, it is as if it had not been given.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) endpoint: EndpointGuard,
    pub(crate) slot: PaceSlot,
}

/// A request's share of an endpoint's pacing window. Ends at the response's headers, at a failure, when dropped, or
/// five seconds after the grant.
#[derive(Debug)]
pub(crate) struct PaceSlot {
    target: Weak<Target>,
    addr: SocketAddr,
    id: u64,
    live: bool,
}

impl PaceSlot {
    /// The endpoint answered: the slot is free for the next request.
    pub(crate) fn answered(mut self) {
        self.end(false);
    }

    /// The endpoint failed: the slot is free, and the window does not grow in this tick.
    pub(crate) fn failed(mut self) {
        self.end(true);
    }

    /// Gives the slot's identity back without ending it: the pump itself undoes an undelivered grant.
    fn disarm(mut self) -> u64 {
        self.live = false;
        self.id
    }

    fn end(&mut self, failed: bool) {
        if std::mem::take(&mut self.live)
            && let Some(target) = self.target.upgrade()
        {
            target
                .gate()
                .state
                .lock()
                .pacing
                .end_slot(self.addr, self.id, failed);
            target.pump(Instant::now());
            if failed {
                // Its endpoint may have been the last that could be used.
                target.wake_driver();
            }
        }
    }
}

impl Drop for PaceSlot {
    fn drop(&mut self) {
        self.end(false);
    }
}

/// One place in the queue; leaving it (dropping the ticket) frees the place.
#[derive(Debug)]
pub(crate) struct Ticket {
    target: Arc<Target>,
    route: RouteId,
    sequence: u64,
    verdict: oneshot::Receiver<Verdict>,
}

impl Ticket {
    /// Waits for the verdict.
    ///
    /// # Cancel safety
    /// A grant that was sent but not received is undone when the ticket is dropped.
    pub(crate) async fn verdict(&mut self) -> Verdict {
        // The sender is dropped without a word only together with the gate, which the ticket's target keeps alive.
        (&mut self.verdict).await.unwrap_or(Verdict::Retarget)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let gate = self.target.gate();
        let left = gate.state.lock().queues.remove(&self.route, self.sequence);
        if left && gate.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The last one: the driver may go home.
            self.target.wake_driver();
        }
    }
}

/// The next request's place in every queue of the process.
pub(crate) fn next_sequence() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The waiting requests of one target.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    /// Requests in `state.queues`, readable without its lock.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    queues: Queues,
    pacing: Pacing,
}

impl Gate {
    /// Whether nobody waits, so that a new request need not stand behind anybody.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Joins the queue of `route` at the place of `sequence`. `window` is how many requests the route lets one
    /// endpoint carry to begin with.
    pub(crate) fn enqueue(
        &self,
        target: &Arc<Target>,
        route: &RouteId,
        sequence: u64,
        window: u32,
    ) -> Ticket {
        let (tx, rx) = oneshot::channel();
        self.waiting.fetch_add(1, Ordering::AcqRel);
        {
            let mut state = self.state.lock();
            if state.queues.is_empty() {
                // An empty queue ended pacing: the first that waits again begins it anew.
                state.pacing.clear();
            }
            state.queues.insert(route, sequence, queue::Waiter { tx, window });
        }
        Ticket {
            target: Arc::clone(target),
            route: route.clone(),
            sequence,
            verdict: rx,
        }
    }

    /// Gives out as many grants as `usable` endpoints have room for, in order.
    pub(crate) fn pump(&self, target: &Arc<Target>, usable: &[Arc<Endpoint>]) {
        while let Some(undelivered) = self.pump_once(target, usable) {
            if undelivered.is_empty() {
                return;
            }
            // Receivers that left between the lock and the delivery: their slots go to those behind them.
            let mut state = self.state.lock();
            for grant in undelivered {
                let addr = grant.endpoint.endpoint().addr();
                state.pacing.end_slot(addr, grant.slot.disarm(), false);
            }
        }
    }

    /// One round; the grants nobody took, or `None` when there was nothing to give.
    fn pump_once(&self, target: &Arc<Target>, usable: &[Arc<Endpoint>]) -> Option<Vec<Grant>> {
        if self.is_empty() {
            return None;
        }
        let mut deliveries = Vec::new();
        {
            let mut state = self.state.lock();
            let State { queues, pacing } = &mut *state;
            let now = Instant::now();
            while let Some(window) = queues.next_window() {
                let Some((endpoint, id)) = pacing.take_slot(usable, window, now) else {
                    break;
                };
                let Some(waiter) = queues.pop() else { break };
                self.waiting.fetch_sub(1, Ordering::AcqRel);
                let slot = PaceSlot {
                    target: Arc::downgrade(target),
                    addr: endpoint.addr(),
                    id,
                    live: true,
                };
                deliveries.push((
                    waiter.tx,
                    Grant {
                        endpoint: endpoint.begin(),
                        slot,
                    },
                ));
            }
        }
        if deliveries.is_empty() {
            return None;
        }
        let undelivered =
            deliveries
                .into_iter()
                .filter_map(|(tx, grant)| match tx.send(Verdict::Granted(grant)) {
                    Err(Verdict::Granted(grant)) => Some(grant),
                    _ => None,
                });
        Some(undelivered.collect())
    }

    /// Tells every waiting request of `route` that it has to go: to its new target, or away.
    pub(crate) fn dismiss(&self, route: &RouteId, verdict: fn() -> Verdict) {
        let waiters = self.state.lock().queues.remove_route(route);
        self.waiting.fetch_sub(waiters.len(), Ordering::AcqRel);
        for waiter in waiters {
            // One that has left needs no verdict.
            let _left = waiter.tx.send(verdict());
        }
    }

    /// Pacing's clock: windows that are due grow, slots that are held too long end. Returns when to call again.
    pub(crate) fn tick(&self, now: Instant) -> Instant {
        self.state.lock().pacing.tick(now)
    }
}

#[cfg(test)]
mod tests;
