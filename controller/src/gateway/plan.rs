//! What is to be written, what is to be deleted and what is to be said, from what was observed. Pure: no I/O, no clock.
//!
//! ```text
//! HTTPRoutes to the interceptor ──▶ a ReferenceGrant per namespace        (grants)
//!            on Envoy Gateway ────▶ a BackendTrafficPolicy per HTTPRoute  (policies)
//! hosts that no HTTPRoute has ────▶ HTTPRoutes on the default Gateway     (routes)
//! HTTPRoute.status and all this ──▶ GatewayReady per route object         (conditions)
//! ```
//!
//! Nothing is taken for unwanted on the word of a kind that could not be read. In a namespace where a kind cannot be read
//! the objects of that kind, and what they are looked at for, are left as they are; all others are planned for as always.

mod conditions;
mod grants;
mod hosts;
mod policies;
mod routes;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rouse_routing::RouteId;

use self::{hosts::HostIndex, routes::Claims};
use super::{
    desired::{Desired, Subject},
    observed::{Collection, Observed, WrittenObject},
    resource::{HttpRoute, Kind, ReferenceGrant, Resource, TrafficPolicy},
    route_object::RouteObject,
};
use crate::{condition::Finding, observed::ObjectName};

/// The outcome of a plan.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What has to be applied, because it is missing or differs.
    pub(super) apply: Vec<Desired>,
    /// What has to be deleted: Rouse's own, and no longer wanted.
    pub(super) delete: Vec<Stale>,
    /// What is wrong with HTTPRoutes.
    pub(super) remarks: BTreeMap<ObjectName, Remark>,
    /// What to say of route objects.
    pub(super) conditions: BTreeMap<RouteId, Finding>,
}

/// An object of Rouse's that nobody needs any more, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stale {
    pub(super) object: WrittenObject,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
}

/// What is wrong with an HTTPRoute that sends requests to the interceptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remark {
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// Whether requests fail for it which the user has not asked to fail.
    pub(super) is_fault: bool,
}

/// What is wanted and is not there, and why, by what it is wanted for.
type Unwritten = HashMap<Subject, String>;

/// Makes the plan. [`Observed::is_settled`] has to hold.
pub(super) fn plan(observed: &Observed) -> Plan {
    let objects = observed.route_objects.as_slice();
    let index = HostIndex::new(observed.http_routes.values());
    let claims = Claims::new(objects);
    let concerns: Vec<Vec<&Resource<HttpRoute>>> = objects
        .iter()
        .map(|object| conditions::concerned(observed, &index, object))
        .collect();

    let (routes, unrouted) = routes::plan(observed, &index, &claims, objects);
    // Permission first: a gateway that sees the route without it says so in its status.
    let mut desired = grants::plan(observed, &routes);
    desired.extend(routes);
    let policies::Policies {
        desired: policies,
        remarks,
        undecided,
    } = policies::plan(observed, &holds(observed, objects, &concerns));
    desired.extend(policies);

    let mut plan = Plan {
        remarks,
        ..Plan::default()
    };
    let mut unwritten = Unwritten::new();
    let mut wanted = BTreeSet::new();
    for mut desired in desired {
        wanted.insert(desired.object.clone());
        match standing(observed, &desired) {
            Standing::Met => {}
            Standing::Open { is_update } => {
                desired.is_update = is_update;
                if let Some(error) = observed.refused.get(&desired.object) {
                    let message = format!("{} could not be written: {error}", desired.object);
                    unwritten.insert(desired.subject.clone(), message);
                }
                plan.apply.push(desired);
            }
            Standing::Taken => {
                let message = format!("{} is in the way: Rouse did not write it", desired.object);
                unwritten.insert(desired.subject, message);
            }
        }
    }
    plan.delete = stale(observed, &wanted, &undecided);
    for (object, concerned) in objects.iter().zip(&concerns) {
        let ready = conditions::gateway_ready(
            observed,
            object,
            concerned,
            &conditions::Context {
                remarks: &plan.remarks,
                unwritten: &unwritten,
                unrouted: unrouted.get(&object.id).map(Vec::as_slice).unwrap_or_default(),
            },
        );
        if let Some(ready) = ready {
            plan.conditions.insert(object.id.clone(), ready);
        }
    }
    plan
}

