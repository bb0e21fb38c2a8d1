//! The load picture: what all interceptors say, merged per route, always in memory.
//!
//! Written by one task per interceptor through its [`Session`], read by every RPC. No lock is held across an await, and
//! none covers more than one route: an edge is not kept waiting by a full report of ten thousand routes.
//!
//! Bounded by what the interceptors report and by what the objects name; entries of which neither speaks any longer
//! are dropped.

mod moment;
mod peer;
mod rate;
mod route;
mod session;
mod target;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ahash::RandomState;
use dashmap::{DashMap, Entry};
use parking_lot::Mutex;
use rouse_proto::load::RouteLoad;
use rouse_routing::{RouteId, RouteKind};
use tokio::sync::watch;

use self::{
    moment::Epoch,
    route::{ConcurrencyChange, Retirement},
    target::{Target, TargetId},
};
pub(crate) use self::{
    moment::Moment,
    peer::{Patience, Peer, PeerState},
    rate::RateWindow,
    route::{Route, Signal},
    session::{ReportError, Session},
};

/// For how long a list of interceptors that nobody confirms is relied on: an interceptor that it lacks may be holding
/// requests. Above the longest that a watch which is well says nothing (40 s), and a time for the API server to come back.
const LIST_TRUSTED: Duration = Duration::from_mins(2);

/// The merged load of all interceptors.
#[derive(Debug)]
pub(crate) struct Picture {
    epoch: Epoch,
    patience: Patience,
    /// KEDA's polling interval for an HTTPScaledObject.
    httpso_polling_interval: Duration,
    routes: DashMap<RouteId, Arc<Route>, RandomState>,
    targets: DashMap<TargetId, Arc<Target>, RandomState>,
    peers: DashMap<SocketAddr, Arc<Peer>, RandomState>,
    /// When the list of peers was last known to be right. `None` where nobody says so: it is then as it was meant.
    list_confirmed: Mutex<Option<Moment>>,
    /// Rises whenever "nothing" may have become believable: the list changed, or an interceptor is heard after a silence.
    news: watch::Sender<u64>,
}

