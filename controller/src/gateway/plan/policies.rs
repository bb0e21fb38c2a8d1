//! Envoy Gateway's policies for HTTPRoutes to the interceptor: no deadline at the gateway that would cut a held request off,
//! and a repetition of requests where the interceptor has not seen them. See docs/design/0006-gateway-objects.md.

mod others;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Map, Value, json};

use self::others::{Others, cut_short, too_short};
use super::{
    super::{
        desired::{Desired, Subject, derived_name},
        observed::{Observed, WrittenObject},
        resource::{GATEWAY_GROUP, HttpRoute, HttpRouteRule, Kind, Resource, TrafficPolicy},
    },
    Remark,
    routes::{OTHER_RULE, SAFE_RULE},
};
use crate::observed::ObjectName;

/// Annotation on an HTTPRoute, or on a route object that Rouse writes HTTPRoutes for: `none` keeps Rouse from writing a
/// policy and from saying anything about deadlines.
pub(super) const TIMEOUT_POLICY_ANNOTATION: &str = "rouse.dev/timeout-policy";

/// What may be repeated whatever the method: nothing of it has reached an application.
const UNSENT: [&str; 2] = ["connect-failure", "refused-stream"];

/// Envoy's deadline of a request where nobody says anything.
const ENVOY_DEFAULT: &str = "15s";

/// What there is to be said of HTTPRoutes.
#[derive(Default)]
pub(super) struct Policies {
    pub(super) desired: Vec<Desired>,
    /// What is wrong with them.
    pub(super) remarks: BTreeMap<ObjectName, Remark>,
    /// Those whose policies stay as they are, as not all that bears on them can be read.
    pub(super) undecided: BTreeSet<ObjectName>,
}

/// Policies, and what is wrong with HTTPRoutes. `holds` says how long requests of an HTTPRoute may be held.
pub(super) fn plan(observed: &Observed, holds: &HashMap<ObjectName, Duration>) -> Policies {
    let mut policies = Policies::default();
    let routes = observed.http_routes.values().filter(|route| {
        !route.is_going() && observed.scope.covers(route.namespace()) && observed.uses_interceptor(route)
    });
    for route in routes {
        let name = ObjectName::of(&route.metadata);
        let hold = holds.get(&name).copied().unwrap_or(observed.settings.hold);
        let planned = plan_one(observed, route, hold);
        policies.desired.extend(planned.policies);
        if planned.is_undecided {
            policies.undecided.insert(name.clone());
        }
        if let Some(remark) = planned.remark {
            policies.remarks.insert(name, remark);
        }
    }
    policies
}

/// The first namespace that bears on the policies of an HTTPRoute, its own or a Gateway's of it, and whose policies cannot
/// be read.
pub(super) fn unreadable<'a>(observed: &'a Observed, route: &'a Resource<HttpRoute>) -> Option<&'a str> {
    let parents = route.body.spec.parent_refs.iter();
    let of_gateways = parents.filter_map(|parent| Some(parent.gateway(route.namespace())?.0));
    std::iter::once(route.namespace())
        .chain(of_gateways)
        .find(|namespace| observed.policies.unreadable.contains(*namespace))
        .filter(|_| observed.is_on_envoy_gateway(route))
}

#[derive(Default)]
struct Planned {
    policies: Vec<Desired>,
    remark: Option<Remark>,
    is_undecided: bool,
}

fn plan_one(observed: &Observed, route: &Resource<HttpRoute>, hold: Duration) -> Planned {
    if route.annotation(TIMEOUT_POLICY_ANNOTATION) == Some("none") {
        return Planned::default();
    }
    let rules = &route.body.spec.rules;
    let held: Vec<&HttpRouteRule> = rules
        .iter()
        .filter(|rule| observed.is_to_interceptor(route.namespace(), rule))
        .collect();
    let mut planned = Planned {
        remark: too_short(rules, &held, hold),
        ..Planned::default()
    };
    if !observed.is_on_envoy_gateway(route) || !observed.policies.is_complete() {
        return planned;
    }
    let is_remembered = observed.http_routes.unreadable.contains(route.namespace());
    if is_remembered || unreadable(observed, route).is_some() {
        planned.is_undecided = true;
        return planned;
    }
    let open: Vec<&HttpRouteRule> = held
        .iter()
        .copied()
        .filter(|rule| deadline(rule).is_none())
        .collect();
    if open.is_empty() && !route.is_ours() {
        return planned;
    }
    let others = Others::find(observed, route);
    if !others.own.is_empty() {
        planned.remark = others.conflict(&open, hold).or(planned.remark);
        return planned;
    }
    if open.is_empty() {
        planned.policies = retry_policies(observed, route, &others.inherited);
        return planned;
    }
    // The gateway's owner has decided: nothing of it is undone here.
    let decided = others.inherited_deadlines();
    if !decided.is_empty() {
        planned.remark = cut_short(&decided, hold).or(planned.remark);
        return planned;
    }
    let sections = if held.len() == rules.len() {
        vec![None]
    } else if open.iter().all(|rule| rule.name.is_some()) {
        open.iter().map(|rule| rule.name.as_deref()).collect()
    } else {
        planned.remark = Some(Remark {
            reason: "MixedRules",
            message: format!(
                "some rules of HTTPRoute {} do not go to the interceptor, and those that do have no name by which a \
                 policy could tell them: name them, or set their timeouts.request; until then the gateway ends their \
                 requests after {ENVOY_DEFAULT}",
                ObjectName::of(&route.metadata)
            ),
            is_fault: true,
        });
        return planned;
    };
    let spec = policy_spec(observed, route, &sections, &others.inherited, true, &UNSENT);
    planned.policies = vec![policy(observed, route, "rouse-timeout-", spec)];
    planned
}

