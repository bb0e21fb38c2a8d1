//! Routes in the data plane's terms, made from the add-on's two resources.

use std::{sync::Arc, time::Duration};

use http::HeaderName;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rouse_api::{
    FieldError, FieldWarning, GoDuration, HTTPScaledObject, InterceptorRoute, Metric, ServicePort,
};
use rouse_routing::{HeaderMatch, RouteId, Rule};

use super::problem::ObjectProblem;
use crate::{
    config::FALLBACK_READINESS_TIMEOUT,
    plan::{RouteConfig, RouteTimeouts, TargetKey, TargetPort},
};

/// A route that can be served: what it matches, and what a request needs of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRoute {
    /// When the object was created: among equal matches the oldest serves.
    pub created: Timestamp,
    /// What it matches.
    pub rules: Vec<Rule>,
    /// Everything else.
    pub config: RouteConfig,
}

/// A route, and what of its object is served differently from how it is written.
pub(super) type Planned = Result<(PlannedRoute, Vec<FieldWarning>), ObjectProblem>;

/// Plans an HTTPScaledObject.
pub(super) fn from_http_scaled_object(id: RouteId, object: &HTTPScaledObject) -> Planned {
    let spec = &object.spec;
    let mut parts = Parts::new(object.validate());

    let target = &spec.scale_target_ref;
    let target = parts.target(&id, "spec.scaleTargetRef", &target.service, target.service_port());
    let fallback = spec
        .cold_start_timeout_failover_ref
        .as_ref()
        .and_then(|failover| {
            let path = "spec.coldStartTimeoutFailoverRef";
            parts.target(&id, path, &failover.service, failover.service_port())
        });
    let headers = spec.headers.iter().map(|header| (&header.name, &header.value));
    let rule = Rule {
        hosts: spec.hosts.clone(),
        paths: spec.path_prefixes.clone(),
        headers: parts.headers("spec.headers", headers),
    };
    let (concurrency_target, rate_window) = scaling(&[object.metric()]);

    let Some(target) = parts.good(target) else {
        return Err(ObjectProblem::of_route(&id, parts.errors));
    };
    let route = PlannedRoute {
        created: created(&object.metadata),
        rules: vec![rule],
        config: RouteConfig {
            target,
            fallback,
            concurrency_target,
            rate_window,
            max_pending: None,
            timeouts: RouteTimeouts {
                readiness: spec.readiness_timeout(),
                response_header: spec.response_header_timeout(),
                request: None,
            },
            id,
        },
    };
    Ok((route, object.warnings()))
}

/// Plans an InterceptorRoute.
pub(super) fn from_interceptor_route(id: RouteId, object: &InterceptorRoute) -> Planned {
    let spec = &object.spec;
    let mut parts = Parts::new(object.validate());

    let target = parts.target(
        &id,
        "spec.target",
        &spec.target.service,
        spec.target.service_port(),
    );
    let cold_start = spec.cold_start.as_ref();
    let fallback = cold_start
        .and_then(|cold_start| cold_start.fallback.as_ref())
        .and_then(|fallback| {
            let (path, service) = ("spec.coldStart.fallback.service", &fallback.service);
            parts.target(&id, path, &service.name, service.service_port())
        });
    let rules = spec
        .rules
        .iter()
        .enumerate()
        .map(|(position, rule)| {
            let headers = rule.headers.iter().map(|header| (&header.name, &header.value));
            Rule {
                hosts: rule.hosts.clone(),
                paths: rule.paths.iter().map(|path| path.value.clone()).collect(),
                headers: parts.headers(&format!("spec.rules[{position}].headers"), headers),
            }
        })
        .collect();
    let (concurrency_target, rate_window) = scaling(&object.metrics());
    let readiness = spec.timeouts.readiness.map(GoDuration::get).map(|timeout| {
        // Without a deadline the fallback would never be reached.
        if timeout.is_zero() && fallback.is_some() {
            FALLBACK_READINESS_TIMEOUT
        } else {
            timeout
        }
    });

    let Some(target) = parts.good(target) else {
        return Err(ObjectProblem::of_route(&id, parts.errors));
    };
    let route = PlannedRoute {
        created: created(&object.metadata),
        rules,
        config: RouteConfig {
            target,
            fallback,
            concurrency_target,
            rate_window,
            max_pending: cold_start
                .and_then(|cold_start| cold_start.max_pending_requests)
                .and_then(|count| u32::try_from(count).ok()),
            timeouts: RouteTimeouts {
                readiness,
                response_header: spec.timeouts.response_header.map(GoDuration::get),
                request: spec.timeouts.request.map(GoDuration::get),
            },
            id,
        },
    };
    let mut warnings = object.warnings();
    warnings.extend(not_served_yet(object));
    Ok((route, warnings))
}