impl Picture {
    pub(crate) fn new(patience: Patience, httpso_polling_interval: Duration) -> Self {
        Self {
            epoch: Epoch::start(),
            patience,
            httpso_polling_interval,
            routes: DashMap::default(),
            targets: DashMap::default(),
            peers: DashMap::default(),
            list_confirmed: Mutex::default(),
            news: watch::Sender::default(),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        self.epoch.now()
    }

    pub(crate) fn patience(&self) -> Patience {
        self.patience
    }

    // --- Routes ---

    /// The route, if anybody has spoken of it.
    pub(crate) fn route(&self, id: &RouteId) -> Option<Arc<Route>> {
        self.routes.get(id).map(|route| Arc::clone(&route))
    }

    /// The route and a receiver of its signal; the receiver keeps the route in the picture.
    pub(crate) fn subscribe(&self, id: &RouteId) -> (Arc<Route>, watch::Receiver<Signal>) {
        self.with_route(id, |route| (Arc::clone(route), route.subscribe()))
    }

    /// An object for the route has been applied.
    pub(crate) fn register(&self, id: &RouteId, window: Option<RateWindow>) {
        self.with_route(id, |route| route.register(window, self.now()));
    }

    /// The object is gone.
    pub(crate) fn unregister(&self, id: &RouteId) {
        if let Some(route) = self.route(id) {
            route.unregister();
        }
        self.drop_unused(id);
    }

    /// Drops the route if nobody speaks of it any longer.
    pub(crate) fn drop_unused(&self, id: &RouteId) {
        if let Some((_, route)) = self.routes.remove_if(id, |_, route| route.is_unused()) {
            let target = route.release().map(|target| target.id.clone());
            drop(route);
            if let Some(target) = target {
                self.drop_unused_target(&target);
            }
        }
    }

    pub(crate) fn route_count(&self) -> usize {
        self.routes.len()
    }

    #[cfg(test)]
    pub(crate) fn target_count(&self) -> usize {
        self.targets.len()
    }

    /// Runs `with` on the route while its place in the map is locked, so that it cannot be dropped in between.
    fn with_route<T>(&self, id: &RouteId, with: impl FnOnce(&Arc<Route>) -> T) -> T {
        if let Some(route) = self.routes.get(id) {
            return with(&route);
        }
        let interval = match id.kind {
            RouteKind::HttpScaledObject => Some(self.httpso_polling_interval),
            RouteKind::InterceptorRoute => None,
        };
        let route = self
            .routes
            .entry(id.clone())
            .or_insert_with(|| Arc::new(Route::new(id.clone(), interval)));
        with(&route)
    }

    // --- What sessions report ---

    fn report_route(&self, id: &RouteId, boot_id: u64, load: &RouteLoad, full: bool) -> ConcurrencyChange {
        let mut left = None;
        let target = match (&load.target, self.route(id).and_then(|route| route.target())) {
            (None, _) => None,
            (Some(target), Some(known)) if known.id.is(target) => Some(known),
            (Some(target), known) => {
                left = known.map(|known| known.id.clone());
                Some(self.target(&TargetId::of(target)))
            }
        };
        let change = self.with_route(id, |route| route.report(boot_id, load, target, full, self.now()));
        if let Some(left) = left {
            self.drop_unused_target(&left);
        }
        change
    }

    fn retire(&self, id: &RouteId, boot_id: u64, why: Retirement) -> ConcurrencyChange {
        let Some(route) = self.route(id) else {
            return ConcurrencyChange::default();
        };
        let change = route.retire(boot_id, why, self.now());
        drop(route);
        self.drop_unused(id);
        change
    }

    fn report_target(&self, id: &TargetId, boot_id: u64, ready: bool) {
        let target = self.target(id);
        target.report(boot_id, ready, self.now());
    }

    fn lose_target(&self, id: &TargetId, boot_id: u64) {
        if let Some(target) = self.targets.get(id).map(|target| Arc::clone(&target)) {
            target.lose(boot_id, self.now());
        }
    }

    fn retract_target(&self, id: &TargetId, boot_id: u64) {
        if let Some(target) = self.targets.get(id).map(|target| Arc::clone(&target)) {
            target.retract(boot_id, self.now());
        }
        self.drop_unused_target(id);
    }

    fn target(&self, id: &TargetId) -> Arc<Target> {
        if let Some(target) = self.targets.get(id) {
            return Arc::clone(&target);
        }
        let target = self
            .targets
            .entry(id.clone())
            .or_insert_with(|| Arc::new(Target::new(id.clone())));
        Arc::clone(&target)
    }

    fn drop_unused_target(&self, id: &TargetId) {
        self.targets.remove_if(id, |_, target| {
            Arc::strong_count(target) == 1 && target.is_unused()
        });
    }

    // --- Peers ---

    /// Lists an interceptor. `Some` if it is not being listened to yet.
    pub(crate) fn list(&self, addr: SocketAddr) -> Option<Arc<Peer>> {
        match self.peers.entry(addr) {
            Entry::Occupied(peer) => {
                peer.get().set_listed(true);
                None
            }
            Entry::Vacant(place) => {
                let peer = Arc::new(Peer::new(addr, self.now()));
                place.insert(Arc::clone(&peer));
                Some(peer)
            }
        }
    }

    /// Takes off the list whatever `keep` does not name. Those that are heard count until their streams end.
    pub(crate) fn unlist_others(&self, keep: &[SocketAddr]) {
        for peer in &self.peers {
            if !keep.contains(peer.key()) {
                peer.set_listed(false);
            }
        }
        self.progress();
    }

    /// Forgets the peer unless it is listed. Says whether it is forgotten.
    pub(crate) fn forget(&self, addr: SocketAddr) -> bool {
        let forgotten = self.peers.remove_if(&addr, |_, peer| !peer.is_listed()).is_some();
        if forgotten {
            self.progress();
        }
        forgotten
    }

    /// All peers with their states.
    pub(crate) fn peers(&self) -> Vec<(Arc<Peer>, PeerState)> {
        let now = self.now();
        self.peers
            .iter()
            .map(|peer| (Arc::clone(&peer), peer.state(self.patience, now)))
            .collect()
    }

    /// Held and in-flight requests over all routes of all interceptors.
    pub(crate) fn total_concurrency(&self) -> u64 {
        self.peers
            .iter()
            .fold(0, |sum, peer| sum.saturating_add(peer.concurrency()))
    }

    /// The list was right `ago` before now.
    pub(crate) fn confirm_list(&self, ago: Duration) {
        let now = self.now();
        let was_trusted = self.is_list_trusted(now);
        *self.list_confirmed.lock() = Some(now.minus(ago));
        let is_trusted = self.is_list_trusted(now);
        if is_trusted && !was_trusted {
            tracing::info!("the list of interceptors is confirmed again");
            self.progress();
        } else if was_trusted && !is_trusted {
            tracing::warn!(
                ?ago,
                "the list of interceptors is too old to be relied on, no route is called idle"
            );
        }
    }

    /// How long ago the list was last known to be right, where somebody says so.
    pub(crate) fn list_age(&self) -> Option<Duration> {
        self.list_confirmed
            .lock()
            .map(|confirmed| self.now().since(confirmed))
    }

    /// What is wrong with the list, for people.
    pub(crate) fn list_remark(&self) -> Option<String> {
        let age = self.list_age().filter(|age| *age > LIST_TRUSTED)?;
        Some(format!(
            "list of interceptors not confirmed for {}s, no route is called idle",
            age.as_secs()
        ))
    }

    fn is_list_trusted(&self, now: Moment) -> bool {
        let confirmed = *self.list_confirmed.lock();
        confirmed.is_none_or(|confirmed| now.since(confirmed) <= LIST_TRUSTED)
    }

    /// Whether "nothing" may be believed: the list is not out of date, some listed interceptor is heard, and none that is
    /// listed is waited for. An empty list says that the list is wrong rather than that there is no traffic.
    pub(crate) fn can_say_none(&self) -> bool {
        let now = self.now();
        if !self.is_list_trusted(now) {
            return false;
        }
        let mut heard = false;
        for peer in self.peers.iter().filter(|peer| peer.is_listed()) {
            match peer.state(self.patience, now) {
                PeerState::Live | PeerState::Draining => heard = true,
                PeerState::Connecting | PeerState::Lost => return false,
                PeerState::GivenUp => {}
            }
        }
        heard
    }

    /// A receiver that changes when "nothing" may have become believable.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Ends when every listed interceptor is heard.
    pub(crate) async fn complete(&self) {
        let mut news = self.news();
        while !self.can_say_none() {
            if news.changed().await.is_err() {
                // The sender lives as long as `self`.
                return std::future::pending().await;
            }
        }
    }

    fn progress(&self) {
        self.news.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests;
