//! What makes an HTTPScaledObject unservable.

use super::{ColdStartTimeoutFailoverRef, DEFAULT_MAX_REPLICAS, HTTPScaledObjectSpec, ReplicaStruct};
use crate::{
    FieldError, FieldWarning, check,
    metric::{check_target, warn_request_rate},
};

/// The CRD's own message.
const PORT_MESSAGE: &str = "must define either the 'portName' or the 'port'";

pub(super) fn validate(spec: &HTTPScaledObjectSpec) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check::hosts("spec.hosts", &spec.hosts, &mut errors);
    check::header_matches(
        "spec.headers",
        spec.headers
            .iter()
            .map(|header| (header.name.as_str(), header.value.as_deref())),
        &mut errors,
    );

    let target = &spec.scale_target_ref;
    check::service_name("spec.scaleTargetRef.service", &target.service, &mut errors);
    check::service_port(
        "spec.scaleTargetRef",
        target.port,
        target.port_name.as_deref(),
        PORT_MESSAGE,
        &mut errors,
    );
    if let Some(failover) = &spec.cold_start_timeout_failover_ref {
        check_failover(failover, &mut errors);
    }
    if let Some(replicas) = &spec.replicas {
        check_replicas(*replicas, &mut errors);
    }
    check::at_least(
        "spec.targetPendingRequests",
        spec.target_pending_requests,
        1,
        &mut errors,
    );
    check::at_least("spec.scaledownPeriod", spec.scaledown_period, 0, &mut errors);
    check::at_least(
        "spec.initialCooldownPeriod",
        spec.initial_cooldown_period,
        0,
        &mut errors,
    );
    check_metric(spec, &mut errors);
    errors
}

pub(super) fn warnings(spec: &HTTPScaledObjectSpec) -> Vec<FieldWarning> {
    let mut warnings = Vec::new();
    if let Some(rate) = spec.scaling_metric.and_then(|metric| metric.request_rate) {
        warn_request_rate(
            "spec.scalingMetric.requestRate",
            rate.window,
            rate.granularity,
            &mut warnings,
        );
    }
    warnings
}

fn check_failover(failover: &ColdStartTimeoutFailoverRef, errors: &mut Vec<FieldError>) {
    let path = "spec.coldStartTimeoutFailoverRef";
    check::service_name(&format!("{path}.service"), &failover.service, errors);
    check::service_port(
        path,
        failover.port,
        failover.port_name.as_deref(),
        PORT_MESSAGE,
        errors,
    );
    check::at_least(
        &format!("{path}.timeoutSeconds"),
        Some(failover.timeout_seconds),
        0,
        errors,
    );
}

/// What KEDA's admission webhook says of the ScaledObject that would be made from it, said where the user wrote it.
fn check_replicas(replicas: ReplicaStruct, errors: &mut Vec<FieldError>) {
    check::at_least("spec.replicas.min", replicas.min, 0, errors);
    check::at_least("spec.replicas.max", replicas.max, 1, errors);
    let (min, max) = (
        replicas.min.unwrap_or(0),
        replicas.max.unwrap_or(DEFAULT_MAX_REPLICAS),
    );
    if min > max && max >= 1 {
        errors.push(FieldError::new(
            "spec.replicas",
            format!("min ({min}) must not be above max ({max})"),
        ));
    }
}

fn check_metric(spec: &HTTPScaledObjectSpec, errors: &mut Vec<FieldError>) {
    let Some(metric) = spec.scaling_metric else { return };
    if metric.concurrency.is_some() && metric.request_rate.is_some() {
        errors.push(FieldError::new(
            "spec.scalingMetric",
            "'concurrency' and 'requestRate' exclude each other",
        ));
    }
    if let Some(concurrency) = metric.concurrency {
        check_target(
            "spec.scalingMetric.concurrency.targetValue",
            concurrency.target_value,
            errors,
        );
    }
    if let Some(rate) = metric.request_rate {
        check_target(
            "spec.scalingMetric.requestRate.targetValue",
            rate.target_value,
            errors,
        );
    }
}
