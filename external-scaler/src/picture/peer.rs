//! One interceptor as a source: whether it is heard from, and for how long it is waited for.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;

use super::moment::Moment;

/// How long a silent interceptor matters.
///
/// Three things must not happen: that a used application is scaled to zero because the interceptor that carries its
/// traffic is not heard, that the last counts of a dead one keep applications up for ever, and that a dead one which
/// nobody takes off the list keeps every application up for ever. So a silent interceptor's counts stand for `retention`;
/// after that they are dropped, but no route is called idle without it until it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// How long its last counts stand. Also how long a refused connection (the host answers, the process is not there) is
    /// waited for, which is ample for a crashed container to be back.
    pub(crate) retention: Duration,
    /// How long no route is called idle without it, where it might still be serving behind a cut wire.
    pub(crate) give_up: Duration,
}

/// An interceptor on the list, or one that left it and is still being heard.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    listed: AtomicBool,
    /// Held and in-flight requests over all its routes.
    concurrency: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    heard: bool,
    live: bool,
    /// When it fell silent or, if never heard, was listed.
    silent_since: Moment,
    /// Since when every attempt to connect was refused.
    refused_since: Option<Moment>,
    last_report: Option<Moment>,
    draining: bool,
}

/// What a peer is to the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum PeerState {
    /// Reports arrive.
    Live,
    /// Reports arrive, and it says that it is shutting down.
    Draining,
    /// Listed and not heard yet.
    Connecting,
    /// Was heard, is silent; no route is called idle without it.
    Lost,
    /// Silent for so long that it is no longer waited for.
    GivenUp,
}

impl PeerState {
    pub(crate) const ALL: [Self; 5] = [
        Self::Live,
        Self::Draining,
        Self::Connecting,
        Self::Lost,
        Self::GivenUp,
    ];

    /// The metric label.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Draining => "draining",
            Self::Connecting => "connecting",
            Self::Lost => "lost",
            Self::GivenUp => "given_up",
        }
    }
}

impl Peer {
    pub(crate) fn new(addr: SocketAddr, now: Moment) -> Self {
        Self {
            addr,
            listed: AtomicBool::new(true),
            concurrency: AtomicU64::new(0),
            state: Mutex::new(State {
                heard: false,
                live: false,
                silent_since: now,
                refused_since: None,
                last_report: None,
                draining: false,
            }),
        }
    }

    /// Whether the list names it. Changed only under the lock of the map that holds the peer.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }

    pub(crate) fn set_listed(&self, listed: bool) {
        self.listed.store(listed, Ordering::Release);
    }

    /// A report was taken over whole. Says whether it is the first, or the first after a silence.
    pub(super) fn reported(&self, draining: bool, now: Moment) -> bool {
        let mut state = self.state.lock();
        let first = !state.live;
        (state.heard, state.live, state.draining) = (true, true, draining);
        state.refused_since = None;
        state.last_report = Some(now);
        first
    }

    /// Whether it said last that it is shutting down. Its silence is then no news.
    pub(crate) fn is_draining(&self) -> bool {
        self.state.lock().draining
    }

    /// The stream has ended. Says whether it had been heard until now.
    pub(super) fn fell_silent(&self, now: Moment) -> bool {
        let mut state = self.state.lock();
        let was_live = state.live;
        if was_live {
            state.live = false;
            state.silent_since = now;
        }
        was_live
    }

    /// An attempt to connect failed; `refused` if the host said that nobody listens.
    pub(crate) fn attempt_failed(&self, refused: bool, now: Moment) {
        let mut state = self.state.lock();
        state.refused_since = match (refused, state.refused_since) {
            (false, _) => None,
            (true, Some(since)) => Some(since),
            (true, None) => Some(now),
        };
    }

    pub(crate) fn state(&self, patience: Patience, now: Moment) -> PeerState {
        let state = self.state.lock();
        if state.live {
            return if state.draining {
                PeerState::Draining
            } else {
                PeerState::Live
            };
        }
        let refused_for = state.refused_since.map(|since| now.since(since));
        if refused_for.is_some_and(|span| span >= patience.retention)
            || now.since(state.silent_since) >= patience.give_up
        {
            PeerState::GivenUp
        } else if state.heard {
            PeerState::Lost
        } else {
            PeerState::Connecting
        }
    }

    /// When the last report came.
    pub(crate) fn last_report(&self) -> Option<Moment> {
        self.state.lock().last_report
    }

    pub(crate) fn concurrency(&self) -> u64 {
        self.concurrency.load(Ordering::Relaxed)
    }

    /// One route's share changed. Only the peer's own task calls this.
    pub(super) fn count(&self, change: super::route::ConcurrencyChange) {
        let total = self.concurrency.load(Ordering::Relaxed);
        let total = total.saturating_sub(change.before).saturating_add(change.after);
        self.concurrency.store(total, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        retention: Duration::from_mins(1),
        give_up: Duration::from_mins(10),
    };

    fn secs(secs: i64) -> Moment {
        Moment::from_millis(secs * 1000)
    }

    fn peer() -> Peer {
        Peer::new("127.0.0.1:1".parse().unwrap(), secs(0))
    }

    #[test]
    fn a_silent_peer_is_waited_for_until_it_is_given_up() {
        let peer = peer();
        assert_eq!(peer.state(PATIENCE, secs(599)), PeerState::Connecting);
        peer.reported(false, secs(599));
        assert_eq!(peer.state(PATIENCE, secs(5000)), PeerState::Live);
        assert!(peer.fell_silent(secs(1000)));
        assert!(!peer.fell_silent(secs(1001)), "it was silent already");
        assert_eq!(peer.state(PATIENCE, secs(1599)), PeerState::Lost);
        assert_eq!(peer.state(PATIENCE, secs(1600)), PeerState::GivenUp);
        peer.reported(true, secs(1700));
        assert_eq!(peer.state(PATIENCE, secs(1700)), PeerState::Draining);
    }

    #[test]
    fn a_peer_whose_host_refuses_is_given_up_sooner() {
        let peer = peer();
        peer.reported(false, secs(0));
        peer.fell_silent(secs(0));
        peer.attempt_failed(true, secs(1));
        assert_eq!(peer.state(PATIENCE, secs(60)), PeerState::Lost);
        assert_eq!(peer.state(PATIENCE, secs(61)), PeerState::GivenUp);
        peer.attempt_failed(false, secs(61));
        assert_eq!(
            peer.state(PATIENCE, secs(62)),
            PeerState::Lost,
            "a time-out says nothing about the process"
        );
    }
}
