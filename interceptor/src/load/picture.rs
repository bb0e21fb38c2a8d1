//! What was last said of every route and target, and the order in which it changed.
//!
//! Every change moves its route or target to the end of one order. A stream keeps the version it has told so far; what
//! lies behind it in the order is what it has to tell next, each route once with its latest counts. So a stream that
//! stalls costs nothing and nothing is queued for it. Removed things leave a tombstone; a stream that stalled for longer
//! than the tombstones reach back starts again with a full report.
//!
//! Bounded by the routes and targets that exist and [`MAX_TOMBSTONES`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use rouse_proto::load::{self as wire, LoadReport, RouteLoad, TargetRef, TargetState};
use rouse_routing::{RouteId, RouteKind};

use super::source::{LoadSource, RouteLoadSample};
use crate::plan::{TargetKey, TargetPort};

/// How many removals are remembered for streams that have not told them yet.
pub(super) const MAX_TOMBSTONES: usize = 4_096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Picture {
    routes: HashMap<RouteId, RouteEntry>,
    targets: HashMap<TargetKey, TargetEntry>,
    /// Live routes and targets by the version of their last change.
    order: BTreeMap<u64, Item>,
    tombstones: BTreeMap<u64, Item>,
    /// The version of the last change.
    version: u64,
    /// Removals up to this version are no longer remembered.
    forgotten: u64,
}

#[derive(Debug)]
struct RouteEntry {
    source: Arc<dyn LoadSource>,
    said: RouteLoadSample,
    version: u64,
}

#[derive(Debug)]
struct TargetEntry {
    ready: u32,
    version: u64,
}

#[derive(Debug, Clone)]
enum Item {
    Route(RouteId),
    Target(TargetKey),
}

impl Picture {
    /// The version of the last change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Adds a route, or puts a new state in the place of an old one, whose counts are then over.
    pub(super) fn add_route(&mut self, source: Arc<dyn LoadSource>) {
        if self
            .routes
            .get(source.id())
            .is_some_and(|entry| same(&entry.source, &source))
        {
            self.sample(&source);
            return;
        }
        let id = source.id().clone();
        self.remove_route(&id);
        let version = self.append(Item::Route(id.clone()));
        let said = source.load();
        self.routes.insert(
            id,
            RouteEntry {
                source,
                said,
                version,
            },
        );
    }

    /// Removes a route, if it is there.
    pub(super) fn remove_route(&mut self, id: &RouteId) {
        if let Some(entry) = self.routes.remove(id) {
            self.order.remove(&entry.version);
            self.bury(Item::Route(id.clone()));
        }
    }

    /// Sets a target's ready endpoints. True when the target became ready or ceased to be.
    pub(super) fn set_target(&mut self, key: &TargetKey, ready: u32) -> bool {
        match self.targets.get(key) {
            Some(entry) if entry.ready == ready => return false,
            _ => {}
        }
        let version = self.append(Item::Target(key.clone()));
        let before = self.targets.insert(key.clone(), TargetEntry { ready, version });
        if let Some(before) = &before {
            self.order.remove(&before.version);
        }
        before.is_some_and(|before| before.ready > 0) != (ready > 0)
    }

    /// Removes a target, if it is there.
    pub(super) fn remove_target(&mut self, key: &TargetKey) {
        if let Some(entry) = self.targets.remove(key) {
            self.order.remove(&entry.version);
            self.bury(Item::Target(key.clone()));
        }
    }

    /// Reads a route's counts and notes whether they changed. A source whose route is gone is passed over.
    pub(super) fn sample(&mut self, source: &Arc<dyn LoadSource>) {
        let version = self.version + 1;
        let Some(entry) = self.routes.get_mut(source.id()) else {
            return;
        };
        if !same(&entry.source, source) {
            return;
        }
        let now = source.load();
        if now == entry.said {
            return;
        }
        entry.said = now;
        let before = std::mem::replace(&mut entry.version, version);
        self.version = version;
        // The item moves from its old place to the end.
        if let Some(item) = self.order.remove(&before) {
            self.order.insert(version, item);
        }
    }

