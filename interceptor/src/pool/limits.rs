//! The bounds on idle connections: how many per endpoint and worker, how many in the process, for how long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Shared by the pools of all endpoints.
#[derive(Debug)]
pub(crate) struct IdleLimits {
    /// Idle connections per endpoint and worker.
    pub(crate) per_worker: usize,
    /// A connection that has been idle for longer is closed.
    pub(crate) max_age: Duration,
    total: usize,
    idle: AtomicUsize,
}

/// A place for an idle connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct IdleSlot(Arc<IdleLimits>);

impl IdleLimits {
    /// At most `total` in the process and `per_endpoint` to one endpoint, spread over `workers`.
    pub(crate) fn new(total: usize, per_endpoint: usize, workers: usize, max_age: Duration) -> Arc<Self> {
        let per_worker = per_endpoint.div_ceil(workers.max(1));
        Arc::new(Self {
            per_worker,
            max_age,
            total,
            idle: AtomicUsize::new(0),
        })
    }

    /// A place, if there is one.
    pub(crate) fn take(self: &Arc<Self>) -> Option<IdleSlot> {
        let taken = self.idle.fetch_add(1, Ordering::AcqRel);
        // Made before the look, so that a refusal gives the place back.
        let slot = IdleSlot(Arc::clone(self));
        (taken < self.total && self.per_worker > 0).then_some(slot)
    }
}

impl Drop for IdleSlot {
    fn drop(&mut self) {
        self.0.idle.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let limits = IdleLimits::new(2, 10, 2, Duration::from_secs(1));
        assert_eq!(limits.per_worker, 5);
        let first = limits.take();
        let second = limits.take();
        assert!(first.is_some() && second.is_some());
        assert!(limits.take().is_none());
        drop(first);
        assert!(limits.take().is_some());
    }

    #[test]
    fn zero_per_endpoint_keeps_none() {
        assert!(IdleLimits::new(2, 0, 2, Duration::from_secs(1)).take().is_none());
    }
}
