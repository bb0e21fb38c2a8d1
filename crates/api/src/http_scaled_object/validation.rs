//! What makes an HTTPScaledObject unservable.

use super::{
    ColdStartTimeoutFailoverRef, DEFAULT_MAX_REPLICAS, HTTPScaledObjectSpec, ReplicaStruct, Workload,
};
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
    errors.extend(target.workload().and_then(impossible_workload));
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

/// Why there can be no such workload, whatever the cluster has: the first reason that there is.
fn impossible_workload(workload: Workload<'_>) -> Option<FieldError> {
    let Workload {
        api_version,
        kind,
        name,
    } = workload;
    let error = |field: &str, message| Some(FieldError::new(format!("spec.scaleTargetRef.{field}"), message));
    let group = match api_version.rsplit_once('/') {
        None if api_version == "v1" => "",
        Some((group, version)) if check::is_dns_subdomain(group) && check::is_dns_label(version) => group,
        _ => {
            let message = format!("must be a group and a version, such as apps/v1, not {api_version:?}");
            return error("apiVersion", message);
        }
    };
    // The API server's own groups are known; what else a cluster may have is not.
    let known: Option<(&str, &[&str])> = match group {
        "" => Some(("v1", &["ReplicationController"])),
        "apps" => Some(("apps/v1", &["Deployment", "StatefulSet", "ReplicaSet"])),
        _ => None,
    };
    match known {
        Some((version, _)) if api_version != version => {
            let message = format!("must be {version}, the only version of its group, not {api_version:?}");
            return error("apiVersion", message);
        }
        Some((version, kinds)) if !kinds.contains(&kind) => {
            let kinds = kinds.join(", ");
            let message = format!("{kind:?} is none of the kinds in {version} that can be scaled: {kinds}");
            return error("kind", message);
        }
        // Kinds become names of resources in lower case.
        None if !check::is_dns_label(&kind.to_ascii_lowercase()) => {
            return error("kind", format!("{kind:?} cannot be a kind"));
        }
        _ => {}
    }
    if !check::is_dns_subdomain(name) {
        let message =
            format!("{name:?} cannot be the name of a {kind}: lower-case letters, digits, '-' and '.'");
        return error("name", message);
    }
    None
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
