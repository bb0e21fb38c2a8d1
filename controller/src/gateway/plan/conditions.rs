//! What the gateway makes of a route object: the condition `GatewayReady`.

use std::collections::BTreeMap;

use rouse_routing::HostPattern;

use super::{
    super::{
        desired::Subject,
        observed::Observed,
        resource::{HttpRoute, Kind, ParentCondition, ParentStatus, Resource},
        route_object::RouteObject,
    },
    Remark, Unwritten, grants,
    hosts::{HostIndex, hosts, is_part_of},
    policies,
    routes::HTTP_ROUTE_ANNOTATION,
};
use crate::{
    condition::{Finding, Status},
    observed::ObjectName,
};
use rouse_api::condition::{GATEWAY_READY, REASON_PENDING};

/// What else of the plan bears on a condition.
pub(super) struct Context<'a> {
    pub(super) remarks: &'a BTreeMap<ObjectName, Remark>,
    pub(super) unwritten: &'a Unwritten,
    /// Why hosts of the object have no HTTPRoute.
    pub(super) unrouted: &'a [String],
}

/// The HTTPRoutes to the interceptor through which requests for the object's hosts may come. Those of namespaces that do
/// not speak for the object count only where there is nothing else: nobody is to spoil another's condition.
pub(super) fn concerned<'a>(
    observed: &'a Observed,
    index: &HostIndex<'a>,
    object: &'a RouteObject,
) -> Vec<&'a Resource<HttpRoute>> {
    let namespace = &object.id.namespace;
    let mut routes: Vec<&Resource<HttpRoute>> = Vec::new();
    for host in &object.hosts {
        routes.extend(index.covering(host).into_iter().map(|(_, route)| route));
        if !matches!(host, HostPattern::Exact(_)) {
            let narrower = observed
                .http_routes
                .within(namespace)
                .filter(|route| hosts(route).iter().any(|route_host| is_part_of(route_host, host)));
            routes.extend(narrower);
        }
    }
    routes.retain(|route| observed.uses_interceptor(route) && !route.is_going());
    routes.sort_unstable_by_key(|route| (route.namespace(), route.name()));
    routes.dedup_by_key(|route| (route.namespace().to_owned(), route.name().to_owned()));
    let (own, of_others): (Vec<_>, Vec<_>) = routes
        .into_iter()
        .partition(|route| observed.speaks_for(route.namespace(), namespace));
    if own.is_empty() {
        return of_others
            .into_iter()
            .filter(|route| verdict(observed, route).is_none())
            .collect();
    }
    own
}

/// The condition of an object, from the HTTPRoutes that [`concerned`] found.
pub(super) fn gateway_ready(
    observed: &Observed,
    object: &RouteObject,
    concerned: &[&Resource<HttpRoute>],
    context: &Context<'_>,
) -> Option<Finding> {
    if let Some(why) = context.unwritten.get(&Subject::RouteObject(object.id.clone())) {
        return Some(fails("WriteFailed", &**why));
    }
    let (known, unknown): (Vec<&Resource<HttpRoute>>, Vec<&Resource<HttpRoute>>) = concerned
        .iter()
        .copied()
        .partition(|route| !observed.http_routes.unreadable.contains(route.namespace()));
    if known.is_empty() {
        // Of the object's own namespace, unless all that is remembered is elsewhere.
        let own = &*object.id.namespace;
        let remembered = unknown.iter().map(|route| route.namespace());
        let unreadable = remembered
            .chain([own])
            .find(|namespace| observed.http_routes.unreadable.contains(*namespace));
        return match unreadable {
            Some(namespace) => Some(not_readable(Kind::HttpRoute, namespace)),
            None => no_route(observed, object, context),
        };
    }
    let mut note: Option<Finding> = None;
    let mut waiting: Option<Finding> = None;
    for route in &known {
        let name = ObjectName::of(&route.metadata);
        let remark = context.remarks.get(&name);
        if !observed.speaks_for(route.namespace(), &object.id.namespace) {
            // Whoever owns it may do with it what they like, but not with this object's condition.
            note = note.or_else(|| {
                remark.map(|remark| Finding::holds(GATEWAY_READY, remark.reason, &*remark.message))
            });
            continue;
        }
        let namespace = Subject::Namespace(route.namespace().to_owned());
        if let Some(why) = context.unwritten.get(&namespace) {
            return Some(fails(
                "ReferenceGrantMissing",
                format!(
                    "HTTPRoutes may not refer to Service {}: {why}",
                    observed.settings.interceptor
                ),
            ));
        }
        match verdict(observed, route) {
            Some(ready) if ready.status == Status::False => return Some(ready),
            Some(ready) => waiting = waiting.or(Some(ready)),
            None => {}
        }
        match remark {
            Some(remark) if remark.is_fault => return Some(remark.into()),
            remark => note = note.or_else(|| remark.map(Finding::from)),
        }
        if let Some(namespace) = policies::unreadable(observed, route) {
            waiting = waiting.or_else(|| Some(not_readable(Kind::BackendTrafficPolicy, namespace)));
        }
        let policy = Subject::HttpRoute(name);
        if let Some(why) = context.unwritten.get(&policy) {
            return Some(fails("WriteFailed", &**why));
        }
    }
    if !context.unrouted.is_empty() {
        return no_route(observed, object, context);
    }
    waiting.or(note).or_else(|| {
        let names: Vec<String> = known
            .iter()
            .take(4)
            .map(|route| ObjectName::of(&route.metadata).to_string())
            .collect();
        let more = known.len() - names.len();
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        Some(Finding::holds(
            GATEWAY_READY,
            "Routed",
            format!("served through HTTPRoute {}{more}", names.join(", ")),
        ))
    })
}

