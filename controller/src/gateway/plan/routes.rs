//! The HTTPRoutes of hosts that have none, on the default Gateway.
//!
//! Writing them is done on behalf of whoever may create a route object, who need not be allowed to create HTTPRoutes. So a
//! host is only routed for the namespace that claimed it first, never over an older HTTPRoute of somebody else's, and
//! never for every host of the Gateway.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use rouse_routing::{HostPattern, RouteId, RouteKind};
use serde_json::{Value, json};

use super::{
    super::{
        desired::{Desired, Subject, derived_name},
        observed::{Observed, WrittenObject},
        resource::{GATEWAY_GROUP, HttpRoute, Kind, Resource},
        route_object::RouteObject,
    },
    hosts::{HostIndex, Naming, gateway_hostname},
    policies::TIMEOUT_POLICY_ANNOTATION,
};
use crate::observed::ObjectName;

/// Annotation on a route object: `none` keeps Rouse from writing HTTPRoutes for it.
pub(super) const HTTP_ROUTE_ANNOTATION: &str = "rouse.dev/http-route";

/// The rule for methods that may be repeated.
pub(super) const SAFE_RULE: &str = "safe";

/// The rule for all others.
pub(super) const OTHER_RULE: &str = "other";

/// The most host names in an HTTPRoute.
const MAX_HOSTNAMES: usize = 16;

/// Why the hosts of an object have no HTTPRoute of Rouse's, by object.
pub(super) type Unrouted = HashMap<RouteId, Vec<String>>;

/// Which object has claimed a host first.
#[derive(Debug)]
pub(super) struct Claims<'a>(HashMap<&'a HostPattern, &'a RouteObject>);

impl<'a> Claims<'a> {
    pub(super) fn new(objects: &'a [RouteObject]) -> Self {
        let mut claims: HashMap<&HostPattern, &RouteObject> = HashMap::new();
        for object in objects {
            for host in &object.hosts {
                let first = claims.entry(host).or_insert(object);
                if object.rank() < first.rank() {
                    *first = object;
                }
            }
        }
        Self(claims)
    }

    fn first(&self, host: &HostPattern) -> Option<&'a RouteObject> {
        self.0.get(host).copied()
    }
}

enum Answer {
    /// Rouse writes it.
    Write(String),
    /// Somebody else serves it, or an object that Rouse writes it for.
    Served,
    /// Nobody serves it, and Rouse does not either.
    Refused(String),
}

pub(super) fn plan(
    observed: &Observed,
    index: &HostIndex<'_>,
    claims: &Claims<'_>,
    objects: &[RouteObject],
) -> (Vec<Desired>, Unrouted) {
    let mut desired = Vec::new();
    let mut unrouted = Unrouted::new();
    let Some(gateway) = &observed.settings.default_gateway else {
        return (desired, unrouted);
    };
    if !observed.http_routes.is_complete() {
        return (desired, unrouted);
    }
    for object in objects {
        let opted_out = object
            .annotations
            .get(HTTP_ROUTE_ANNOTATION)
            .is_some_and(|value| value == "none");
        let namespace = &object.id.namespace;
        // Where HTTPRoutes cannot be read, the user may have one.
        if opted_out || !observed.scope.covers(namespace) || !observed.http_routes.is_known_in(namespace) {
            continue;
        }
        let mut hostnames = Vec::new();
        let mut refused: Vec<String> = object
            .broken_hosts
            .iter()
            .map(|host| format!("{host:?} is no host"))
            .collect();
        for host in &object.hosts {
            match answer(observed, index, claims, object, host) {
                Answer::Write(hostname) => hostnames.push(hostname),
                Answer::Served => {}
                Answer::Refused(why) => refused.push(why),
            }
        }
        if !refused.is_empty() {
            unrouted.insert(object.id.clone(), refused);
        }
        // Sorted, so that the order in which hosts are written down does not move them between HTTPRoutes.
        hostnames.sort_unstable();
        for (number, hostnames) in hostnames.chunks(MAX_HOSTNAMES).enumerate() {
            desired.push(http_route(observed, gateway, object, number, hostnames));
        }
    }
    (desired, unrouted)
}

