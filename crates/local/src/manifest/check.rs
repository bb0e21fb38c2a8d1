//! Checks the objects against each other and makes the plan.

mod bind;

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rouse_api::{HTTPScaledObject, ServicePort, TargetFault};

use super::conflicts;
use super::error::{DocumentRef, ManifestError, ManifestErrors};
use super::lookup::{
    binds, find_port, full_name, is_external_name, is_named, labels_of, offered_ports, selects,
};
use super::reader::{Located, Manifests};
use super::workloads::{self, RunOverride, Workload};
use crate::scaling::cooldown::Limits;

/// A Deployment of more replicas is a mistake on one machine; no load scales it further.
const MAX_REPLICAS: i32 = 1000;

/// What this machine is to run.
#[derive(Debug)]
pub struct Plan {
    /// The Deployments.
    pub workloads: Vec<Workload>,
    /// The Services, as the interceptor is told of them.
    pub services: Vec<Service>,
    /// The routes, oldest first.
    pub routes: Vec<HTTPScaledObject>,
    /// The routes that scale a Deployment.
    pub scaled: Vec<ScaledWorkload>,
    /// One line for each thing that has no part here.
    pub notices: Vec<String>,
    /// One line for each thing that is probably a mistake.
    pub warnings: Vec<String>,
}

/// A route and the Deployment that it scales.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaledWorkload {
    /// The namespace of both.
    pub namespace: String,
    /// The route's name.
    pub route: String,
    /// The Deployment's name.
    pub deployment: String,
    /// How far it is scaled.
    pub limits: Limits,
}

/// Checks the manifests and makes the plan. `demo_app` is how the demo app is started, without its address.
///
/// # Errors
/// Every object that does not fit the others, or that cannot be run here.
pub fn resolve(
    manifests: Manifests,
    overrides: &[RunOverride],
    demo_app: &[String],
) -> Result<Plan, ManifestErrors> {
    let Manifests {
        deployments,
        services,
        mut routes,
        notices,
        warnings,
    } = manifests;
    date_in_file_order(&mut routes);
    let mut checker = Checker {
        errors: Vec::new(),
        notices,
        warnings,
    };
    checker.find_duplicates(&deployments, &services, &routes);
    for deployment in &deployments {
        checker.check_deployment(deployment);
    }
    for route in &routes {
        checker.check_route(route, &services, &deployments);
    }
    if routes.is_empty() && checker.errors.is_empty() {
        checker.errors.push(ManifestError::Whole(
            "the files hold no HTTPScaledObject: nothing would be served".to_owned(),
        ));
    }
    // What follows takes for granted what was checked so far.
    if !checker.errors.is_empty() {
        return Err(ManifestErrors(checker.errors));
    }
    let scaled = checker.scaled_workloads(&routes);
    checker.warnings.extend(conflicts::warnings(&routes));
    checker
        .warnings
        .extend(workloads::unmatched(overrides, &deployments));
    let mut workloads = Vec::new();
    for deployment in &deployments {
        workloads.extend(checker.workload(deployment, &services, &routes, &scaled, overrides, demo_app));
    }
    if !checker.errors.is_empty() {
        return Err(ManifestErrors(checker.errors));
    }
    Ok(Plan {
        workloads,
        services: services.into_iter().map(|service| service.object).collect(),
        routes: routes.into_iter().map(|route| route.object).collect(),
        scaled,
        notices: checker.notices,
        warnings: checker.warnings,
    })
}

/// Of two routes that want the same requests the oldest serves. Files carry no ages, so their order stands for it: each
/// route without a creationTimestamp is a second younger than the one before it, the last one as old as this start.
fn date_in_file_order(routes: &mut [Located<HTTPScaledObject>]) {
    let now = Timestamp::now();
    // The last route first, a second old.
    for (seconds, route) in (1..).zip(routes.iter_mut().rev()) {
        let age = SignedDuration::from_secs(seconds);
        route
            .object
            .metadata
            .creation_timestamp
            .get_or_insert(Time(now.saturating_sub(age).unwrap_or(now)));
    }
}

struct Checker {
    errors: Vec<ManifestError>,
    notices: Vec<String>,
    warnings: Vec<String>,
}

impl Checker {
    fn find_duplicates(
        &mut self,
        deployments: &[Located<Deployment>],
        services: &[Located<Service>],
        routes: &[Located<HTTPScaledObject>],
    ) {
        let objects = deployments
            .iter()
            .map(|it| ("Deployment", &it.object.metadata, &it.at))
            .chain(services.iter().map(|it| ("Service", &it.object.metadata, &it.at)))
            .chain(
                routes
                    .iter()
                    .map(|it| ("HTTPScaledObject", &it.object.metadata, &it.at)),
            );
        let mut seen: HashMap<(&str, String), &DocumentRef> = HashMap::new();
        for (kind, metadata, at) in objects {
            let name = full_name(metadata);
            if let Some(first) = seen.get(&(kind, name.clone())) {
                let message = format!("{kind} {name} is defined before, in {first}");
                self.errors
                    .push(ManifestError::field(at, "metadata.name", message));
            } else {
                seen.insert((kind, name), at);
            }
        }
    }

