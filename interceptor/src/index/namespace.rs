//! One namespace: its objects, and the routes and targets made of them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ahash::RandomState;
use rouse_api::FieldWarning;
use rouse_routing::{RouteId, RouteKind};

use super::{
    Changes,
    object::{ReducedService, ReducedSlice},
    problem::{ObjectKind, ObjectProblem, ObjectWarning},
    resolve::resolve,
    route::{Planned, PlannedRoute},
};
use crate::plan::{TargetConfig, TargetKey, TargetPort};

type Map<V> = HashMap<Arc<str>, V, RandomState>;

/// See the module.
#[derive(Debug)]
pub(super) struct Namespace {
    name: Arc<str>,
    /// Route objects by name: an HTTPScaledObject and an InterceptorRoute may share one.
    routes: Map<Named>,
    services: Map<ReducedService>,
    /// Slices by their Service, which need not exist.
    slices: Map<Vec<(Arc<str>, ReducedSlice)>>,
    /// Each slice's Service.
    slice_services: Map<Arc<str>>,
    /// Services of which a pod waits for a node.
    waiting_for_node: HashSet<Arc<str>, RandomState>,
    /// What the served routes use, by Service.
    targets: Map<Vec<Target>>,
}

/// The objects of one name.
#[derive(Debug, Default)]
struct Named {
    http_scaled_object: Option<RouteObject>,
    interceptor_route: Option<RouteObject>,
}

/// One object: its last good version, and what is wrong with it now.
#[derive(Debug, Default)]
struct RouteObject {
    planned: Option<Arc<PlannedRoute>>,
    /// Boxed, because there should be none.
    problem: Option<Box<ObjectProblem>>,
    warnings: Box<[FieldWarning]>,
}

/// A port of a Service that routes use.
#[derive(Debug)]
struct Target {
    port: TargetPort,
    /// How many times routes name it.
    users: usize,
    config: TargetConfig,
}

impl Named {
    /// The route that is served: the InterceptorRoute, if it ever was a good one.
    fn serving(&self) -> Option<&Arc<PlannedRoute>> {
        [&self.interceptor_route, &self.http_scaled_object]
            .into_iter()
            .flatten()
            .find_map(|object| object.planned.as_ref())
    }

    fn object(&self, kind: RouteKind) -> Option<&RouteObject> {
        match kind {
            RouteKind::HttpScaledObject => self.http_scaled_object.as_ref(),
            RouteKind::InterceptorRoute => self.interceptor_route.as_ref(),
        }
    }

    fn object_mut(&mut self, kind: RouteKind) -> &mut Option<RouteObject> {
        match kind {
            RouteKind::HttpScaledObject => &mut self.http_scaled_object,
            RouteKind::InterceptorRoute => &mut self.interceptor_route,
        }
    }

    fn objects(&self) -> impl Iterator<Item = &RouteObject> {
        [&self.http_scaled_object, &self.interceptor_route]
            .into_iter()
            .flatten()
    }
}

impl PlannedRoute {
    /// Every target that the route uses.
    fn targets(&self) -> impl Iterator<Item = &TargetKey> {
        std::iter::once(&self.config.target).chain(&self.config.fallback)
    }
}