/// What the object asks for and the interceptor has no answer to yet.
fn not_served_yet(object: &InterceptorRoute) -> impl Iterator<Item = FieldWarning> {
    let has_placeholder = object
        .spec
        .cold_start
        .as_ref()
        .is_some_and(|cold_start| cold_start.placeholder.is_some());
    let has_static_routes = !object.spec.static_routes.is_empty();
    [
        (
            has_placeholder,
            "spec.coldStart.placeholder",
            "not served yet: requests are held instead",
        ),
        (
            has_static_routes,
            "spec.staticRoutes",
            "not served yet: their requests go to the target",
        ),
    ]
    .into_iter()
    .filter(|(is_asked_for, ..)| *is_asked_for)
    .map(|(_, path, message)| FieldWarning::new(path, message))
}

/// Turns an object's parts into the data plane's, adding to what is wrong with the object.
struct Parts {
    errors: Vec<FieldError>,
}

impl Parts {
    fn new(errors: Vec<FieldError>) -> Self {
        Self { errors }
    }

    /// Validation has named a port that is none already; this is the backstop.
    fn target(
        &mut self,
        id: &RouteId,
        path: &str,
        service: &str,
        port: Option<ServicePort<'_>>,
    ) -> Option<TargetKey> {
        let Some(port) = port else {
            if self.errors.is_empty() {
                self.errors
                    .push(FieldError::new(path, "names no port that a Service can have"));
            }
            return None;
        };
        Some(TargetKey {
            namespace: Arc::clone(&id.namespace),
            service: Arc::from(service),
            port: match port {
                ServicePort::Number(number) => TargetPort::Number(number),
                ServicePort::Name(name) => TargetPort::Name(Arc::from(name)),
            },
        })
    }

    fn headers<'a>(
        &mut self,
        path: &str,
        headers: impl Iterator<Item = (&'a String, &'a Option<String>)>,
    ) -> Vec<HeaderMatch> {
        let mut matches = Vec::new();
        for (position, (name, value)) in headers.enumerate() {
            match HeaderName::try_from(name) {
                Ok(name) => matches.push(HeaderMatch {
                    name,
                    value: value.clone(),
                }),
                // Validation has said so, unless it knows less than `http`.
                Err(_invalid) if !self.errors.is_empty() => {}
                Err(_invalid) => self.errors.push(FieldError::new(
                    format!("{path}[{position}].name"),
                    format!("{name:?} cannot be the name of a header"),
                )),
            }
        }
        matches
    }

    /// The target of a good object.
    fn good(&self, target: Option<TargetKey>) -> Option<TargetKey> {
        target.filter(|_| self.errors.is_empty())
    }
}

/// The concurrency target and the rate's window, each where the route scales on it.
fn scaling(metrics: &[Metric]) -> (Option<u32>, Option<Duration>) {
    let mut scaling = (None, None);
    for metric in metrics {
        match *metric {
            Metric::Concurrency { target } => scaling.0 = Some(target),
            Metric::RequestRate { window, .. } => scaling.1 = Some(window),
        }
    }
    scaling
}

/// Objects that were never in a cluster have no age; they count as the oldest.
fn created(metadata: &ObjectMeta) -> Timestamp {
    metadata
        .creation_timestamp
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |created| created.0)
}
