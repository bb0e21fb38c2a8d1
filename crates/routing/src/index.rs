//! The mutable side: all routes, who claims which host, and what changed since the last table. Owned by one task on the
//! control runtime; it grows with the objects that are applied and shrinks with those removed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use ahash::RandomState;

use crate::{
    Conflict, HostPattern, Rejection, RouteId, RouteSpec, RouteTable,
    host_table::HostTable,
    route::{ByAge, Route},
    table::{Shard, Slot, WildcardDepths, depth, shard_of},
};

/// Who may serve paths of a host.
///
/// Hosts are owned as they are written: `*.example.com` and `*` each have an owner like any other host, and another
/// namespace may claim `chat.example.com` below them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostOwnership {
    /// The namespace of the oldest object that claims the host. When that object goes, or claims the host no more, the
    /// host goes to the namespace of the oldest that is left.
    #[default]
    FirstNamespace,
    /// Every namespace that claims it.
    Shared,
}

/// All routes, from which [tables](RouteTable) are made. The result depends on what is in it, never on the order of the
/// calls.
#[derive(Debug)]
pub struct RouteIndex<T> {
    ownership: HostOwnership,
    routes: HashMap<RouteId, Arc<Route<T>>, RandomState>,
    /// Who claims each host. Never an empty set.
    claimants: HashMap<HostPattern, BTreeSet<ByAge<T>>, RandomState>,
    /// Hosts whose part of the table is out of date.
    dirty: HashSet<HostPattern, RandomState>,
    /// How many wildcards there are of each depth.
    wildcards: Box<[usize; WildcardDepths::COUNT]>,
    conflicts: BTreeMap<HostPattern, Box<[Conflict]>>,
    rejections: BTreeMap<RouteId, Box<[Rejection]>>,
    table: Arc<RouteTable<T>>,
}

impl<T> RouteIndex<T> {
    /// An index without routes.
    pub fn new(ownership: HostOwnership) -> Self {
        Self {
            ownership,
            routes: HashMap::default(),
            claimants: HashMap::default(),
            dirty: HashSet::default(),
            wildcards: Box::new([0; WildcardDepths::COUNT]),
            conflicts: BTreeMap::new(),
            rejections: BTreeMap::new(),
            table: Arc::default(),
        }
    }

    /// How many routes there are, served or not.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// A route's value.
    pub fn get(&self, id: &RouteId) -> Option<&T> {
        self.routes.get(id).map(|route| &route.value)
    }

    /// All routes, in no order. For a caller that has to find those that are gone.
    pub fn ids(&self) -> impl Iterator<Item = &RouteId> {
        self.routes.keys()
    }

    /// Removes a route. Says whether it was there.
    pub fn remove(&mut self, id: &RouteId) -> bool {
        self.rejections.remove(id);
        let Some(route) = self.routes.remove(id) else {
            return false;
        };
        self.withdraw(route);
        true
    }

    /// What of each route can never be served, in the order of the routes.
    pub fn rejections(&self) -> impl Iterator<Item = (&RouteId, &Rejection)> {
        self.rejections
            .iter()
            .flat_map(|(id, rejections)| rejections.iter().map(move |rejection| (id, rejection)))
    }

    fn claim(&mut self, route: &Arc<Route<T>>) {
        for host in route.hosts() {
            self.dirty.insert(host.clone());
            let claimants = self.claimants.entry(host.clone()).or_default();
            if claimants.is_empty()
                && let HostPattern::Wildcard(name) = host
            {
                self.wildcards[WildcardDepths::bit(depth(name.as_bytes()))] += 1;
            }
            claimants.insert(ByAge(route.clone()));
        }
    }

    fn withdraw(&mut self, route: Arc<Route<T>>) {
        let route = ByAge(route);
        for host in route.0.hosts() {
            self.dirty.insert(host.clone());
            let Some(claimants) = self.claimants.get_mut(host) else {
                continue;
            };
            claimants.remove(&route);
            if claimants.is_empty() {
                self.claimants.remove(host);
                if let HostPattern::Wildcard(name) = host {
                    self.wildcards[WildcardDepths::bit(depth(name.as_bytes()))] -= 1;
                }
            }
        }
    }
}

