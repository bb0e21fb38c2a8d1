//! What makes an InterceptorRoute unservable.

use super::{
    ColdStartOverflow, ColdStartSpec, InterceptorRouteSpec, RoutingRule, ScalingMetricSpec, StaticResponse,
};
use crate::{
    FieldError, FieldWarning, check,
    metric::{check_target, warn_request_rate},
};

/// The CRD's own message.
const PORT_MESSAGE: &str = "exactly one of 'port' or 'portName' must be set";

/// The longest inline body, in characters.
const MAX_BODY: usize = 32_768;

pub(super) fn validate(spec: &InterceptorRouteSpec) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let target = &spec.target;
    check::service_name("spec.target.service", &target.service, &mut errors);
    check::service_port(
        "spec.target",
        target.port,
        target.port_name.as_deref(),
        PORT_MESSAGE,
        &mut errors,
    );
    check_rules("spec.rules", &spec.rules, &mut errors);
    check_metric(spec.scaling_metric, &mut errors);
    if let Some(cold_start) = &spec.cold_start {
        check_cold_start(cold_start, &mut errors);
    }
    for (i, route) in spec.static_routes.iter().enumerate() {
        let path = format!("spec.staticRoutes[{i}]");
        if route.rules.is_empty() {
            errors.push(FieldError::new(
                format!("{path}.rules"),
                "must have at least one rule",
            ));
        }
        check_rules(&format!("{path}.rules"), &route.rules, &mut errors);
        check_response(&format!("{path}.response"), &route.response, &mut errors);
    }
    errors
}

pub(super) fn warnings(spec: &InterceptorRouteSpec) -> Vec<FieldWarning> {
    let mut warnings = Vec::new();
    if spec.rules.is_empty() {
        warnings.push(FieldWarning::new(
            "spec.rules",
            "without rules the route matches no request; a rule without fields matches all",
        ));
    }
    if let Some(rate) = spec.scaling_metric.request_rate {
        warn_request_rate(
            "spec.scalingMetric.requestRate",
            rate.window,
            rate.granularity,
            &mut warnings,
        );
    }
    warnings
}

fn check_rules(path: &str, rules: &[RoutingRule], errors: &mut Vec<FieldError>) {
    for (i, rule) in rules.iter().enumerate() {
        let path = format!("{path}[{i}]");
        check::hosts(&format!("{path}.hosts"), &rule.hosts, errors);
        check::distinct(&format!("{path}.hosts"), &rule.hosts, errors);
        for (j, prefix) in rule.paths.iter().enumerate() {
            if prefix.value.is_empty() {
                errors.push(FieldError::new(
                    format!("{path}.paths[{j}].value"),
                    "must not be empty",
                ));
            }
        }
        check::header_matches(
            &format!("{path}.headers"),
            rule.headers
                .iter()
                .map(|header| (header.name.as_str(), header.value.as_deref())),
            errors,
        );
    }
}

fn check_metric(metric: ScalingMetricSpec, errors: &mut Vec<FieldError>) {
    if metric.concurrency.is_none() && metric.request_rate.is_none() {
        errors.push(FieldError::new(
            "spec.scalingMetric",
            "at least one of 'concurrency' or 'requestRate' must be set",
        ));
    }
    if let Some(concurrency) = metric.concurrency {
        let path = "spec.scalingMetric.concurrency.targetValue";
        check_target(path, concurrency.target_value.into(), errors);
    }
    if let Some(rate) = metric.request_rate {
        check_target(
            "spec.scalingMetric.requestRate.targetValue",
            rate.target_value.into(),
            errors,
        );
    }
}

fn check_cold_start(cold_start: &ColdStartSpec, errors: &mut Vec<FieldError>) {
    let path = "spec.coldStart";
    if cold_start.fallback.is_none()
        && cold_start.placeholder.is_none()
        && cold_start.max_pending_requests.is_none()
    {
        errors.push(FieldError::new(
            path,
            "at least one of 'fallback', 'placeholder' or 'maxPendingRequests' must be set",
        ));
    }
    if cold_start.overflow == ColdStartOverflow::Placeholder && cold_start.placeholder.is_none() {
        errors.push(FieldError::new(
            path,
            "'placeholder' must be set when 'overflow' is 'Placeholder'",
        ));
    }
    check::at_least(
        &format!("{path}.maxPendingRequests"),
        cold_start.max_pending_requests,
        1,
        errors,
    );
    if let Some(fallback) = &cold_start.fallback {
        let (path, service) = (format!("{path}.fallback.service"), &fallback.service);
        check::service_name(&format!("{path}.name"), &service.name, errors);
        check::service_port(
            &path,
            service.port,
            service.port_name.as_deref(),
            PORT_MESSAGE,
            errors,
        );
    }
    if let Some(placeholder) = &cold_start.placeholder {
        check_response(
            &format!("{path}.placeholder.response"),
            &placeholder.response,
            errors,
        );
    }
}

fn check_response(path: &str, response: &StaticResponse, errors: &mut Vec<FieldError>) {
    match response.status_code {
        // The CRD lets these through, but no response can end with one.
        Some(informational @ 100..200) => errors.push(FieldError::new(
            format!("{path}.statusCode"),
            format!("{informational} announces a response and is none: from 200 to 599"),
        )),
        Some(status) => check::in_range(&format!("{path}.statusCode"), status, 100, 599, errors),
        None => {}
    }
    if response.body.is_some() && response.body_from_config_map.is_some() {
        errors.push(FieldError::new(
            path,
            "at most one of 'body' or 'bodyFromConfigMap' may be set",
        ));
    }
    if let Some(body) = &response.body
        && body.chars().count() > MAX_BODY
    {
        errors.push(FieldError::new(
            format!("{path}.body"),
            format!("must have at most {MAX_BODY} characters"),
        ));
    }
    if let Some(reference) = &response.body_from_config_map
        && reference.name.is_empty()
    {
        errors.push(FieldError::new(
            format!("{path}.bodyFromConfigMap.name"),
            "must not be empty",
        ));
    }
    for (name, value) in &response.headers {
        check::header_name(&format!("{path}.headers"), name, errors);
        check::header_value(&format!("{path}.headers.{name}"), value, errors);
    }
}
