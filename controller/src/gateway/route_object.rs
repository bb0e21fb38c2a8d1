//! HTTPScaledObjects and InterceptorRoutes, as far as a gateway is concerned: their hosts, their age, how long they hold.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use rouse_routing::{HostPattern, RouteId, RouteKind};

use crate::observed::{Observed as ObservedRoutes, Route, Spec};

/// A route object that can be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RouteObject {
    pub(super) id: RouteId,
    pub(super) uid: Box<str>,
    pub(super) created: Timestamp,
    pub(super) annotations: BTreeMap<String, String>,
    /// What it claims, without repetition, in its own order.
    pub(super) hosts: Vec<HostPattern>,
    /// Hosts that no request can have.
    pub(super) broken_hosts: Vec<String>,
    /// How long it lets requests be held, where it says so; zero for no deadline.
    pub(super) hold: Option<Duration>,
}

/// The objects that the interceptor serves.
pub(super) fn served(routes: &ObservedRoutes) -> Vec<RouteObject> {
    let mut objects: Vec<RouteObject> = routes
        .routes()
        .filter(|route| !routes.is_superseded(&route.id))
        .filter_map(|route| RouteObject::read(route))
        .collect();
    objects.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    objects
}

impl RouteObject {
    /// `None` where the object is served by nobody: it is invalid or going.
    pub(super) fn read(route: &Route) -> Option<Self> {
        if !route.is_valid() || route.is_deleting {
            return None;
        }
        let (written, hold) = match &route.spec {
            Spec::HttpScaledObject(spec) => (every_if_none(&spec.hosts), spec.readiness_timeout()),
            Spec::InterceptorRoute(spec) => {
                let hosts = spec.rules.iter().flat_map(|rule| every_if_none(&rule.hosts));
                (
                    hosts.collect(),
                    spec.timeouts.readiness.map(rouse_api::GoDuration::get),
                )
            }
            Spec::Unreadable(_) => return None,
        };
        let mut hosts = Vec::new();
        let mut broken_hosts = Vec::new();
        for host in written {
            match HostPattern::parse(host) {
                Some(host) if hosts.contains(&host) => {}
                Some(host) => hosts.push(host),
                None => broken_hosts.push(host.to_owned()),
            }
        }
        Some(Self {
            id: route.id.clone(),
            uid: route.uid.clone(),
            created: route.created,
            annotations: route.annotations.clone(),
            hosts,
            broken_hosts,
            hold,
        })
    }

    /// Older objects first, then by namespace and name, then InterceptorRoutes: as the interceptor gives hosts away.
    pub(super) fn rank(&self) -> (Timestamp, &str, &str, bool) {
        (
            self.created,
            &self.id.namespace,
            &self.id.name,
            self.id.kind == RouteKind::HttpScaledObject,
        )
    }

    pub(super) const fn api_version(&self) -> &'static str {
        match self.id.kind {
            RouteKind::InterceptorRoute => "http.keda.sh/v1beta1",
            RouteKind::HttpScaledObject => "http.keda.sh/v1alpha1",
        }
    }
}

/// Without hosts, every host is meant.
fn every_if_none(hosts: &[String]) -> Vec<&str> {
    if hosts.is_empty() {
        return vec!["*"];
    }
    hosts.iter().map(String::as_str).collect()
}