impl<T: Clone> RouteIndex<T> {
    /// Adds a route, or replaces the one of the same id. Says whether anything changed, in what it matches, in its
    /// value or in what is rejected of it; writing the same rules in another way is no change.
    pub fn apply(&mut self, spec: RouteSpec<T>) -> bool
    where
        T: PartialEq,
    {
        let (route, rejections) = Route::compile(spec);
        let id = route.id.clone();
        let before = if rejections.is_empty() {
            self.rejections.remove(&id)
        } else {
            self.rejections.insert(id.clone(), rejections.clone().into())
        };
        let same_rejections = before.as_deref().unwrap_or_default() == rejections;
        let before = self.routes.get(&id);
        if before.is_some_and(|before| before.claims_as(&route) && before.value == route.value) {
            return !same_rejections;
        }
        let route = Arc::new(route);
        if let Some(before) = self.routes.insert(id, route.clone()) {
            self.withdraw(before);
        }
        self.claim(&route);
        true
    }

    /// The table of the routes as they are now: the same one as before if nothing changed.
    ///
    /// Costs what is claimed on the hosts that changed, their shards, and a copy of one pointer per shard.
    pub fn table(&mut self) -> Arc<RouteTable<T>> {
        if !self.dirty.is_empty() {
            self.table = Arc::new(self.rebuild());
        }
        self.table.clone()
    }

    /// What routes claim and do not get because of other routes, by host and path.
    pub fn conflicts(&mut self) -> impl Iterator<Item = &Conflict> {
        self.table();
        self.conflicts.values().flatten()
    }

    fn rebuild(&mut self) -> RouteTable<T> {
        let before = &*self.table;
        let mut shards = before.shards.clone();
        let mut catch_all = before.catch_all.clone();
        let mut wildcard_depths = WildcardDepths::default();
        for (depth, _) in self.wildcards.iter().enumerate().filter(|(_, count)| **count > 0) {
            wildcard_depths.insert(depth);
        }

        let mut changes = BTreeMap::<usize, Vec<Change<T>>>::new();
        for pattern in std::mem::take(&mut self.dirty) {
            let claimants = self.claimants.get(&pattern);
            let built = claimants.map(|claimants| HostTable::build(&pattern, claimants, self.ownership));
            let (host, conflicts) = built.map_or((None, Vec::new()), |(host, conflicts)| {
                (Some(Arc::new(host)), conflicts)
            });
            if conflicts.is_empty() {
                self.conflicts.remove(&pattern);
            } else {
                self.conflicts.insert(pattern.clone(), conflicts.into());
            }
            let (HostPattern::Exact(name) | HostPattern::Wildcard(name)) = &pattern else {
                catch_all = host;
                continue;
            };
            let hash = before.hash(name.as_bytes());
            changes
                .entry(shard_of(hash))
                .or_default()
                .push(Change { hash, pattern, host });
        }
        for (shard, changes) in changes {
            shards[shard] = rebuild_shard(&shards[shard], changes);
        }
        RouteTable {
            hasher: before.hasher.clone(),
            shards,
            wildcard_depths,
            catch_all,
        }
    }
}

/// What becomes of one host: its new table, or none when nobody claims it any more.
struct Change<T> {
    hash: u64,
    pattern: HostPattern,
    host: Option<Arc<HostTable<T>>>,
}

fn rebuild_shard<T>(before: &Shard<T>, changes: Vec<Change<T>>) -> Shard<T> {
    let changed: HashSet<&HostPattern, RandomState> = changes.iter().map(|change| &change.pattern).collect();
    let kept = before
        .iter()
        .filter(|slot| !changed.contains(&slot.host.pattern))
        .cloned();
    let mut slots: Vec<_> = kept.collect();
    slots.extend(
        changes
            .into_iter()
            .filter_map(|Change { hash, host, .. }| Some(Slot { hash, host: host? })),
    );
    slots.sort_unstable_by_key(|slot| slot.hash);
    slots.into()
}

#[cfg(test)]
mod tests;
