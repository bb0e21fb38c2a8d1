//! Paced release: how many held requests an endpoint is given at a time.
//!
//! An endpoint begins with the concurrency target of the route; every [`PACE_TICK`] without an upstream error its
//! window doubles. A slot is taken by a grant and ends at the response's headers, at a failure, or after
//! [`SLOT_LIMIT`], so that one slow answer does not hold up the queue.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::endpoint::Endpoint;

/// How often windows grow.
pub(crate) const PACE_TICK: Duration = Duration::from_millis(100);
/// How long a grant counts against its endpoint's window at most.
const SLOT_LIMIT: Duration = Duration::from_secs(5);
/// A window beyond which pacing no longer limits anything.
const WINDOW_LIMIT: u32 = 1 << 20;

#[derive(Debug)]
struct Pace {
    window: u32,
    /// Slots taken and not ended, by the moment of the grant.
    slots: BTreeMap<u64, Instant>,
    /// When the window last grew or could have, or when pacing began.
    grown: Instant,
    /// An upstream error since then.
    failed: bool,
}

/// The pacing of a gate's endpoints; empty while nobody waits.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    endpoints: HashMap<SocketAddr, Pace, ahash::RandomState>,
    next_slot: u64,
}

impl Pacing {
    /// Takes a slot on the endpoint with the most room, if any has room.
    pub(super) fn take_slot<'a>(
        &mut self,
        usable: &'a [Arc<Endpoint>],
        window: u32,
        now: Instant,
    ) -> Option<(&'a Arc<Endpoint>, u64)> {
        let endpoint = usable
            .iter()
            .filter(|endpoint| {
                self.endpoints
                    .get(&endpoint.addr())
                    .is_none_or(|pace| pace.slots.len() < pace.window as usize)
            })
            .min_by_key(|endpoint| endpoint.in_flight())?;
        let id = self.next_slot;
        self.next_slot += 1;
        let pace = self.endpoints.entry(endpoint.addr()).or_insert_with(|| Pace {
            window: window.max(1),
            slots: BTreeMap::new(),
            grown: now,
            failed: false,
        });
        pace.slots.insert(id, now);
        Some((endpoint, id))
    }

    /// Ends a slot; one that has ended already (by time, by an empty queue) is ignored.
    pub(super) fn end_slot(&mut self, addr: SocketAddr, id: u64, failed: bool) {
        if let Some(pace) = self.endpoints.get_mut(&addr) {
            pace.failed |= failed;
            pace.slots.remove(&id);
        }
    }

    /// Grows the windows of endpoints without an error, each a tick after it last grew, and ends slots that are held
    /// too long. Returns when there is something to do again. It may be called at any time: a driver that is woken
    /// early grows nothing early.
    pub(super) fn tick(&mut self, now: Instant) -> Instant {
        let mut next = now + PACE_TICK;
        for pace in self.endpoints.values_mut() {
            if now.saturating_duration_since(pace.grown) >= PACE_TICK {
                pace.grown = now;
                if !std::mem::take(&mut pace.failed) {
                    pace.window = pace.window.saturating_mul(2).min(WINDOW_LIMIT);
                }
            }
            next = next.min(pace.grown + PACE_TICK);
            pace.slots
                .retain(|_, granted| now.saturating_duration_since(*granted) < SLOT_LIMIT);
        }
        next
    }

    pub(super) fn clear(&mut self) {
        self.endpoints.clear();
    }
}
