//! From Kubernetes objects to what the data plane serves: routes and targets in its own terms.
//!
//! ```text
//! HTTPScaledObject ─┐                                ┌─▶ routes: rules and RouteConfig
//! InterceptorRoute ─┴─▶ route ──names──▶ target ◀──┐ │
//!                                                  ├─┴─▶ targets: TargetConfig
//! Service ── port's name and protocol ─────────────┤
//! EndpointSlice ── addresses ──────────────────────┘
//! ```
//!
//! [`Index`] is a plain struct: no I/O, no clock, no tasks. It is told of objects, in any order and as often as the feed
//! likes, and answers each time with what changed ([`Changes`]), which is nothing when nothing did. It keeps one reduced
//! copy of each object, so it is bounded by the objects that exist. [`IndexHandle`] puts it to work.

mod handle;
mod namespace;
mod object;
mod problem;
mod resolve;
mod route;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use ahash::RandomState;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use rouse_api::{HTTPScaledObject, InterceptorRoute};
use rouse_routing::{RouteId, RouteKind};

pub use self::{
    handle::{IndexHandle, IndexStats, Publisher, TablePublisher},
    problem::{ObjectKind, ObjectProblem, ObjectWarning},
    route::PlannedRoute,
};
use self::{
    namespace::Namespace,
    object::{ReducedService, ReducedSlice},
};
use crate::plan::{TargetConfig, TargetKey};

/// What one input changed. Targets that are new come with the route that needs them, targets that nothing needs any more
/// go with the route that needed them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Routes that are new or different.
    pub routes_upserted: Vec<Arc<PlannedRoute>>,
    /// Routes that are gone.
    pub routes_removed: Vec<RouteId>,
    /// Targets that are new or different.
    pub targets_upserted: Vec<(TargetKey, TargetConfig)>,
    /// Targets that no route uses any longer.
    pub targets_removed: Vec<TargetKey>,
    /// An object that cannot be served as it is now; its last good version, if there was one, is served on. Said when the
    /// problem is new, not each time the object is seen.
    pub problem: Option<ObjectProblem>,
    /// What of an object is served differently from how it is written. Said when it is new.
    pub warning: Option<ObjectWarning>,
}

impl Changes {
    /// Whether there is nothing to publish and nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// All objects, reduced, and the routes and targets made of them. See the [module](self).
#[derive(Debug, Default)]
pub struct Index {
    /// Routes, Services and EndpointSlices refer to each other within a namespace only.
    /// Boxed, because a hash map is up to half empty and tenants often have a namespace each.
    namespaces: HashMap<Arc<str>, Box<Namespace>, RandomState>,
}

impl Index {
    /// An index that knows no object.
    pub fn new() -> Self {
        Self::default()
    }

    /// An HTTPScaledObject exists, as it is now.
    pub fn apply_http_scaled_object(&mut self, object: &HTTPScaledObject) -> Changes {
        let kind = RouteKind::HttpScaledObject;
        match object::name_of(ObjectKind::Route(kind), &object.metadata) {
            Ok((namespace, name)) => self.change(namespace, |namespace| {
                let id = namespace.route_id(kind, name);
                let planned = route::from_http_scaled_object(id.clone(), object);
                namespace.apply_route(&id, planned)
            }),
            Err(problem) => nameless(problem),
        }
    }

    /// An InterceptorRoute exists, as it is now.
    pub fn apply_interceptor_route(&mut self, object: &InterceptorRoute) -> Changes {
        let kind = RouteKind::InterceptorRoute;
        match object::name_of(ObjectKind::Route(kind), &object.metadata) {
            Ok((namespace, name)) => self.change(namespace, |namespace| {
                let id = namespace.route_id(kind, name);
                let planned = route::from_interceptor_route(id.clone(), object);
                namespace.apply_route(&id, planned)
            }),
            Err(problem) => nameless(problem),
        }
    }

