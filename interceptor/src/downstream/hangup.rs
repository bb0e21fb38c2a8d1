//! Tells a held request that its client has left.
//!
//! hyper notices a FIN only when it reads, and while a request is held it does not read past body bytes, an unanswered
//! `Expect`, or a pipelined request. So the sockets of held requests, and only those, are watched a second time for the
//! read side closing. The only blind spot is a client whose FIN cannot arrive because the receive window is full.
//!
//! A watch costs one system call to begin and one to end, and no memory beyond the connection's own; there are at most
//! as many as open connections.

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(any(not(target_os = "linux"), test))]
#[cfg_attr(target_os = "linux", allow(dead_code, reason = "compiled for its test"))]
mod portable;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tracing::warn;

#[cfg(target_os = "linux")]
pub(super) use self::epoll::{HangupWatcher, Watch};
#[cfg(not(target_os = "linux"))]
pub(super) use self::portable::{HangupWatcher, Watch};
use super::connection::ConnectionState;

/// Who waits for a connection's client to leave.
#[derive(Default)]
pub(super) struct Waiters {
    /// Polled and not yet dropped.
    count: usize,
    /// The registration with the watcher, while `count` is not 0.
    watch: Option<Watch>,
    /// A request is polled by one task, so there is nearly always one waker.
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Waiters {
    fn remember(&mut self, waker: &Waker) {
        match &mut self.first {
            None => self.first = Some(waker.clone()),
            Some(first) if first.will_wake(waker) => {}
            Some(_) if self.more.iter().any(|more| more.will_wake(waker)) => {}
            Some(_) => {
                // Wakers of futures that were dropped meanwhile stay until the last future goes; more than there are
                // futures means that some have moved, and a spurious wake makes the others register again.
                if self.more.len() > self.count {
                    for stale in self.more.drain(..) {
                        stale.wake();
                    }
                }
                self.more.push(waker.clone());
            }
        }
    }

    pub(super) fn take_wakers(&mut self) -> impl Iterator<Item = Waker> + use<> {
        self.first
            .take()
            .into_iter()
            .chain(std::mem::take(&mut self.more))
    }
}

/// Resolves when the client of a held HTTP/1 request has left. See [`ClientConnection::hangup`].
///
/// # Cancel safety
/// Dropping it ends the watch; a later one sees a client that left in between.
///
/// [`ClientConnection::hangup`]: super::ClientConnection::hangup
#[must_use = "futures do nothing unless polled"]
pub struct Hangup {
    state: Arc<ConnectionState>,
    is_counted: bool,
}

impl Hangup {
    pub(super) fn new(state: Arc<ConnectionState>) -> Self {
        Self {
            state,
            is_counted: false,
        }
    }
}

impl Future for Hangup {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.state.is_http2() {
            return Poll::Pending;
        }
        if this.state.has_left() {
            return Poll::Ready(());
        }
        let mut waiters = this.state.waiters.lock();
        waiters.remember(cx.waker());
        if !this.is_counted {
            this.is_counted = true;
            waiters.count += 1;
            if waiters.watch.is_none() {
                match this.state.owner.watcher.watch(&this.state) {
                    Ok(watch) => waiters.watch = Some(watch),
                    // The request is served all the same; what hyper sees of the client still ends it.
                    Err(error) => warn!(%error, "cannot watch a held request's client"),
                }
            }
        }
        drop(waiters);
        // Marked between the look above and taking the lock: then nobody wakes the waker that was left.
        if this.state.has_left() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Hangup {
    fn drop(&mut self) {
        if !self.is_counted {
            return;
        }
        let mut waiters = self.state.waiters.lock();
        waiters.count -= 1;
        if waiters.count == 0 {
            let wakers = waiters.take_wakers();
            if let Some(watch) = waiters.watch.take() {
                self.state.owner.watcher.unwatch(&self.state, watch);
            }
            // A waker may free its task, which may hold another `Hangup` of this connection.
            drop(waiters);
            drop(wakers);
        }
    }
}

impl fmt::Debug for Hangup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hangup").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
