//! What is known of the cluster: the routes and everything that their conditions speak of, as the watches tell it. Pure: no
//! I/O, no clock, no tasks.
//!
//! ```text
//! HTTPScaledObject, InterceptorRoute ─▶ route ──hosts──▶ claims (the data plane's own rules)
//!                                        │  └──names──▶ Service, workload
//! ScaledObject ── scales ──▶ workload ◀──┘
//! HorizontalPodAutoscaler ── scales ──▶ workload
//! ```
//!
//! Every event says by itself which routes it concerns; they are collected until [`Observed::take_dirty`]. An event that
//! changes nothing concerns none. Bounded by the objects that exist: of each only what is read is kept.

mod autoscaler;
mod claims;
mod name;
mod route;
mod scaled_object;
mod service;
mod shared;
#[cfg(test)]
pub(crate) mod testing;
mod view;
mod workload;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use rouse_routing::{RouteId, RouteKind};

pub(crate) use self::{
    autoscaler::Autoscaler,
    claims::Claims,
    name::ObjectName,
    route::{Route, RouteStatus, Spec, Target},
    scaled_object::ScaledObject,
    service::Service,
    shared::SharedObserved,
    workload::{Existence, Workload, WorkloadKind},
};

/// Whether the scaling engine can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Engine {
    /// The definition of ScaledObjects has not been looked for yet.
    #[default]
    Unknown,
    /// There is none.
    Missing,
    /// ScaledObjects can be written.
    Present,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    routes: HashMap<RouteId, Arc<Route>>,
    claims: Claims,
    services: HashMap<ObjectName, Service>,
    /// The kinds that are watched, and those of their objects that exist.
    watched_workloads: HashSet<WorkloadKind>,
    workloads: HashSet<Workload>,
    /// What was found of workloads of other kinds. Only of those that routes name.
    looked_up: HashMap<Workload, Existence>,
    scaled_objects: HashMap<ObjectName, Arc<ScaledObject>>,
    autoscalers: HashMap<ObjectName, Autoscaler>,
    engine: Engine,
    by_service: HashMap<ObjectName, BTreeSet<RouteId>>,
    by_workload: HashMap<Workload, Users>,
    /// ScaledObjects by the route that one of their triggers names.
    by_trigger: HashMap<RouteId, BTreeSet<Arc<str>>>,
    dirty: BTreeSet<RouteId>,
}

/// Who has to do with a workload, all in its namespace.
#[derive(Debug, Default)]
struct Users {
    routes: BTreeSet<RouteId>,
    scaled_objects: BTreeSet<Arc<str>>,
    autoscalers: BTreeSet<Arc<str>>,
}

impl Users {
    fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.scaled_objects.is_empty() && self.autoscalers.is_empty()
    }
}

// === what the watches tell ===

impl Observed {
    /// The routes that events since the last call concern. Some may not exist, or no more.
    pub(crate) fn take_dirty(&mut self) -> BTreeSet<RouteId> {
        std::mem::take(&mut self.dirty)
    }

    /// Whether hosts were claimed or given up since the last [`settle`](Self::settle).
    pub(crate) fn is_settled(&self) -> bool {
        !self.claims.is_stale()
    }

    /// Finds out who gets which host now; those for whom it has changed are dirty. Apart from the events, because it is done
    /// once for all that come together.
    pub(crate) fn settle(&mut self) {
        self.claims.refresh(&mut self.dirty);
    }

    /// A route was made or changed.
    pub(crate) fn apply_route(&mut self, route: Route) {
        let id = route.id.clone();
        let before = self.routes.get(&id).cloned();
        if before
            .as_ref()
            .is_some_and(|before| **before == route || before.is_newer_than(&route))
        {
            return;
        }
        if let Some(before) = &before {
            self.forget_names(before);
        }
        self.remember_names(&route);
        self.claims.apply(&route);
        let route = Arc::new(route);
        self.routes.insert(id.clone(), Arc::clone(&route));
        self.concern_route(&id, before.as_deref(), Some(&route));
    }

