//! Whether a target has a ready endpoint, as the interceptors see it.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use rouse_proto::load::TargetRef;

use super::{moment::Moment, route::Route};

/// A Service port as a route names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TargetId {
    namespace: Arc<str>,
    service: Arc<str>,
    port: Arc<str>,
}

impl TargetId {
    pub(crate) fn of(target: &TargetRef) -> Self {
        Self {
            namespace: target.namespace.as_str().into(),
            service: target.service.as_str().into(),
            port: target.port.as_str().into(),
        }
    }

    /// Whether `target` names this one; spares making a key to find that nothing changed.
    pub(crate) fn is(&self, target: &TargetRef) -> bool {
        *self.service == *target.service && *self.port == *target.port && *self.namespace == *target.namespace
    }
}

/// One target. Shared by the routes that send to it.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) id: TargetId,
    cold: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// One per interceptor that reports the target.
    reports: Vec<Report>,
    routes: Vec<Weak<Route>>,
}

#[derive(Debug)]
struct Report {
    boot_id: u64,
    ready: bool,
    /// The interceptor is heard from.
    current: bool,
}

impl Target {
    pub(crate) fn new(id: TargetId) -> Self {
        Self {
            id,
            cold: AtomicBool::new(true),
            state: Mutex::default(),
        }
    }

    /// Whether requests have to wait for an endpoint.
    ///
    /// True while any interceptor that is heard from sees none: if they disagree, one of them may be holding requests,
    /// and a wake too many costs less than one too few. What a silent interceptor last said counts only while nobody
    /// else speaks.
    pub(crate) fn is_cold(&self) -> bool {
        // Written before the routes are evaluated anew, and read under a route's lock: the last evaluation sees it.
        self.cold.load(Ordering::Acquire)
    }

    /// An interceptor says whether the target has a ready endpoint.
    pub(crate) fn report(&self, boot_id: u64, ready: bool, now: Moment) {
        self.change(now, |reports| {
            match reports.iter_mut().find(|report| report.boot_id == boot_id) {
                Some(report) => (report.ready, report.current) = (ready, true),
                None => reports.push(Report {
                    boot_id,
                    ready,
                    current: true,
                }),
            }
        });
    }

    /// An interceptor has fallen silent.
    pub(crate) fn lose(&self, boot_id: u64, now: Moment) {
        self.change(now, |reports| {
            for report in reports.iter_mut().filter(|report| report.boot_id == boot_id) {
                report.current = false;
            }
        });
    }

    /// An interceptor no longer knows the target, or is no longer counted on.
    pub(crate) fn retract(&self, boot_id: u64, now: Moment) {
        self.change(now, |reports| reports.retain(|report| report.boot_id != boot_id));
    }

    /// `route` sends here from now on.
    pub(crate) fn attach(&self, route: &Arc<Route>) {
        let mut state = self.state.lock();
        state.routes.retain(|other| other.strong_count() > 0);
        state.routes.push(Arc::downgrade(route));
    }

    /// `route` sends elsewhere, or is gone.
    pub(crate) fn detach(&self, route: &Arc<Route>) {
        let route = Arc::downgrade(route);
        self.state
            .lock()
            .routes
            .retain(|other| other.strong_count() > 0 && !other.ptr_eq(&route));
    }

    /// Whether nobody reports it and no route sends to it.
    pub(crate) fn is_unused(&self) -> bool {
        let state = self.state.lock();
        state.reports.is_empty() && state.routes.iter().all(|route| route.strong_count() == 0)
    }

    fn change(&self, now: Moment, change: impl FnOnce(&mut Vec<Report>)) {
        let routes: Vec<Weak<Route>> = {
            let mut state = self.state.lock();
            change(&mut state.reports);
            let heard = state.reports.iter().any(|report| report.current);
            let mut counted = state
                .reports
                .iter()
                .filter(|report| report.current || !heard)
                .peekable();
            let cold = counted.peek().is_none() || counted.any(|report| !report.ready);
            if self.cold.swap(cold, Ordering::AcqRel) == cold {
                return;
            }
            state.routes.clone()
        };
        // Outside the lock: a route locks itself and then looks at its target.
        for route in routes.iter().filter_map(Weak::upgrade) {
            route.target_changed(now);
        }
    }
}
