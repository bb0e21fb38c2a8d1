//! Everything that a plan is made from: a picture of the cluster at one moment.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    resource::{
        ENVOY_GATEWAY, Gateway, GatewayClass, HttpRoute, HttpRouteRule, Kind, ReferenceGrant, Resource,
        Service, TrafficPolicy,
    },
    route_object::RouteObject,
    settings::{GatewaySettings, Scope},
};
use crate::observed::ObjectName;

/// What is known of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Knowledge {
    /// Not heard yet: nothing may be concluded.
    #[default]
    Pending,
    /// The cluster does not have the kind, or does not let us read it. There are no objects to reckon with, and none
    /// may be taken for unwanted.
    Missing,
    /// Every object is known, as of the last word from the API server, but for those in namespaces that cannot be read.
    Complete,
}

/// Objects by name.
pub(super) type Objects<T> = BTreeMap<ObjectName, Arc<Resource<T>>>;

/// What is known of the objects of one kind.
#[derive(Debug, Clone)]
pub(super) struct Collection<T> {
    pub(super) knowledge: Knowledge,
    /// The version that the cluster serves.
    pub(super) version: &'static str,
    /// The namespaces that it was asked for in, where it is a kind of the scope.
    pub(super) scope: Scope,
    /// The namespaces of these that we may not read. What is remembered of them was true once; it is not acted on.
    pub(super) unreadable: BTreeSet<Arc<str>>,
    pub(super) objects: Objects<T>,
}

/// The interceptor's proxy Service, while it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InterceptorService {
    pub(super) uid: String,
}

/// An object that Rouse writes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WrittenObject {
    pub(super) kind: Kind,
    pub(super) name: ObjectName,
}

#[derive(Debug, Clone)]
pub(super) struct Observed {
    pub(super) settings: Arc<GatewaySettings>,
    pub(super) scope: Scope,
    pub(super) route_objects: Vec<RouteObject>,
    pub(super) service: Collection<Service>,
    pub(super) http_routes: Collection<HttpRoute>,
    pub(super) gateways: Collection<Gateway>,
    pub(super) gateway_classes: Collection<GatewayClass>,
    pub(super) grants: Collection<ReferenceGrant>,
    pub(super) policies: Collection<TrafficPolicy>,
    /// What the API server last said to an object that could not be written.
    pub(super) refused: HashMap<WrittenObject, String>,
}

// === impl WrittenObject ===

impl std::fmt::Display for WrittenObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.kind(), self.name)
    }
}

// === impl Collection ===

impl<T> Default for Collection<T> {
    fn default() -> Self {
        Self {
            knowledge: Knowledge::Pending,
            version: "",
            scope: Scope::All,
            unreadable: BTreeSet::new(),
            objects: BTreeMap::new(),
        }
    }
}

impl<T> Collection<T> {
    pub(super) fn is_complete(&self) -> bool {
        self.knowledge == Knowledge::Complete
    }

    /// Whether every object in a namespace is known.
    pub(super) fn is_known_in(&self, namespace: &str) -> bool {
        self.is_complete() && !self.unreadable.contains(namespace)
    }

    /// Whether it is a picture of `scope`, and not of the namespaces that were in it before.
    fn is_of(&self, scope: &Scope) -> bool {
        self.knowledge == Knowledge::Missing || self.scope == *scope
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Resource<T>> {
        self.objects.values().map(AsRef::as_ref)
    }

    /// The objects in one namespace.
    pub(super) fn within<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Resource<T>> {
        self.objects
            .range(ObjectName::new(namespace, "")..)
            .take_while(move |(name, _)| *name.namespace == *namespace)
            .map(|(_, object)| object.as_ref())
    }
}

// === impl Observed ===

impl Observed {
    /// Whether enough is known to act.
    pub(super) fn is_settled(&self) -> bool {
        [
            self.service.knowledge,
            self.http_routes.knowledge,
            self.gateways.knowledge,
            self.gateway_classes.knowledge,
            self.grants.knowledge,
            self.policies.knowledge,
        ]
        .iter()
        .all(|knowledge| *knowledge != Knowledge::Pending)
            && self.http_routes.is_of(&self.scope)
            && self.policies.is_of(&self.scope)
    }

    /// The interceptor's Service, unless it is missing or going.
    pub(super) fn interceptor(&self) -> Option<InterceptorService> {
        let service = self.service.objects.get(&self.settings.interceptor)?;
        if service.is_going() {
            return None;
        }
        Some(InterceptorService {
            uid: service.metadata.uid.clone()?,
        })
    }

    /// Whether a rule of an HTTPRoute in `namespace` sends requests to the interceptor.
    pub(super) fn is_to_interceptor(&self, namespace: &str, rule: &HttpRouteRule) -> bool {
        rule.backend_refs.iter().any(|backend| {
            backend.group.as_deref().is_none_or(str::is_empty)
                && backend.kind.as_deref().is_none_or(|kind| kind == "Service")
                && self
                    .settings
                    .is_interceptor(backend.namespace.as_deref().unwrap_or(namespace), &backend.name)
        })
    }

    /// Whether any rule of an HTTPRoute sends requests to the interceptor.
    pub(super) fn uses_interceptor(&self, route: &Resource<HttpRoute>) -> bool {
        let namespace = route.namespace();
        route
            .body
            .spec
            .rules
            .iter()
            .any(|rule| self.is_to_interceptor(namespace, rule))
    }

    /// Whether an HTTPRoute is on a Gateway of Envoy Gateway's: by the Gateway's class, or because Envoy Gateway has
    /// said so in the route's status, where Gateways cannot be read or are made by something else.
    pub(super) fn is_on_envoy_gateway(&self, route: &Resource<HttpRoute>) -> bool {
        let namespace = route.namespace();
        let by_class = || {
            route.body.spec.parent_refs.iter().any(|parent| {
                parent
                    .gateway(namespace)
                    .is_some_and(|(namespace, name)| self.is_envoy_gateway(namespace, name))
            })
        };
        let by_status = || {
            route
                .body
                .status
                .parents
                .iter()
                .any(|parent| parent.controller_name == ENVOY_GATEWAY)
        };
        by_class() || by_status()
    }

    fn is_envoy_gateway(&self, namespace: &str, name: &str) -> bool {
        let class = self
            .gateways
            .objects
            .get(&ObjectName::new(namespace, name))
            .and_then(|gateway| {
                let class = ObjectName::new("", &*gateway.body.spec.gateway_class_name);
                self.gateway_classes.objects.get(&class)
            });
        class.is_some_and(|class| class.body.spec.controller_name == ENVOY_GATEWAY)
    }

    /// Whether those who own a namespace may speak for the hosts of objects in `namespace`: they are the same, or they
    /// run the interceptor or the gateway.
    pub(super) fn speaks_for(&self, other: &str, namespace: &str) -> bool {
        other == namespace
            || *other == *self.settings.interceptor.namespace
            || self
                .settings
                .default_gateway
                .as_ref()
                .is_some_and(|gateway| *gateway.namespace == *other)
    }
}