    fn check_deployment(&mut self, deployment: &Located<Deployment>) {
        let Located { object, at } = deployment;
        let mut fault =
            |field: &str, message: String| self.errors.push(ManifestError::field(at, field, message));
        let Some(spec) = &object.spec else {
            return fault("spec", "missing".to_owned());
        };
        match spec.replicas {
            Some(replicas) if replicas < 0 => fault("spec.replicas", format!("{replicas} is below zero")),
            Some(replicas) if replicas > MAX_REPLICAS => {
                fault(
                    "spec.replicas",
                    format!("{replicas} is above {MAX_REPLICAS}, the most on one machine"),
                );
            }
            _ => {}
        }
        if spec
            .template
            .spec
            .as_ref()
            .is_none_or(|pod| pod.containers.is_empty())
        {
            fault(
                "spec.template.spec.containers",
                "a Deployment needs a container".to_owned(),
            );
        }
        let labels = labels_of(object);
        let selector = spec.selector.match_labels.clone().unwrap_or_default();
        if selector.is_empty() && spec.selector.match_expressions.is_none() {
            fault("spec.selector", "missing".to_owned());
        } else if !selects(&selector, &labels) && !selector.is_empty() {
            fault(
                "spec.selector.matchLabels",
                "does not match the labels of spec.template".to_owned(),
            );
        }
    }

    fn check_route(
        &mut self,
        route: &Located<HTTPScaledObject>,
        services: &[Located<Service>],
        deployments: &[Located<Deployment>],
    ) {
        let Located { object, at } = route;
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let target = &object.spec.scale_target_ref;
        let min = object.spec.min_replicas();
        if min > MAX_REPLICAS as u32 {
            self.errors.push(ManifestError::field(
                at,
                "spec.replicas.min",
                format!("{min} is above {MAX_REPLICAS}, the most on one machine"),
            ));
        }
        let service = self.check_reference(
            at,
            "spec.scaleTargetRef",
            (namespace, &target.service),
            target.service_port(),
            services,
        );
        if let Some(service) = service.filter(|service| is_external_name(service)) {
            let fault = TargetFault::ExternalName {
                service: service.metadata.name.as_deref().unwrap_or_default(),
            };
            self.errors.push(ManifestError::field(
                at,
                "spec.scaleTargetRef.service",
                fault.to_string(),
            ));
        }
        if let Some(failover) = &object.spec.cold_start_timeout_failover_ref {
            let field = "spec.coldStartTimeoutFailoverRef";
            self.check_reference(
                at,
                field,
                (namespace, &failover.service),
                failover.service_port(),
                services,
            );
        }

        let mut fault = |field: &str, message: String| {
            self.errors.push(ManifestError::field(
                at,
                format!("spec.scaleTargetRef.{field}"),
                message,
            ));
        };
        let Some(workload) = target.workload() else {
            return fault("name", "missing: which Deployment is to be scaled?".to_owned());
        };
        if workload.kind != "Deployment" {
            return fault(
                "kind",
                format!(
                    "{} cannot be scaled by `rouse local`, only a Deployment",
                    workload.kind
                ),
            );
        }
        if workload.api_version != "apps/v1" {
            return fault(
                "apiVersion",
                format!("Deployment is apps/v1, not {}", workload.api_version),
            );
        }
        let deployment = deployments
            .iter()
            .find(|it| is_named(&it.object.metadata, namespace, workload.name))
            .map(|it| &it.object);
        match (deployment, service) {
            (None, _) => {
                fault(
                    "name",
                    TargetFault::WorkloadNotFound {
                        kind: "Deployment",
                        name: workload.name,
                        namespace,
                    }
                    .to_string(),
                );
            }
            (Some(deployment), Some(service)) if !binds(service, deployment) => {
                self.warnings.push(format!(
                    "{at}: spec.scaleTargetRef: Service {namespace}/{} does not select the replicas of Deployment {}: \
                     what is woken will not be what is waited for",
                    target.service, workload.name
                ));
            }
            _ => {}
        }
    }

    fn check_reference<'a>(
        &mut self,
        at: &DocumentRef,
        field: &str,
        (namespace, name): (&str, &str),
        port: Option<ServicePort<'_>>,
        services: &'a [Located<Service>],
    ) -> Option<&'a Service> {
        let Some(service) = services
            .iter()
            .find(|it| is_named(&it.object.metadata, namespace, name))
        else {
            let fault = TargetFault::ServiceNotFound {
                service: name,
                namespace,
            };
            self.errors.push(ManifestError::field(
                at,
                format!("{field}.service"),
                fault.to_string(),
            ));
            return None;
        };
        // As a fallback it may be one, which has no ports to look for.
        if is_external_name(&service.object) {
            return Some(&service.object);
        }
        // Without one the reader has said so.
        let port = port?;
        if find_port(&service.object, port).is_none() {
            let part = match port {
                ServicePort::Number(_) => "port",
                ServicePort::Name(_) => "portName",
            };
            let fault = TargetFault::PortNotFound {
                service: name,
                port,
                offered: offered_ports(&service.object),
            };
            self.errors.push(ManifestError::field(
                at,
                format!("{field}.{part}"),
                fault.to_string(),
            ));
        }
        Some(&service.object)
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
