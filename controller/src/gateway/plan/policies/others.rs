//! Policies and deadlines that somebody else has set: what of them bears on an HTTPRoute, and whether a held request lives
//! through it.

use std::{collections::BTreeMap, time::Duration};

use super::{
    super::{
        super::{
            observed::Observed,
            resource::{HttpRoute, HttpRouteRule, Resource, TrafficPolicy, duration},
        },
        Remark,
    },
    ENVOY_DEFAULT, deadline,
};
use crate::observed::ObjectName;

/// The policies that stand beside ours.
pub(super) struct Others<'a> {
    /// Those on the Gateways of the route, for all listeners or for one that the route may use.
    pub(super) inherited: Vec<&'a Resource<TrafficPolicy>>,
    /// Those on the route itself.
    pub(super) own: Vec<&'a Resource<TrafficPolicy>>,
}

impl<'a> Others<'a> {
    pub(super) fn find(observed: &'a Observed, route: &'a Resource<HttpRoute>) -> Self {
        Self {
            inherited: inherited(observed, route),
            own: observed
                .policies
                .within(route.namespace())
                .filter(|policy| !policy.is_ours() && targets_route(policy, route))
                .collect(),
        }
    }

    /// The deadlines that the gateway's owner has decided on, with the policies that say so.
    pub(super) fn inherited_deadlines(&self) -> Vec<(&'a Resource<TrafficPolicy>, &'a str)> {
        self.inherited
            .iter()
            .filter_map(|policy| Some((*policy, policy.body.spec.request_timeout()?)))
            .collect()
    }

    /// What the policies on the route leave to be desired for rules without deadlines of their own.
    pub(super) fn conflict(&self, open: &[&HttpRouteRule], hold: Duration) -> Option<Remark> {
        open.iter().find_map(|rule| {
            let of_section = self.own.iter().find(|policy| {
                let mut targets = policy.body.spec.targets();
                targets.any(|target| target.section_name.is_some() && target.section_name == rule.name)
            });
            let of_whole = || {
                self.own.iter().find(|policy| {
                    let spec = &policy.body.spec;
                    spec.targets().any(|target| target.section_name.is_none()) || !spec.target_selectors.is_empty()
                })
            };
            let Some(policy) = of_section.or_else(of_whole) else {
                let name = rule.name.as_deref().unwrap_or("without a name");
                let what = format!("leaves out rule {name}, whose requests Envoy ends after {ENVOY_DEFAULT}");
                return self.own.first().map(|policy| conflict(policy, &what, hold));
            };
            let spec = &policy.body.spec;
            // One that merges takes the gateway's where it says nothing itself.
            let merged = || {
                let parents = self.inherited.iter().filter(|_| spec.merge_type.is_some());
                let mut timeouts = parents.filter_map(|policy| policy.body.spec.request_timeout());
                timeouts.next()
            };
            match spec.request_timeout().or_else(merged) {
                Some(timeout) if is_enough(timeout, hold) => None,
                Some(timeout) => Some(conflict(policy, &ends_after(timeout), hold)),
                None => {
                    let what = format!(
                        "sets no timeout.http.requestTimeout, so that Envoy ends requests after {ENVOY_DEFAULT}"
                    );
                    Some(conflict(policy, &what, hold))
                }
            }
        })
    }
}

/// What is to be said of deadlines on the Gateway.
pub(super) fn cut_short(deadlines: &[(&Resource<TrafficPolicy>, &str)], hold: Duration) -> Option<Remark> {
    deadlines
        .iter()
        .find(|(_, timeout)| !is_enough(timeout, hold))
        .map(|(policy, timeout)| conflict(policy, &ends_after(timeout), hold))
}

/// What is to be said of rules with deadlines of their own.
pub(super) fn too_short(rules: &[HttpRouteRule], held: &[&HttpRouteRule], hold: Duration) -> Option<Remark> {
    let (rule, timeout) = held.iter().find_map(|rule| {
        let timeout = deadline(rule).filter(|timeout| !is_enough(timeout, hold))?;
        Some((*rule, timeout))
    })?;
    let number = rules
        .iter()
        .position(|other| std::ptr::eq(other, rule))
        .unwrap_or(0);
    Some(Remark {
        reason: "TimeoutBelowHold",
        message: format!(
            "the gateway ends requests of rule {} after {timeout}, and the interceptor may hold them for {}",
            rule.name.clone().unwrap_or_else(|| number.to_string()),
            seconds(hold)
        ),
        is_fault: false,
    })
}

/// Whether a deadline lets a request be held as long as the interceptor would. One that cannot be read is the gateway's to
/// judge.
fn is_enough(timeout: &str, hold: Duration) -> bool {
    duration(timeout).is_none_or(|timeout| timeout.is_zero() || timeout >= hold)
}

fn inherited<'a>(observed: &'a Observed, route: &'a Resource<HttpRoute>) -> Vec<&'a Resource<TrafficPolicy>> {
    let mut found: Vec<&Resource<TrafficPolicy>> = Vec::new();
    for parent in &route.body.spec.parent_refs {
        let Some((namespace, name)) = parent.gateway(route.namespace()) else {
            continue;
        };
        let gateway = observed.gateways.objects.get(&ObjectName::new(namespace, name));
        let no_labels = BTreeMap::new();
        let labels = gateway
            .and_then(|gateway| gateway.metadata.labels.as_ref())
            .unwrap_or(&no_labels);
        for policy in observed.policies.within(namespace) {
            let spec = &policy.body.spec;
            let is_target = spec.targets().any(|target| {
                target.kind == "Gateway"
                    && target.name == name
                    && (target.section_name.is_none()
                        || parent.section_name.is_none()
                        || target.section_name == parent.section_name)
            }) || spec
                .target_selectors
                .iter()
                .any(|selector| selector.selects("Gateway", labels));
            if is_target && !found.iter().any(|other| std::ptr::eq(*other, policy)) {
                found.push(policy);
            }
        }
    }
    found
}

fn targets_route(policy: &Resource<TrafficPolicy>, route: &Resource<HttpRoute>) -> bool {
    let spec = &policy.body.spec;
    let no_labels = BTreeMap::new();
    let labels = route.metadata.labels.as_ref().unwrap_or(&no_labels);
    spec.targets()
        .any(|target| target.kind == "HTTPRoute" && target.name == route.name())
        || spec
            .target_selectors
            .iter()
            .any(|selector| selector.selects("HTTPRoute", labels))
}

fn ends_after(timeout: &str) -> String {
    format!("ends requests after {timeout}")
}

fn conflict(policy: &Resource<TrafficPolicy>, what: &str, hold: Duration) -> Remark {
    Remark {
        reason: "PolicyConflict",
        message: format!(
            "BackendTrafficPolicy {}, which Rouse leaves alone, {what}; the interceptor may hold requests for {}",
            ObjectName::of(&policy.metadata),
            seconds(hold)
        ),
        is_fault: true,
    }
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}
