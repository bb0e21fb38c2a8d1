//! The bounds on what may be held: per route by count, for the process by count and by bytes.
//!
//! A held request takes a place ([`Place`]) before it joins a queue and gives it back when it is dropped, whatever
//! became of it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::route::RouteState;

/// The process-wide bounds; the largest number stands for none.
#[derive(Debug)]
pub(crate) struct ProcessBounds {
    requests: AtomicUsize,
    bytes: AtomicU64,
    max_requests: usize,
    max_bytes: u64,
}

impl ProcessBounds {
    pub(crate) fn new(max_requests: usize, max_bytes: u64) -> Self {
        Self {
            requests: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            max_requests,
            max_bytes,
        }
    }

    /// Requests held now, over all routes.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// What they are reckoned to take, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes a place for a request of `route` that takes `bytes`, or says that there is none. A request that comes back
    /// has been let in before and is `returning`: newcomers that took its place meanwhile do not push it out. By that
    /// the bounds are passed by no more than the requests that were on their way to endpoints.
    pub(crate) fn take(
        self: &Arc<Self>,
        route: &Arc<RouteState>,
        bytes: u64,
        max_route: usize,
        returning: bool,
    ) -> Option<Place> {
        // Each counter is raised first and lowered again on refusal: two requests at the limit cannot both pass.
        let held = route.pending.fetch_add(1, Ordering::AcqRel) + 1;
        let requests = self.requests.fetch_add(1, Ordering::AcqRel) + 1;
        let total = self.bytes.fetch_add(bytes, Ordering::AcqRel) + bytes;
        let place = Place {
            bounds: Arc::clone(self),
            route: Arc::clone(route),
            bytes,
        };
        let within = held <= max_route as u64 && requests <= self.max_requests && total <= self.max_bytes;
        (within || returning).then_some(place)
    }
}

/// One held request's share of the bounds.
#[derive(Debug)]
pub(crate) struct Place {
    bounds: Arc<ProcessBounds>,
    route: Arc<RouteState>,
    bytes: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.route.pending.fetch_sub(1, Ordering::AcqRel);
        self.bounds.requests.fetch_sub(1, Ordering::AcqRel);
        self.bounds.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