    /// A route is gone.
    pub(crate) fn delete_route(&mut self, id: &RouteId) {
        let Some(before) = self.routes.remove(id) else {
            return;
        };
        self.forget_names(&before);
        self.claims.remove(id);
        self.concern_route(id, Some(&before), None);
    }

    /// A Service was made or changed.
    pub(crate) fn apply_service(&mut self, name: ObjectName, service: Service) {
        if self.services.get(&name) != Some(&service) {
            self.concern_service(&name);
            self.services.insert(name, service);
        }
    }

    /// A Service is gone.
    pub(crate) fn delete_service(&mut self, name: &ObjectName) {
        if self.services.remove(name).is_some() {
            self.concern_service(name);
        }
    }

    /// Objects of this kind are watched, and all that exist have been applied.
    pub(crate) fn workloads_watched(&mut self, kind: &WorkloadKind) {
        if self.watched_workloads.insert(kind.clone()) {
            let concerned = self
                .by_workload
                .iter()
                .filter(|(workload, _)| workload.kind == *kind);
            self.dirty
                .extend(concerned.flat_map(|(_, users)| users.routes.iter().cloned()));
        }
    }

    /// A workload of a kind that is watched was made.
    pub(crate) fn apply_workload(&mut self, workload: Workload) {
        if !self.workloads.contains(&workload) {
            self.concern_workload(&workload);
            self.workloads.insert(workload);
        }
    }

    /// A workload of a kind that is watched is gone.
    pub(crate) fn delete_workload(&mut self, workload: &Workload) {
        if self.workloads.remove(workload) {
            self.concern_workload(workload);
        }
    }

    /// A workload of a kind that is not watched was looked for. Not kept if no route names it by now.
    pub(crate) fn workload_looked_up(&mut self, workload: &Workload, found: Existence) {
        let is_named = self
            .by_workload
            .get(workload)
            .is_some_and(|users| !users.routes.is_empty());
        if is_named && self.looked_up.get(workload) != Some(&found) {
            self.looked_up.insert(workload.clone(), found);
            self.concern_workload(workload);
        }
    }

    /// A ScaledObject was made or changed.
    pub(crate) fn apply_scaled_object(&mut self, mut scaled_object: ScaledObject) {
        let name = scaled_object.name.clone();
        let before = self.scaled_objects.get(&name).cloned();
        if before
            .as_ref()
            .is_some_and(|before| **before == scaled_object || before.is_newer_than(&scaled_object))
        {
            return;
        }
        // KEDA writes statuses all the time; of most of them nothing is read but the version.
        if before
            .as_ref()
            .is_some_and(|before| scaled_object.differs_in_version_alone(before))
        {
            self.scaled_objects.insert(name, Arc::new(scaled_object));
            return;
        }
        if let Some(before) = before {
            self.unlink_scaled_object(&before);
        }
        let scaled_object = Arc::new(scaled_object);
        if let Some(workload) = &scaled_object.workload {
            let users = self.by_workload.entry(workload.clone()).or_default();
            users.scaled_objects.insert(Arc::clone(&name.name));
        }
        for route in &scaled_object.routes {
            let names = self.by_trigger.entry(route.clone()).or_default();
            names.insert(Arc::clone(&name.name));
        }
        self.concern_scaled_object(&scaled_object);
        self.scaled_objects.insert(name, scaled_object);
    }

    /// A ScaledObject is gone.
    pub(crate) fn delete_scaled_object(&mut self, name: &ObjectName) {
        if let Some(before) = self.scaled_objects.remove(name) {
            self.unlink_scaled_object(&before);
        }
    }

    /// A HorizontalPodAutoscaler was made or changed.
    pub(crate) fn apply_autoscaler(&mut self, name: ObjectName, autoscaler: Autoscaler) {
        if self.autoscalers.get(&name) == Some(&autoscaler) {
            return;
        }
        self.delete_autoscaler(&name);
        let users = self.by_workload.entry(autoscaler.workload.clone()).or_default();
        users.autoscalers.insert(Arc::clone(&name.name));
        self.concern_workload(&autoscaler.workload);
        self.autoscalers.insert(name, autoscaler);
    }

