//! One pod address: how busy it is, whether it may be tried now, and the idle connections to it.
//!
//! An [`Endpoint`] belongs to its target's [`EndpointSet`](crate::target::EndpointSet), made when the address first
//! becomes ready and retired when it no longer is. Requests in flight keep it alive; its idle connections go at once.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    plan::UpstreamProtocol,
    pool::{IdleLimits, Pool},
};

/// The first quarantine after a failure; each further failure without a success between doubles it.
const QUARANTINE_BASE: Duration = Duration::from_millis(50);
/// The longest quarantine. Short, because the way back in is a real connection attempt, not a probe of its own.
const QUARANTINE_MAX: Duration = Duration::from_secs(2);
/// How long the request that finds out keeps others away: several connect timeouts. Where no other endpoint has room they
/// wait, and the gate's driver tries to connect for them.
const TRIAL_MS: u64 = 2_000;

/// One pod address of a target.
#[derive(Debug)]
pub(crate) struct Endpoint {
    addr: SocketAddr,
    protocol: UpstreamProtocol,
    /// Requests given to this endpoint whose response body has not ended.
    in_flight: AtomicUsize,
    /// When the quarantine ends, in milliseconds after `epoch`; 0 while there is none.
    quarantined_until_ms: AtomicU64,
    /// Until when, on the same clock, one request has the endpoint to itself to find out whether it is back.
    trial_until_ms: AtomicU64,
    /// Failures since the last success.
    failures: AtomicU32,
    retired: AtomicBool,
    epoch: Instant,
    pool: Pool,
}

impl Endpoint {
    /// A new endpoint with room for idle connections of `workers` workers.
    pub(crate) fn new(
        addr: SocketAddr,
        protocol: UpstreamProtocol,
        workers: usize,
        idle: &Arc<IdleLimits>,
    ) -> Self {
        Self {
            addr,
            protocol,
            in_flight: AtomicUsize::new(0),
            quarantined_until_ms: AtomicU64::new(0),
            trial_until_ms: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            retired: AtomicBool::new(false),
            epoch: Instant::now(),
            pool: Pool::new(workers, idle),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn protocol(&self) -> UpstreamProtocol {
        self.protocol
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts one more request, until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> EndpointGuard {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        EndpointGuard(Arc::clone(self))
    }

    /// Whether a request may be sent here now.
    pub(crate) fn is_usable(&self, now: Instant) -> bool {
        let until = self.quarantined_until_ms.load(Ordering::Relaxed);
        // The warm case reads no clock arithmetic.
        until == 0 || until.max(self.trial_until_ms.load(Ordering::Relaxed)) <= self.millis(now)
    }

    /// Takes the endpoint for one request, if it may be sent here now. After a quarantine only one may, until the endpoint
    /// has answered it or failed it: each would pay for a connect timeout where a node is gone.
    pub(crate) fn try_take(&self, now: Instant) -> bool {
        if self.quarantined_until_ms.load(Ordering::Relaxed) == 0 {
            return true;
        }
        let trial = self.trial_until_ms.load(Ordering::Relaxed);
        self.is_usable(now)
            && self
                .trial_until_ms
                .compare_exchange(
                    trial,
                    self.millis(now) + TRIAL_MS,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// The endpoint refused or reset a connection: keeps requests away for a moment, longer each time. Requests that
    /// were on their way together and fail together count once: they renew the quarantine and do not lengthen it.
    pub(crate) fn failed(&self, now: Instant) {
        let is_over = self.quarantined_until_ms.load(Ordering::Relaxed) <= self.millis(now);
        let failures = if is_over {
            self.failures.fetch_add(1, Ordering::Relaxed)
        } else {
            self.failures.load(Ordering::Relaxed).saturating_sub(1)
        };
        let failures = failures.min(16);
        let quarantine = QUARANTINE_BASE.saturating_mul(1 << failures).min(QUARANTINE_MAX);
        let until = self.millis(now) + quarantine.as_millis() as u64;
        self.quarantined_until_ms.store(until.max(1), Ordering::Relaxed);
        self.trial_until_ms.store(0, Ordering::Relaxed);
    }

    /// The endpoint took a connection or answered. Returns whether it was in quarantine.
    pub(crate) fn succeeded(&self) -> bool {
        if self.failures.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.failures.store(0, Ordering::Relaxed);
        self.trial_until_ms.store(0, Ordering::Relaxed);
        self.quarantined_until_ms.swap(0, Ordering::Relaxed) != 0
    }

    /// The pod is no longer ready: no idle connection of it is used again, none is kept.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.pool.clear();
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_millis() as u64
    }
}

/// A request's place at an endpoint.
#[derive(Debug)]
pub(crate) struct EndpointGuard(Arc<Endpoint>);

impl EndpointGuard {
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for EndpointGuard {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint::new(
            ([127, 0, 0, 1], 1).into(),
            UpstreamProtocol::Http1,
            1,
            &IdleLimits::new(1, 1, 1, QUARANTINE_MAX),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn quarantine_grows_with_each_failure_and_ends_with_a_success() {
        let endpoint = endpoint();
        assert!(endpoint.is_usable(Instant::now()));

        endpoint.failed(Instant::now());
        assert!(!endpoint.is_usable(Instant::now()));
        tokio::time::advance(QUARANTINE_BASE).await;
        assert!(endpoint.is_usable(Instant::now()));

        endpoint.failed(Instant::now());
        tokio::time::advance(QUARANTINE_BASE).await;
        assert!(
            !endpoint.is_usable(Instant::now()),
            "the second quarantine is longer"
        );

        assert!(endpoint.succeeded());
        assert!(endpoint.is_usable(Instant::now()));
        assert!(!endpoint.succeeded());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_one_moment_count_once() {
        let endpoint = endpoint();
        for _ in 0..100 {
            endpoint.failed(Instant::now());
        }
        tokio::time::advance(QUARANTINE_BASE).await;
        assert!(endpoint.is_usable(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn quarantine_is_bounded() {
        let endpoint = endpoint();
        for _ in 0..100 {
            endpoint.failed(Instant::now());
            tokio::time::advance(QUARANTINE_MAX).await;
        }
        endpoint.failed(Instant::now());
        assert!(!endpoint.is_usable(Instant::now()));
        tokio::time::advance(QUARANTINE_MAX).await;
        assert!(endpoint.is_usable(Instant::now()));
    }
}