/// How the deadline of a request is written: none, unless the settings have one.
pub(super) fn request_timeout(observed: &Observed) -> String {
    match observed.settings.request_timeout {
        None => "0s".to_owned(),
        // Five digits are all that the Gateway API takes.
        Some(timeout) if timeout.as_secs() < 100_000 => format!("{}s", timeout.as_secs()),
        Some(timeout) => format!("{}m", (timeout.as_secs() / 60).min(99_999)),
    }
}

/// The policies of an HTTPRoute that Rouse wrote, one per rule. The deadlines are in its rules.
fn retry_policies(
    observed: &Observed,
    route: &Resource<HttpRoute>,
    inherited: &[&Resource<TrafficPolicy>],
) -> Vec<Desired> {
    if inherited.iter().any(|policy| policy.body.spec.retry.is_some()) {
        return Vec::new();
    }
    let mut safe = UNSENT.to_vec();
    // A request that may be repeated is repeated even if the interceptor died with it.
    safe.push("reset");
    [
        (SAFE_RULE, "rouse-retry-safe-", safe.as_slice()),
        (OTHER_RULE, "rouse-retry-other-", UNSENT.as_slice()),
    ]
    .into_iter()
    .map(|(section, prefix, triggers)| {
        let spec = policy_spec(observed, route, &[Some(section)], inherited, false, triggers);
        policy(observed, route, prefix, spec)
    })
    .collect()
}

fn policy(observed: &Observed, route: &Resource<HttpRoute>, prefix: &str, spec: Value) -> Desired {
    Desired {
        object: WrittenObject {
            kind: Kind::BackendTrafficPolicy,
            name: ObjectName::new(route.namespace(), derived_name(prefix, route.name())),
        },
        subject: Subject::HttpRoute(ObjectName::of(&route.metadata)),
        owner: OwnerReference {
            api_version: format!("{GATEWAY_GROUP}/{}", observed.http_routes.version),
            kind: "HTTPRoute".to_owned(),
            name: route.name().to_owned(),
            uid: route.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: None,
        },
        annotations: BTreeMap::new(),
        spec,
        is_update: false,
    }
}

/// A policy merges into the gateway's own, as Envoy Gateway would otherwise drop that for the route, rate limits and all.
/// Where the gateway's own speaks of a field, ours does not.
fn policy_spec(
    observed: &Observed,
    route: &Resource<HttpRoute>,
    sections: &[Option<&str>],
    inherited: &[&Resource<TrafficPolicy>],
    with_deadline: bool,
    triggers: &[&str],
) -> Value {
    let targets: Vec<Value> = sections
        .iter()
        .map(|section| {
            let mut target = json!({"group": GATEWAY_GROUP, "kind": "HTTPRoute", "name": route.name()});
            if let (Some(section), Some(target)) = (section, target.as_object_mut()) {
                target.insert("sectionName".to_owned(), json!(section));
            }
            target
        })
        .collect();
    let mut spec = Map::new();
    spec.insert("targetRefs".to_owned(), Value::Array(targets));
    spec.insert("mergeType".to_owned(), json!("StrategicMerge"));
    if with_deadline {
        spec.insert(
            "timeout".to_owned(),
            json!({"http": {"requestTimeout": request_timeout(observed)}}),
        );
    }
    if !inherited.iter().any(|policy| policy.body.spec.retry.is_some()) {
        // Long enough for a successor to be there; never to a host that has just failed, where there is another.
        spec.insert(
            "retry".to_owned(),
            json!({
                "numRetries": 5,
                "retryOn": {"triggers": triggers},
                "perRetry": {"backOff": {"baseInterval": "100ms", "maxInterval": "1s"}},
            }),
        );
    }
    if !inherited
        .iter()
        .any(|policy| policy.body.spec.tcp_keepalive.is_some())
    {
        // Without a deadline, an interceptor whose node is gone is noticed by this alone.
        spec.insert(
            "tcpKeepalive".to_owned(),
            json!({"idleTime": "30s", "interval": "10s", "probes": 3}),
        );
    }
    Value::Object(spec)
}

fn deadline(rule: &HttpRouteRule) -> Option<&str> {
    rule.timeouts.as_ref()?.deadline()
}