impl Namespace {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            routes: Map::default(),
            services: Map::default(),
            slices: Map::default(),
            slice_services: Map::default(),
            waiting_for_node: HashSet::default(),
            targets: Map::default(),
        }
    }

    /// Whether nothing is known of it. Targets exist by routes, slices' Services by slices.
    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty()
            && self.services.is_empty()
            && self.slices.is_empty()
            && self.waiting_for_node.is_empty()
    }

    /// The objects of a kind.
    pub(super) fn names(&self, kind: ObjectKind) -> Box<dyn Iterator<Item = &Arc<str>> + '_> {
        match kind {
            ObjectKind::Route(kind) => Box::new(
                self.routes
                    .iter()
                    .filter(move |(_, named)| named.object(kind).is_some())
                    .map(|(name, _)| name),
            ),
            ObjectKind::Service => Box::new(self.services.keys()),
            ObjectKind::EndpointSlice => Box::new(self.slice_services.keys()),
        }
    }

    pub(super) fn problems(&self) -> impl Iterator<Item = &ObjectProblem> {
        self.routes
            .values()
            .flat_map(Named::objects)
            .filter_map(|object| object.problem.as_deref())
    }

    pub(super) fn route_count(&self) -> usize {
        self.routes
            .values()
            .filter(|named| named.serving().is_some())
            .count()
    }

    pub(super) fn target_count(&self) -> usize {
        self.targets.values().map(Vec::len).sum()
    }

    /// The id of a route object of this namespace.
    pub(super) fn route_id(&self, kind: RouteKind, name: &str) -> RouteId {
        let name = self
            .routes
            .get_key_value(name)
            .map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name));
        RouteId::new(kind, Arc::clone(&self.name), name)
    }

    pub(super) fn apply_route(&mut self, id: &RouteId, planned: Planned) -> Changes {
        let mut changes = Changes::default();
        let named = self.routes.entry(Arc::clone(&id.name)).or_default();
        let before = named.serving().cloned();
        let object = named.object_mut(id.kind).get_or_insert_default();
        match planned {
            Ok((route, warnings)) => {
                object.problem = None;
                if object.planned.as_deref() != Some(&route) {
                    object.planned = Some(Arc::new(route));
                }
                if *object.warnings != *warnings {
                    object.warnings = warnings.clone().into();
                    changes.warning = (!warnings.is_empty()).then(|| ObjectWarning {
                        id: id.clone(),
                        warnings,
                    });
                }
            }
            Err(problem) => {
                if object.problem.as_deref() != Some(&problem) {
                    object.problem = Some(Box::new(problem.clone()));
                    changes.problem = Some(problem);
                }
            }
        }
        let after = named.serving().cloned();
        self.replace_route(before, after, &mut changes);
        changes
    }

    pub(super) fn delete_route(&mut self, kind: RouteKind, name: &str) -> Changes {
        let mut changes = Changes::default();
        let Some(named) = self.routes.get_mut(name) else {
            return changes;
        };
        let before = named.serving().cloned();
        *named.object_mut(kind) = None;
        let after = named.serving().cloned();
        if named.objects().next().is_none() {
            self.routes.remove(name);
        }
        self.replace_route(before, after, &mut changes);
        changes
    }

    pub(super) fn apply_service(&mut self, name: &str, service: ReducedService) -> Changes {
        if self.services.get(name) == Some(&service) {
            return Changes::default();
        }
        match self.services.get_mut(name) {
            Some(known) => *known = service,
            None => {
                self.services.insert(self.service_name(name), service);
            }
        }
        self.resolve_service(name)
    }

    pub(super) fn delete_service(&mut self, name: &str) -> Changes {
        // Whether it waits for a node stays: it is said of the name, and taken back by who has said it.
        self.services.remove(name);
        self.resolve_service(name)
    }

    /// A slice without a Service belongs to somebody else.
    pub(super) fn apply_slice(&mut self, name: &str, service: Option<&str>, slice: ReducedSlice) -> Changes {
        let moved = self
            .slice_services
            .get(name)
            .is_some_and(|before| Some(&**before) != service);
        let mut changes = if moved {
            self.delete_slice(name)
        } else {
            Changes::default()
        };
        let Some(service) = service else {
            return changes;
        };
        let service = self.service_name(service);
        // Nearly every Service has one slice, and a vector left to itself begins with room for four.
        let slices = self
            .slices
            .entry(Arc::clone(&service))
            .or_insert_with(|| Vec::with_capacity(1));
        match slices.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, known)) if *known == slice => return changes,
            Some((_, known)) => *known = slice,
            None => {
                let name: Arc<str> = Arc::from(name);
                slices.push((Arc::clone(&name), slice));
                self.slice_services.insert(name, Arc::clone(&service));
            }
        }
        let resolved = self.resolve_service(&service);
        changes.targets_upserted.extend(resolved.targets_upserted);
        changes
    }

    pub(super) fn delete_slice(&mut self, name: &str) -> Changes {
        let Some(service) = self.slice_services.remove(name) else {
            return Changes::default();
        };
        if let Some(slices) = self.slices.get_mut(&service) {
            slices.retain(|(known, _)| **known != *name);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
        self.resolve_service(&service)
    }

    pub(super) fn set_waiting_for_node(&mut self, service: &str, is_waiting: bool) -> Changes {
        if is_waiting {
            self.waiting_for_node.insert(self.service_name(service));
        } else {
            self.waiting_for_node.remove(service);
        }
        self.resolve_service(service)
    }

    /// Serves `after` where `before` was served. The new one's targets are taken up before the old one's are dropped, so
    /// that those they share stay.
    fn replace_route(
        &mut self,
        before: Option<Arc<PlannedRoute>>,
        after: Option<Arc<PlannedRoute>>,
        changes: &mut Changes,
    ) {
        if before == after {
            return;
        }
        for key in after.iter().flat_map(|route| route.targets()) {
            self.use_target(key, changes);
        }
        for key in before.iter().flat_map(|route| route.targets()) {
            self.drop_target(key, changes);
        }
        if let Some(before) = before
            && after
                .as_ref()
                .is_none_or(|after| after.config.id != before.config.id)
        {
            changes.routes_removed.push(before.config.id.clone());
        }
        changes.routes_upserted.extend(after);
    }

    fn use_target(&mut self, key: &TargetKey, changes: &mut Changes) {
        let targets = self
            .targets
            .entry(Arc::clone(&key.service))
            .or_insert_with(|| Vec::with_capacity(1));
        if let Some(target) = targets.iter_mut().find(|target| target.port == key.port) {
            target.users += 1;
            return;
        }
        targets.push(Target {
            port: key.port.clone(),
            users: 1,
            config: TargetConfig::default(),
        });
        let config = self.resolve(&key.service, &key.port);
        let targets = self.targets.get_mut(&key.service);
        if let Some(target) = targets.and_then(|targets| targets.last_mut()) {
            target.config = config.clone();
        }
        changes.targets_upserted.push((key.clone(), config));
    }

    fn drop_target(&mut self, key: &TargetKey, changes: &mut Changes) {
        let Some(targets) = self.targets.get_mut(&key.service) else {
            return;
        };
        let Some(position) = targets.iter().position(|target| target.port == key.port) else {
            return;
        };
        if let Some(target) = targets.get_mut(position) {
            target.users -= 1;
            if target.users > 0 {
                return;
            }
        }
        targets.swap_remove(position);
        if targets.is_empty() {
            self.targets.remove(&key.service);
        }
        changes.targets_removed.push(key.clone());
    }

    /// Resolves every target of a Service anew and says which are different.
    fn resolve_service(&mut self, service: &str) -> Changes {
        let mut changes = Changes::default();
        let Some((service, mut targets)) = self.targets.remove_entry(service) else {
            return changes;
        };
        for target in &mut targets {
            let config = self.resolve(&service, &target.port);
            if config != target.config {
                let key = TargetKey {
                    namespace: Arc::clone(&self.name),
                    service: Arc::clone(&service),
                    port: target.port.clone(),
                };
                changes.targets_upserted.push((key, config.clone()));
                target.config = config;
            }
        }
        self.targets.insert(service, targets);
        changes
    }

    fn resolve(&self, service: &str, port: &TargetPort) -> TargetConfig {
        let slices = self.slices.get(service).map(Vec::as_slice).unwrap_or_default();
        resolve(
            self.services.get(service),
            slices.iter().map(|(_, slice)| slice),
            port,
            self.waiting_for_node.contains(service),
        )
    }

    /// A Service's name, shared with what knows it already.
    fn service_name(&self, name: &str) -> Arc<str> {
        self.services
            .get_key_value(name)
            .map(|(name, _)| name)
            .or_else(|| self.slices.get_key_value(name).map(|(name, _)| name))
            .or_else(|| self.targets.get_key_value(name).map(|(name, _)| name))
            .map_or_else(|| Arc::from(name), Arc::clone)
    }
}