fn no_route(observed: &Observed, object: &RouteObject, context: &Context<'_>) -> Option<Finding> {
    let gateway = observed.settings.default_gateway.as_ref()?;
    let opted_out = object
        .annotations
        .get(HTTP_ROUTE_ANNOTATION)
        .is_some_and(|value| value == "none");
    if opted_out || !observed.http_routes.is_complete() {
        return None;
    }
    if !context.unrouted.is_empty() {
        return Some(fails(
            "NoRoute",
            format!(
                "Gateway {gateway} has no HTTPRoute: {}",
                context.unrouted.join("; ")
            ),
        ));
    }
    Some(pending(format!(
        "the HTTPRoute on Gateway {gateway} is being written"
    )))
}

/// What the gateways say of an HTTPRoute; `None` where all is well.
fn verdict(observed: &Observed, route: &Resource<HttpRoute>) -> Option<Finding> {
    let name = ObjectName::of(&route.metadata);
    let generation = route.metadata.generation;
    let mut heard = false;
    for parent in &route.body.status.parents {
        for condition in current(parent, generation) {
            let is_known = matches!(condition.type_.as_str(), "Accepted" | "ResolvedRefs");
            if !is_known {
                continue;
            }
            heard |= condition.type_ == "Accepted";
            if condition.status != "False" {
                continue;
            }
            if condition.reason == "RefNotPermitted" && is_outdated(observed, route, condition) {
                return Some(pending(format!(
                    "Gateway {} has not seen the ReferenceGrant for HTTPRoute {name} yet",
                    parent_name(parent, &name)
                )));
            }
            let (reason, what) = match (condition.type_.as_str(), condition.reason.as_str()) {
                ("Accepted", _) => ("RouteNotAccepted", "does not accept"),
                (_, "RefNotPermitted") => ("ReferenceGrantMissing", "misses a ReferenceGrant for"),
                _ => ("RefsNotResolved", "cannot resolve what is referred to by"),
            };
            let message: Vec<&str> = condition.message.lines().map(str::trim).collect();
            return Some(fails(
                reason,
                format!(
                    "Gateway {} {what} HTTPRoute {name}: {}: {}",
                    parent_name(parent, &name),
                    condition.reason,
                    message.join(" ").trim_end_matches('.')
                ),
            ));
        }
    }
    if heard {
        return None;
    }
    let absent = route.body.spec.parent_refs.iter().find_map(|parent| {
        let (namespace, gateway) = parent.gateway(&name.namespace)?;
        let gateway = ObjectName::new(namespace, gateway);
        (observed.gateways.is_complete() && !observed.gateways.objects.contains_key(&gateway))
            .then_some(gateway)
    });
    Some(match absent {
        Some(gateway) => fails(
            "NoGateway",
            format!("HTTPRoute {name} names Gateway {gateway}, which does not exist"),
        ),
        None => pending(format!("no gateway has taken up HTTPRoute {name} yet")),
    })
}

/// Whether a gateway missed a permission before it was there. Times are of whole seconds. Where it is not there yet it is
/// being written: what cannot be written has been looked at before.
fn is_outdated(observed: &Observed, route: &Resource<HttpRoute>, condition: &ParentCondition) -> bool {
    if !observed.grants.is_complete() || observed.interceptor().is_none() {
        return false;
    }
    let granted = grants::covering(observed, route.namespace())
        .filter_map(|grant| grant.metadata.creation_timestamp.as_ref())
        .map(|created| created.0)
        .min();
    match (granted, &condition.last_transition_time) {
        (Some(granted), Some(said)) => said.0 <= granted,
        (granted, _) => granted.is_none(),
    }
}

/// The conditions that speak of the HTTPRoute as it is now.
fn current(parent: &ParentStatus, generation: Option<i64>) -> impl Iterator<Item = &ParentCondition> {
    parent.conditions.iter().filter(move |condition| {
        condition.observed_generation.is_none() || condition.observed_generation >= generation
    })
}

fn parent_name(parent: &ParentStatus, route: &ObjectName) -> ObjectName {
    let parent = &parent.parent_ref;
    ObjectName::new(
        parent.namespace.as_deref().unwrap_or(&route.namespace),
        &*parent.name,
    )
}

fn fails(reason: &'static str, message: impl Into<String>) -> Finding {
    Finding::fails(GATEWAY_READY, reason, message)
}

fn not_readable(kind: Kind, namespace: &str) -> Finding {
    let message = format!(
        "the role of the controller does not let it read {} in namespace {namespace}: what Rouse wrote there stays as it is",
        kind.plural()
    );
    Finding::unknown(GATEWAY_READY, "NotReadable", message)
}

fn pending(message: String) -> Finding {
    Finding::unknown(GATEWAY_READY, REASON_PENDING, message)
}

impl From<&Remark> for Finding {
    fn from(remark: &Remark) -> Self {
        if remark.is_fault {
            fails(remark.reason, &*remark.message)
        } else {
            Self::holds(GATEWAY_READY, remark.reason, &*remark.message)
        }
    }
}
