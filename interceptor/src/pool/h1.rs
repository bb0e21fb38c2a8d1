//! Idle HTTP/1.1 connections of one worker to one endpoint.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use http::header::UPGRADE;
use http_body::Body as _;
use hyper::client::conn::{TrySendError, http1::SendRequest};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    limits::{IdleLimits, IdleSlot},
    stream::MayStall,
};
use crate::proxy::RequestBody;

/// A body that the other end's kernel has room for, whatever the application reads: the least of windows that systems begin
/// with is 64 KiB.
const ALWAYS_TAKEN_BYTES: u64 = 16 * 1024;

/// An HTTP/1.1 connection that carries one exchange at a time.
#[derive(Debug)]
pub(crate) struct H1Connection {
    sender: SendRequest<RequestBody>,
    may_stall: MayStall,
}

impl H1Connection {
    pub(super) fn new(sender: SendRequest<RequestBody>, may_stall: MayStall) -> Self {
        Self { sender, may_stall }
    }

    /// Sends `request`. On failure the request comes back if, and only if, not one byte of it was written.
    pub(crate) fn send(
        &mut self,
        request: http::Request<RequestBody>,
    ) -> impl Future<
        Output = Result<http::Response<hyper::body::Incoming>, TrySendError<http::Request<RequestBody>>>,
    > + use<> {
        let body = request.body().size_hint().exact();
        let is_large = body.is_none_or(|length| length > ALWAYS_TAKEN_BYTES);
        self.may_stall
            .set(is_large || request.headers().contains_key(UPGRADE));
        self.sender.try_send_request(request)
    }
}

#[derive(Debug)]
struct Parked {
    connection: H1Connection,
    since: Instant,
    /// Held for its drop, which gives the process's place back.
    _slot: IdleSlot,
}

/// Idle connections, the most recently used last. Owned by the endpoint; bounded by its limits.
#[derive(Debug)]
pub(crate) struct IdleConnections {
    parked: Mutex<VecDeque<Parked>>,
    limits: Arc<IdleLimits>,
}

impl IdleConnections {
    pub(super) fn new(limits: Arc<IdleLimits>) -> Self {
        Self {
            parked: Mutex::new(VecDeque::new()),
            limits,
        }
    }

    /// Takes the connection used last that has been idle for at most `max_age` and is ready now.
    ///
    /// The endpoint may close a connection at any moment; how old a connection a request may use depends on whether
    /// the request could be repeated.
    pub(crate) fn take(&self, now: Instant, max_age: Duration) -> Option<H1Connection> {
        let mut parked = self.parked.lock();
        // Last in, first out: everything in front of an entry that is too old is older still.
        let mut skipped = 0;
        while let Some(index) = parked.len().checked_sub(1 + skipped) {
            let Some(entry) = parked.get(index) else { break };
            if entry.connection.sender.is_closed() {
                parked.remove(index);
            } else if now.saturating_duration_since(entry.since) > max_age.min(self.limits.max_age) {
                break;
            } else if entry.connection.sender.is_ready() {
                if let Some(entry) = parked.remove(index) {
                    return Some(entry.connection);
                }
            } else {
                // Its last exchange is being wound up by its own task.
                skipped += 1;
            }
        }
        None
    }

    /// Gives a connection back after its exchange has ended well.
    pub(crate) fn put(&self, connection: H1Connection, now: Instant) {
        if connection.sender.is_closed() {
            return;
        }
        let mut parked = self.parked.lock();
        if parked.len() >= self.limits.per_worker {
            parked.pop_front();
        }
        // Without a place it is closed: the next request opens another.
        if let Some(slot) = self.limits.take() {
            parked.push_back(Parked {
                connection,
                since: now,
                _slot: slot,
            });
        }
    }

    pub(super) fn clear(&self) {
        let parked = std::mem::take(&mut *self.parked.lock());
        drop(parked);
    }

    pub(super) fn evict(&self, now: Instant) {
        let mut parked = self.parked.lock();
        parked.retain(|entry| {
            !entry.connection.sender.is_closed()
                && now.saturating_duration_since(entry.since) <= self.limits.max_age
        });
        parked.shrink_to_fit();
    }

    pub(super) fn len(&self) -> usize {
        self.parked.lock().len()
    }
}