    /// A Service exists, as it is now.
    pub fn apply_service(&mut self, object: &Service) -> Changes {
        match object::name_of(ObjectKind::Service, &object.metadata) {
            Ok((namespace, name)) => self.change(namespace, |namespace| {
                namespace.apply_service(name, ReducedService::from(object))
            }),
            Err(problem) => nameless(problem),
        }
    }

    /// An EndpointSlice exists, as it is now.
    pub fn apply_endpoint_slice(&mut self, object: &EndpointSlice) -> Changes {
        match object::name_of(ObjectKind::EndpointSlice, &object.metadata) {
            Ok((namespace, name)) => self.change(namespace, |namespace| {
                namespace.apply_slice(name, object::service_of(object), ReducedSlice::from(object))
            }),
            Err(problem) => nameless(problem),
        }
    }

    /// An HTTPScaledObject is gone.
    pub fn delete_http_scaled_object(&mut self, namespace: &str, name: &str) -> Changes {
        self.change(namespace, |namespace| {
            namespace.delete_route(RouteKind::HttpScaledObject, name)
        })
    }

    /// An InterceptorRoute is gone.
    pub fn delete_interceptor_route(&mut self, namespace: &str, name: &str) -> Changes {
        self.change(namespace, |namespace| {
            namespace.delete_route(RouteKind::InterceptorRoute, name)
        })
    }

    /// A Service is gone.
    pub fn delete_service(&mut self, namespace: &str, name: &str) -> Changes {
        self.change(namespace, |namespace| namespace.delete_service(name))
    }

    /// An EndpointSlice is gone.
    pub fn delete_endpoint_slice(&mut self, namespace: &str, name: &str) -> Changes {
        self.change(namespace, |namespace| namespace.delete_slice(name))
    }

    /// Whether a pod of the Service waits for a node to be provisioned.
    pub fn set_waiting_for_node(&mut self, namespace: &str, service: &str, is_waiting: bool) -> Changes {
        self.change(namespace, |namespace| {
            namespace.set_waiting_for_node(service, is_waiting)
        })
    }

    /// The objects of a kind that it knows, by namespace and name, in no order: those of one namespace or of all.
    pub fn names(&self, kind: ObjectKind, within: Option<&str>) -> Vec<(Arc<str>, Arc<str>)> {
        self.namespaces
            .iter()
            .filter(|(namespace, _)| within.is_none_or(|within| within == &***namespace))
            .flat_map(|(namespace, objects)| {
                objects
                    .names(kind)
                    .map(|name| (Arc::clone(namespace), Arc::clone(name)))
            })
            .collect()
    }

    /// How many objects of a kind it knows.
    pub fn count(&self, kind: ObjectKind) -> usize {
        self.namespaces
            .values()
            .map(|namespace| namespace.names(kind).count())
            .sum()
    }

    /// What is wrong with objects that cannot be served as they are, in no order.
    pub fn problems(&self) -> impl Iterator<Item = &ObjectProblem> {
        self.namespaces
            .values()
            .flat_map(|namespace| namespace.problems())
    }

    /// How many routes are served.
    pub fn route_count(&self) -> usize {
        self.namespaces
            .values()
            .map(|namespace| namespace.route_count())
            .sum()
    }

    /// How many targets routes use.
    pub fn target_count(&self) -> usize {
        self.namespaces
            .values()
            .map(|namespace| namespace.target_count())
            .sum()
    }

    /// Runs a change on a namespace, which exists as long as there is something in it.
    fn change(&mut self, name: &str, change: impl FnOnce(&mut Namespace) -> Changes) -> Changes {
        let key = match self.namespaces.get_key_value(name) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(name),
        };
        let namespace = self
            .namespaces
            .entry(Arc::clone(&key))
            .or_insert_with(|| Box::new(Namespace::new(key)));
        let changes = change(namespace);
        if namespace.is_empty() {
            self.namespaces.remove(name);
        }
        changes
    }
}

/// An object without a name cannot be kept, nor can what is wrong with it.
fn nameless(problem: ObjectProblem) -> Changes {
    Changes {
        problem: Some(problem),
        ..Changes::default()
    }
}