    /// The sources of every route.
    pub(super) fn sources(&self) -> Vec<Arc<dyn LoadSource>> {
        self.routes
            .values()
            .map(|entry| Arc::clone(&entry.source))
            .collect()
    }

    /// Everything there is, counted now, with the arrivals of each route's window.
    pub(super) fn full(&self) -> LoadReport {
        LoadReport {
            full: true,
            routes: self
                .routes
                .values()
                .map(|entry| RouteLoad {
                    arrivals: entry.source.arrivals(),
                    ..route_load(entry.source.id(), &entry.source.load())
                })
                .collect(),
            targets: self
                .targets
                .iter()
                .map(|(key, entry)| target_state(key, entry.ready))
                .collect(),
            ..LoadReport::default()
        }
    }

    /// What changed after `version`: removals first, because what was removed may be there again. `None` when removals
    /// that lie behind `version` have been forgotten.
    pub(super) fn since(&self, version: u64) -> Option<LoadReport> {
        if version < self.forgotten {
            return None;
        }
        let mut report = LoadReport::default();
        for item in self.tombstones.range(version + 1..).map(|(_, item)| item) {
            match item {
                Item::Route(id) => report.routes.push(RouteLoad {
                    removed: true,
                    ..route_name(id)
                }),
                Item::Target(key) => report.targets.push(TargetState {
                    removed: true,
                    ..target_state(key, 0)
                }),
            }
        }
        for item in self.order.range(version + 1..).map(|(_, item)| item) {
            match item {
                Item::Route(id) => {
                    let entry = self.routes.get(id);
                    report
                        .routes
                        .extend(entry.map(|entry| route_load(id, &entry.said)));
                }
                Item::Target(key) => {
                    let entry = self.targets.get(key);
                    report
                        .targets
                        .extend(entry.map(|entry| target_state(key, entry.ready)));
                }
            }
        }
        Some(report)
    }

    fn append(&mut self, item: Item) -> u64 {
        self.version += 1;
        self.order.insert(self.version, item);
        self.version
    }

    fn bury(&mut self, item: Item) {
        self.version += 1;
        self.tombstones.insert(self.version, item);
        if self.tombstones.len() > MAX_TOMBSTONES
            && let Some((version, _)) = self.tombstones.pop_first()
        {
            self.forgotten = version;
        }
    }
}

/// Whether both are the same state, not two states of one route.
fn same(one: &Arc<dyn LoadSource>, other: &Arc<dyn LoadSource>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

fn route_name(id: &RouteId) -> RouteLoad {
    let kind = match id.kind {
        RouteKind::HttpScaledObject => wire::RouteKind::HttpScaledObject,
        RouteKind::InterceptorRoute => wire::RouteKind::InterceptorRoute,
    };
    RouteLoad {
        kind: kind.into(),
        namespace: id.namespace.to_string(),
        name: id.name.to_string(),
        ..RouteLoad::default()
    }
}

fn route_load(id: &RouteId, sample: &RouteLoadSample) -> RouteLoad {
    RouteLoad {
        concurrency: sample.concurrency,
        pending: sample.pending,
        requests_total: sample.requests_total,
        demand_pulses: sample.demand_pulses,
        waking: sample.waking,
        target: Some(target_ref(&sample.target)),
        ..route_name(id)
    }
}

fn target_state(key: &TargetKey, ready: u32) -> TargetState {
    TargetState {
        target: Some(target_ref(key)),
        removed: false,
        ready_endpoints: ready,
    }
}

fn target_ref(key: &TargetKey) -> TargetRef {
    TargetRef {
        namespace: key.namespace.to_string(),
        service: key.service.to_string(),
        port: match &key.port {
            TargetPort::Number(number) => number.to_string(),
            TargetPort::Name(name) => name.to_string(),
        },
    }
}