/// How long the interceptor may hold requests that come through an HTTPRoute: the longest of the objects behind it.
fn holds(
    observed: &Observed,
    objects: &[RouteObject],
    concerns: &[Vec<&Resource<HttpRoute>>],
) -> HashMap<ObjectName, std::time::Duration> {
    let mut holds = HashMap::new();
    for (object, routes) in objects.iter().zip(concerns) {
        // No deadline of its own: as long as others may be held is as good a figure as any.
        let hold = object
            .hold
            .filter(|hold| !hold.is_zero())
            .unwrap_or(observed.settings.hold);
        for route in routes {
            let longest = holds.entry(ObjectName::of(&route.metadata)).or_insert(hold);
            *longest = hold.max(*longest);
        }
    }
    holds
}

enum Standing {
    /// It is as it should be.
    Met,
    /// It is missing or differs.
    Open { is_update: bool },
    /// Something else has its name.
    Taken,
}

fn standing(observed: &Observed, desired: &Desired) -> Standing {
    fn look<T>(collection: &Collection<T>, desired: &Desired) -> Standing {
        match collection.objects.get(&desired.object.name) {
            None => Standing::Open { is_update: false },
            Some(current) if !current.is_ours() => Standing::Taken,
            Some(current) if current.is_going() || desired.is_met_by(current) => Standing::Met,
            Some(_) => Standing::Open { is_update: true },
        }
    }
    match desired.object.kind {
        Kind::HttpRoute => look(&observed.http_routes, desired),
        Kind::ReferenceGrant => look(&observed.grants, desired),
        Kind::BackendTrafficPolicy => look(&observed.policies, desired),
        // Never written.
        Kind::Gateway | Kind::GatewayClass | Kind::Service => Standing::Taken,
    }
}

/// Rouse's own objects that are not wanted. What they are for is known for certain, or they stay: objects of a kind that
/// cannot be read any longer are remembered while nothing is planned for them. Of the HTTPRoutes in `undecided` it is not
/// known which policies they want.
fn stale(
    observed: &Observed,
    wanted: &BTreeSet<WrittenObject>,
    undecided: &BTreeSet<ObjectName>,
) -> Vec<Stale> {
    fn add<T>(
        kind: Kind,
        collection: &Collection<T>,
        wanted: &BTreeSet<WrittenObject>,
        is_certain: impl Fn(&Resource<T>) -> bool,
        stale: &mut Vec<Stale>,
    ) {
        for current in collection
            .values()
            .filter(|current| current.is_ours() && !current.is_going() && is_certain(current))
        {
            let object = WrittenObject {
                kind,
                name: ObjectName::of(&current.metadata),
            };
            if !wanted.contains(&object) {
                stale.push(Stale {
                    object,
                    uid: current.metadata.uid.clone(),
                    resource_version: current.metadata.resource_version.clone(),
                });
            }
        }
    }
    let mut stale = Vec::new();
    // Everything begins with these. Route objects are always known here: nothing runs before they are.
    if !observed.http_routes.is_complete() {
        return stale;
    }
    if observed.service.is_complete() && observed.grants.is_complete() {
        let is_certain = |grant: &Resource<ReferenceGrant>| {
            let mut from = grant.body.spec.from.iter();
            from.all(|from| observed.http_routes.is_known_in(&from.namespace))
        };
        add(
            Kind::ReferenceGrant,
            &observed.grants,
            wanted,
            is_certain,
            &mut stale,
        );
    }
    if observed.policies.is_complete()
        && observed.gateways.is_complete()
        && observed.gateway_classes.is_complete()
    {
        let is_certain = |policy: &Resource<TrafficPolicy>| {
            let namespace = policy.namespace();
            let owners = policy.metadata.owner_references.iter().flatten();
            observed.policies.is_known_in(namespace)
                && observed.http_routes.is_known_in(namespace)
                && !owners
                    .map(|owner| ObjectName::new(namespace, &*owner.name))
                    .any(|route| undecided.contains(&route))
        };
        add(
            Kind::BackendTrafficPolicy,
            &observed.policies,
            wanted,
            is_certain,
            &mut stale,
        );
    }
    let is_certain = |route: &Resource<HttpRoute>| observed.http_routes.is_known_in(route.namespace());
    add(
        Kind::HttpRoute,
        &observed.http_routes,
        wanted,
        is_certain,
        &mut stale,
    );
    stale
}

#[cfg(test)]
mod tests;