    /// A HorizontalPodAutoscaler is gone.
    pub(crate) fn delete_autoscaler(&mut self, name: &ObjectName) {
        if let Some(before) = self.autoscalers.remove(name) {
            self.concern_workload(&before.workload);
            self.edit_users(&before.workload, |users| {
                users.autoscalers.remove(&name.name);
            });
        }
    }

    /// KEDA's definitions came or went.
    pub(crate) fn set_engine(&mut self, engine: Engine) {
        if self.engine != engine {
            self.engine = engine;
            self.dirty.extend(self.routes.keys().cloned());
        }
    }

    // --- what an event concerns ---

    fn concern_service(&mut self, name: &ObjectName) {
        let routes = self.by_service.get(name).into_iter().flatten();
        self.dirty.extend(routes.cloned());
    }

    fn concern_workload(&mut self, workload: &Workload) {
        let routes = self.by_workload.get(workload).into_iter();
        self.dirty
            .extend(routes.flat_map(|users| users.routes.iter().cloned()));
    }

    fn concern_scaled_object(&mut self, scaled_object: &ScaledObject) {
        if let Some(workload) = &scaled_object.workload {
            self.concern_workload(workload);
        }
        self.dirty.extend(scaled_object.routes.iter().cloned());
        // The one that Rouse makes has the route's name, whatever it names now.
        let ObjectName { namespace, name } = scaled_object.name.clone();
        self.dirty
            .insert(RouteId::new(RouteKind::HttpScaledObject, namespace, name));
    }

    /// A route concerns itself, its namesake, and those that scale the same workload.
    fn concern_route(&mut self, id: &RouteId, before: Option<&Route>, after: Option<&Route>) {
        self.dirty.insert(id.clone());
        if id.kind == RouteKind::InterceptorRoute {
            self.dirty.insert(RouteId {
                kind: RouteKind::HttpScaledObject,
                ..id.clone()
            });
        }
        let scales = |route: Option<&Route>| {
            route
                .filter(|route| route.wants_scaled_object())
                .and_then(Route::workload)
        };
        let (before, after) = (scales(before), scales(after));
        if before != after {
            for workload in before.iter().chain(&after) {
                self.concern_workload(workload);
            }
        }
    }

    // --- who names what ---

    fn remember_names(&mut self, route: &Route) {
        for service in route.services() {
            self.by_service
                .entry(service)
                .or_default()
                .insert(route.id.clone());
        }
        if let Some(workload) = route.workload() {
            let users = self.by_workload.entry(workload).or_default();
            users.routes.insert(route.id.clone());
        }
    }

    fn forget_names(&mut self, route: &Route) {
        for service in route.services() {
            if let Some(routes) = self.by_service.get_mut(&service) {
                routes.remove(&route.id);
                if routes.is_empty() {
                    self.by_service.remove(&service);
                }
            }
        }
        if let Some(workload) = route.workload() {
            self.edit_users(&workload, |users| {
                users.routes.remove(&route.id);
            });
        }
    }

    fn unlink_scaled_object(&mut self, before: &ScaledObject) {
        self.concern_scaled_object(before);
        if let Some(workload) = &before.workload {
            self.edit_users(workload, |users| {
                users.scaled_objects.remove(&before.name.name);
            });
        }
        for route in &before.routes {
            if let Some(names) = self.by_trigger.get_mut(route) {
                names.remove(&before.name.name);
                if names.is_empty() {
                    self.by_trigger.remove(route);
                }
            }
        }
    }

    fn edit_users(&mut self, workload: &Workload, edit: impl FnOnce(&mut Users)) {
        let Some(users) = self.by_workload.get_mut(workload) else {
            return;
        };
        edit(users);
        if users.routes.is_empty() {
            self.looked_up.remove(workload);
        }
        if users.is_empty() {
            self.by_workload.remove(workload);
        }
    }
}

#[cfg(test)]
mod tests;
