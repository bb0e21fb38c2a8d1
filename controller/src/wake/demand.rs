//! Which routes have requests that wait for an endpoint, over all interceptors. Pure; [`SharedDemand`] shares it.
//!
//! Of each interceptor only the routes with held requests and the targets with ready endpoints are kept. The external
//! scaler's picture answers for rates and activity as well, and is kept apart for its own sake: here one question is asked.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
};

use parking_lot::Mutex;
use rouse_proto::load::{LoadReport, RouteKind as ProtoKind, RouteLoad, TargetRef};
use rouse_routing::{RouteId, RouteKind};
use tokio::{sync::watch, time::Instant};

/// Why a report cannot be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReportError {
    #[error("the stream's first report is not a full one")]
    NotFull,
    #[error("the boot id changed in the middle of a stream")]
    BootIdChanged,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    interceptors: HashMap<SocketAddr, Share>,
}

/// What one interceptor says.
#[derive(Debug, Default)]
struct Share {
    boot_id: u64,
    /// The routes with held requests, or with a wake begun that has not been seen to succeed.
    held: HashMap<RouteId, Held>,
    /// The targets with a ready endpoint.
    ready: HashSet<TargetRef>,
}

/// A route with held requests.
#[derive(Debug, Clone)]
struct Held {
    target: TargetRef,
    /// Since when there has been one at every moment, as far as is known here. The endpoints may have gone later: until their
    /// end is noticed requests are held because each refuses the connection.
    since: Instant,
}

impl Share {
    /// Says whether anything changed.
    fn take_over(&mut self, report: LoadReport, now: Instant) -> bool {
        let mut has_changed = false;
        for target in report.targets {
            let Some(name) = target.target else { continue };
            has_changed |= if target.removed || target.ready_endpoints == 0 {
                self.ready.remove(&name)
            } else {
                self.ready.insert(name)
            };
        }
        for load in report.routes {
            let Some(id) = route_id(&load) else { continue };
            has_changed |= match load.target {
                Some(target) if !load.removed && (load.pending > 0 || load.waking) => {
                    let before = self.held.get(&id);
                    let since = before.map_or(now, |before| before.since);
                    let is_news = before.is_none_or(|before| before.target != target);
                    self.held.insert(id, Held { target, since });
                    is_news
                }
                _ => self.held.remove(&id).is_some(),
            };
        }
        has_changed
    }

    /// What is held here has been held for as long as `before` knows, where that is the same process.
    fn remember(&mut self, before: &Self) {
        if self.boot_id != before.boot_id {
            return;
        }
        for (id, held) in &mut self.held {
            if let Some(before) = before.held.get(id) {
                held.since = before.since;
            }
        }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        let is_held_there = |(id, held): (&RouteId, &Held)| {
            let there = other.held.get(id);
            there.is_some_and(|there| there.target == held.target)
        };
        self.ready == other.ready
            && self.held.len() == other.held.len()
            && self.held.iter().all(is_held_there)
    }
}

impl Demand {
    /// Takes a report over. `is_first` says that it is the first of its stream. Returns whether anything changed.
    pub(crate) fn report(
        &mut self,
        interceptor: SocketAddr,
        is_first: bool,
        report: LoadReport,
        now: Instant,
    ) -> Result<bool, ReportError> {
        let share = self.interceptors.entry(interceptor).or_default();
        if report.full {
            let mut fresh = Share {
                boot_id: report.boot_id,
                ..Share::default()
            };
            fresh.take_over(report, now);
            fresh.remember(share);
            let has_changed = !fresh.says_the_same(share);
            *share = fresh;
            return Ok(has_changed);
        }
        if is_first {
            return Err(ReportError::NotFull);
        }
        if share.boot_id != report.boot_id {
            return Err(ReportError::BootIdChanged);
        }
        Ok(share.take_over(report, now))
    }

    /// Drops what an interceptor said. Returns whether that changes anything.
    pub(crate) fn forget(&mut self, interceptor: SocketAddr) -> bool {
        let share = self.interceptors.remove(&interceptor);
        share.is_some_and(|share| !share.held.is_empty() || !share.ready.is_empty())
    }

    /// The routes whose requests an interceptor holds that itself sees no ready endpoint of their target. What others see
    /// does not count: one of them may have been told of nothing for a while, and the attempt looks at what there is now.
    ///
    /// With the time since which requests are held.
    pub(crate) fn waiting(&self) -> HashMap<RouteId, Instant> {
        let mut waiting: HashMap<RouteId, Instant> = HashMap::new();
        for share in self.interceptors.values() {
            for (id, held) in &share.held {
                if !share.ready.contains(&held.target) {
                    let since = waiting.entry(id.clone()).or_insert(held.since);
                    *since = held.since.min(*since);
                }
            }
        }
        waiting
    }

    /// Interceptors of which something is known.
    pub(crate) fn interceptors(&self) -> usize {
        self.interceptors.len()
    }
}

fn route_id(load: &RouteLoad) -> Option<RouteId> {
    let kind = match load.kind() {
        ProtoKind::HttpScaledObject => RouteKind::HttpScaledObject,
        ProtoKind::InterceptorRoute => RouteKind::InterceptorRoute,
        // A kind of a later version.
        ProtoKind::Unspecified => return None,
    };
    Some(RouteId::new(kind, load.namespace.as_str(), load.name.as_str()))
}

/// The demand, written by the listeners and read by the fallback. Cheap to clone. No lock is held across an await.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedDemand {
    demand: Arc<Mutex<Demand>>,
    revision: Arc<watch::Sender<u64>>,
}

impl SharedDemand {
    /// See [`Demand::report`].
    pub(crate) fn report(
        &self,
        interceptor: SocketAddr,
        is_first: bool,
        report: LoadReport,
    ) -> Result<(), ReportError> {
        let now = Instant::now();
        let has_changed = self.demand.lock().report(interceptor, is_first, report, now)?;
        self.note(has_changed);
        Ok(())
    }

    /// See [`Demand::forget`].
    pub(crate) fn forget(&self, interceptor: SocketAddr) {
        let has_changed = self.demand.lock().forget(interceptor);
        self.note(has_changed);
    }

    /// See [`Demand::waiting`].
    pub(crate) fn waiting(&self) -> HashMap<RouteId, Instant> {
        self.demand.lock().waiting()
    }

    /// See [`Demand::interceptors`].
    pub(crate) fn interceptors(&self) -> usize {
        self.demand.lock().interceptors()
    }

    /// Changes when [`waiting`](Self::waiting) may have changed.
    pub(crate) fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    fn note(&self, has_changed: bool) {
        if has_changed {
            self.revision.send_modify(|revision| *revision += 1);
        }
    }
}

#[cfg(test)]
mod tests;
