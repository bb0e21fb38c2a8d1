//! The status of a route: what it is to say, and whether it says so already.

use jiff::Timestamp;
use rouse_api::condition::{Condition, READY};
use rouse_routing::RouteKind;
use serde_json::{Value, json};

use crate::{
    condition::{self, Finding, Status},
    observed::{Route, Spec},
};

/// A status to be written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DesiredStatus {
    pub(crate) target_workload: Option<String>,
    pub(crate) target_service: Option<String>,
    pub(crate) conditions: Vec<Condition>,
}

/// What becomes of `Ready` with a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Transition {
    /// Nothing worth telling: what was well still is, or is for the first time.
    None,
    /// Something is wrong that was not before, or something else than before.
    Failing,
    /// What was wrong is not any more.
    Recovered,
}

impl DesiredStatus {
    /// The status of `route` after these findings.
    pub(crate) fn new(route: &Route, findings: &[Finding], now: Timestamp) -> Self {
        let (target_workload, target_service) = match &route.spec {
            Spec::HttpScaledObject(spec) => {
                let target = &spec.scale_target_ref;
                let workload = target
                    .workload()
                    .map(|workload| format!("{}/{}/{}", workload.api_version, workload.kind, workload.name));
                let service = target
                    .service_port()
                    .map(|port| format!("{}:{port}", target.service));
                (workload, service)
            }
            Spec::InterceptorRoute(_) | Spec::Unreadable(_) => (None, None),
        };
        Self {
            target_workload,
            target_service,
            conditions: condition::conditions(
                findings,
                &route.status.conditions,
                route.generation,
                whole_seconds(now),
            ),
        }
    }

    /// Whether the route has it already.
    pub(crate) fn is_written(&self, route: &Route) -> bool {
        let has_targets = route.id.kind == RouteKind::InterceptorRoute
            || (self.target_workload == route.status.target_workload
                && self.target_service == route.status.target_service);
        has_targets && condition::are_written(&self.conditions, &route.status.conditions)
    }

    /// What is applied.
    pub(crate) fn to_json(&self) -> Value {
        let mut status = json!({ "conditions": self.conditions });
        let texts = [
            ("targetWorkload", &self.target_workload),
            ("targetService", &self.target_service),
        ];
        if let Some(fields) = status.as_object_mut() {
            for (name, text) in texts {
                if let Some(text) = text {
                    fields.insert(name.to_owned(), text.as_str().into());
                }
            }
        }
        status
    }

    /// What writing it over the route's status means.
    pub(crate) fn transition(&self, route: &Route) -> Transition {
        let find = |conditions: &[Condition]| {
            let ready = conditions.iter().find(|condition| condition.type_ == READY);
            ready.map(|ready| (ready.status.clone(), ready.reason.clone()))
        };
        let is_false = |state: &(String, String)| state.0 == Status::False.as_str();
        let (before, after) = (find(&route.status.conditions), find(&self.conditions));
        let was_failing = before.as_ref().is_some_and(is_false);
        match after {
            Some(after) if is_false(&after) => {
                if before.as_ref() == Some(&after) {
                    Transition::None
                } else {
                    Transition::Failing
                }
            }
            Some(_) if was_failing => Transition::Recovered,
            _ => Transition::None,
        }
    }
}

/// Times in a status have no fractions: what is written is what is read.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