fn answer(
    observed: &Observed,
    index: &HostIndex<'_>,
    claims: &Claims<'_>,
    object: &RouteObject,
    host: &HostPattern,
) -> Answer {
    let namespace = &object.id.namespace;
    for (naming, route) in index.covering(host) {
        if route.is_ours() || route.is_going() {
            continue;
        }
        // Those who run the gateway may send what nobody names to some place of theirs; by name they mean it.
        let is_named = naming == Naming::Exactly && *host != HostPattern::CatchAll;
        let is_heeded = if observed.speaks_for(route.namespace(), namespace) {
            is_named || observed.uses_interceptor(route)
        } else {
            is_older(route, object)
        };
        if is_heeded && observed.uses_interceptor(route) {
            return Answer::Served;
        }
        if is_heeded {
            return Answer::Refused(format!(
                "HTTPRoute {} takes {host} and does not send it to the interceptor",
                ObjectName::of(&route.metadata)
            ));
        }
    }
    let Some(hostname) = gateway_hostname(host) else {
        return Answer::Refused(match host {
            HostPattern::CatchAll => {
                "every host of the Gateway is not for one object to take: write an HTTPRoute, or \
                                      name hosts"
                    .to_owned()
            }
            _ => format!("{host} is no host name in the Gateway API"),
        });
    };
    match claims.first(host) {
        Some(first) if first.id == object.id => Answer::Write(hostname),
        Some(first) if first.id.namespace == *namespace => Answer::Served,
        // The object's condition on the host says so as well.
        _ => Answer::Refused(format!("another namespace claimed {host} first")),
    }
}

fn is_older(route: &Resource<HttpRoute>, object: &RouteObject) -> bool {
    let created = route.metadata.creation_timestamp.as_ref().map(|time| time.0);
    // Of the same second: rather the route that somebody wrote.
    created.is_none_or(|created| created <= object.created)
}

fn http_route(
    observed: &Observed,
    gateway: &ObjectName,
    object: &RouteObject,
    number: usize,
    hostnames: &[String],
) -> Desired {
    let kind = match object.id.kind {
        RouteKind::HttpScaledObject => "httpscaledobject",
        RouteKind::InterceptorRoute => "interceptorroute",
    };
    // The number stands before the first hyphen after the kind: in the name it could be part of another object's.
    let prefix = match number {
        0 => format!("rouse-{kind}-"),
        _ => format!("rouse-{kind}{}-", number + 1),
    };
    let annotations = object
        .annotations
        .get_key_value(TIMEOUT_POLICY_ANNOTATION)
        .map(|(name, value)| (name.clone(), value.clone()));
    let path = json!({"type": "PathPrefix", "value": "/"});
    let safe: Vec<Value> = ["GET", "HEAD", "OPTIONS"]
        .iter()
        .map(|method| json!({"method": method, "path": path}))
        .collect();
    let interceptor = &observed.settings.interceptor;
    let rule = |name: &str, matches: Value| {
        json!({
            "name": name,
            "matches": matches,
            "timeouts": {"request": super::policies::request_timeout(observed)},
            "backendRefs": [{
                "group": "",
                "kind": "Service",
                "namespace": &*interceptor.namespace,
                "name": &*interceptor.name,
                "port": observed.settings.interceptor_port,
            }],
        })
    };
    Desired {
        object: WrittenObject {
            kind: Kind::HttpRoute,
            name: ObjectName::new(
                Arc::clone(&object.id.namespace),
                derived_name(&prefix, &object.id.name),
            ),
        },
        subject: Subject::RouteObject(object.id.clone()),
        owner: OwnerReference {
            api_version: object.api_version().to_owned(),
            kind: object.id.kind.to_string(),
            name: object.id.name.to_string(),
            uid: object.uid.to_string(),
            controller: Some(true),
            block_owner_deletion: None,
        },
        annotations: annotations.into_iter().collect::<BTreeMap<_, _>>(),
        spec: json!({
            "parentRefs": [{
                "group": GATEWAY_GROUP,
                "kind": "Gateway",
                "namespace": &*gateway.namespace,
                "name": &*gateway.name,
            }],
            "hostnames": hostnames,
            "rules": [rule(SAFE_RULE, json!(safe)), rule(OTHER_RULE, json!([{"path": path}]))],
        }),
        is_update: false,
    }
}
