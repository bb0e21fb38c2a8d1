//! The connections to one endpoint: a small pool per worker, owned by the endpoint and gone with it.
//!
//! There is no global map of connections: a request has its endpoint in hand, and each worker only touches its own
//! part, so that a connection's I/O stays on the core that asked for it.
//!
//! * HTTP/1.1 ([`h1`]): idle connections, last in first out, bounded by [`limits`].
//! * HTTP/2 ([`h2`]): few connections that many requests share.

mod connect;
mod h1;
mod h2;
mod limits;
mod stream;

use std::sync::Arc;

use tokio::time::Instant;

pub(crate) use self::{
    connect::{ConnectError, Dialer},
    h1::H1Connection,
    h2::{Lease, Leased},
    limits::IdleLimits,
};
use crate::worker::WorkerId;

/// The connections to one endpoint, by worker.
#[derive(Debug)]
pub(crate) struct Pool {
    workers: Box<[WorkerPool]>,
}

/// Padded to a cache line of its own: workers do not share lines.
#[derive(Debug)]
#[repr(align(64))]
struct WorkerPool {
    h1: h1::IdleConnections,
    h2: h2::SharedConnections,
}

impl Pool {
    pub(crate) fn new(workers: usize, limits: &Arc<IdleLimits>) -> Self {
        let worker = |_| WorkerPool {
            h1: h1::IdleConnections::new(Arc::clone(limits)),
            h2: h2::SharedConnections::default(),
        };
        Self {
            workers: (0..workers.max(1)).map(worker).collect(),
        }
    }

    /// The idle HTTP/1.1 connections of `worker`.
    pub(crate) fn h1(&self, worker: WorkerId) -> &h1::IdleConnections {
        &self.worker(worker).h1
    }

    /// The HTTP/2 connections of `worker`.
    pub(crate) fn h2(&self, worker: WorkerId) -> &h2::SharedConnections {
        &self.worker(worker).h2
    }

    /// Drops every idle connection; connections in use go when their exchange ends.
    pub(crate) fn clear(&self) {
        for worker in &self.workers {
            worker.h1.clear();
            worker.h2.clear();
        }
    }

    /// Drops the connections that have been idle too long. Called now and then from the control side, so that an
    /// endpoint without traffic does not keep sockets.
    pub(crate) fn evict_idle(&self, now: Instant) {
        for worker in &self.workers {
            worker.h1.evict(now);
        }
    }

    /// Idle HTTP/1.1 connections, for metrics.
    pub(crate) fn idle(&self) -> usize {
        self.workers.iter().map(|worker| worker.h1.len()).sum()
    }

    fn worker(&self, worker: WorkerId) -> &WorkerPool {
        // Worker ids count from zero to the number of workers that every pool is made with.
        &self.workers[worker.0 % self.workers.len()]
    }
}
