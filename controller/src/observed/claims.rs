//! Who gets which host: the data plane's own index, kept for what it refuses. The status of a route and what the interceptor
//! serves cannot disagree, because both follow from the same code.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem,
};

use http::HeaderName;
use rouse_routing::{
    Conflict, HeaderMatch, HostOwnership, Rejection, RouteId, RouteIndex, RouteKind, RouteSpec, Rule,
};

use super::{Route, Spec};

/// The claims of all routes on hosts.
#[derive(Debug)]
pub(crate) struct Claims {
    index: RouteIndex<()>,
    /// What each route claims: which of two objects of one name is in the index changes with the other one.
    specs: HashMap<RouteId, RouteSpec<()>>,
    conflicts: HashMap<RouteId, Vec<Conflict>>,
    rejections: HashMap<RouteId, Vec<Rejection>>,
    is_stale: bool,
}

impl Default for Claims {
    fn default() -> Self {
        Self {
            index: RouteIndex::new(HostOwnership::default()),
            specs: HashMap::new(),
            conflicts: HashMap::new(),
            rejections: HashMap::new(),
            is_stale: false,
        }
    }
}

impl Claims {
    /// What the route claims and another route gets.
    pub(crate) fn conflicts(&self, id: &RouteId) -> &[Conflict] {
        self.conflicts.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    /// What of the route no request can ever match.
    pub(crate) fn rejections(&self, id: &RouteId) -> &[Rejection] {
        self.rejections.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether [`refresh`](Self::refresh) has something to do.
    pub(super) fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// A route that is invalid keeps what it claimed when it last was not, as it does in the interceptors.
    pub(super) fn apply(&mut self, route: &Route) {
        if let Some(rules) = rules(route) {
            let spec = RouteSpec {
                id: route.id.clone(),
                created: route.created,
                rules,
                value: (),
            };
            self.specs.insert(route.id.clone(), spec);
            self.index(&route.id);
        }
    }

    pub(super) fn remove(&mut self, id: &RouteId) {
        self.specs.remove(id);
        self.is_stale |= self.index.remove(id);
        self.index(id);
    }

    /// Puts the route of this name into the index that is served: the InterceptorRoute, if there is one.
    fn index(&mut self, id: &RouteId) {
        let of_kind = |kind| RouteId { kind, ..id.clone() };
        let preferred = of_kind(RouteKind::InterceptorRoute);
        let other = of_kind(RouteKind::HttpScaledObject);
        if let Some(spec) = self.specs.get(&preferred) {
            self.is_stale |= self.index.apply(spec.clone());
            self.is_stale |= self.index.remove(&other);
        } else if let Some(spec) = self.specs.get(&other) {
            self.is_stale |= self.index.apply(spec.clone());
        }
    }

    /// Works out anew what is refused, and adds those for whom it has become another to `dirty`. Costs as much as there are
    /// conflicts, which should be few.
    pub(super) fn refresh(&mut self, dirty: &mut BTreeSet<RouteId>) {
        if !mem::take(&mut self.is_stale) {
            return;
        }
        let conflicts = grouped(self.index.conflicts().map(|conflict| (&conflict.route, conflict)));
        let rejections = grouped(self.index.rejections());
        note_changes(&self.conflicts, &conflicts, dirty);
        note_changes(&self.rejections, &rejections, dirty);
        self.conflicts = conflicts;
        self.rejections = rejections;
    }
}

fn grouped<'a, T: Clone + 'a>(
    refused: impl Iterator<Item = (&'a RouteId, &'a T)>,
) -> HashMap<RouteId, Vec<T>> {
    let mut groups: HashMap<RouteId, Vec<T>> = HashMap::new();
    for (id, refused) in refused {
        groups.entry(id.clone()).or_default().push(refused.clone());
    }
    groups
}

fn note_changes<T: PartialEq>(
    before: &HashMap<RouteId, Vec<T>>,
    after: &HashMap<RouteId, Vec<T>>,
    dirty: &mut BTreeSet<RouteId>,
) {
    let ids: HashSet<&RouteId> = before.keys().chain(after.keys()).collect();
    let changed = ids.into_iter().filter(|id| before.get(id) != after.get(id));
    dirty.extend(changed.cloned());
}

/// What a valid route matches, in the interceptor's terms.
fn rules(route: &Route) -> Option<Vec<Rule>> {
    if !route.is_valid() {
        return None;
    }
    match &route.spec {
        Spec::HttpScaledObject(spec) => {
            let headers = spec.headers.iter().map(|header| (&header.name, &header.value));
            Some(vec![Rule {
                hosts: spec.hosts.clone(),
                paths: spec.path_prefixes.clone(),
                headers: headers_of(headers)?,
            }])
        }
        Spec::InterceptorRoute(spec) => {
            let rules = spec.rules.iter().map(|rule| {
                let headers = rule.headers.iter().map(|header| (&header.name, &header.value));
                Some(Rule {
                    hosts: rule.hosts.clone(),
                    paths: rule.paths.iter().map(|path| path.value.clone()).collect(),
                    headers: headers_of(headers)?,
                })
            });
            rules.collect()
        }
        Spec::Unreadable(_) => None,
    }
}

/// `None` where a name is none, which makes the whole object invalid.
fn headers_of<'a>(
    headers: impl Iterator<Item = (&'a String, &'a Option<String>)>,
) -> Option<Vec<HeaderMatch>> {
    headers
        .map(|(name, value)| {
            Some(HeaderMatch {
                name: HeaderName::try_from(name).ok()?,
                value: value.clone(),
            })
        })
        .collect()
}
