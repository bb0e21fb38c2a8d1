//! Checks the objects against each other and makes the plan.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rouse_api::http_scaled_object::SKIP_SCALED_OBJECT_ANNOTATION;
use rouse_api::{HTTPScaledObject, ServicePort, TargetFault};

use super::conflicts;
use super::error::{DocumentRef, ManifestError, ManifestErrors};
use super::lookup::{
    binds, find_port, first_container, full_name, is_external_name, is_named, labels_of, offered_ports,
    selects,
};
use super::probes::container_port;
use super::reader::{Located, Manifests};
use super::workloads::{self, RunOverride, Workload, WorkloadReader};
use crate::endpoints::{PortBinding, ServiceBinding};
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

    /// KEDA refuses a second ScaledObject for the same workload; here too the first one scales, and the second route is
    /// served without scaling.
    fn scaled_workloads(&mut self, routes: &[Located<HTTPScaledObject>]) -> Vec<ScaledWorkload> {
        let mut scaled: Vec<ScaledWorkload> = Vec::new();
        for Located { object, at } in routes {
            let Some(workload) = object.spec.scale_target_ref.workload() else {
                continue;
            };
            let namespace = object.metadata.namespace.clone().unwrap_or_default();
            let route = object.metadata.name.clone().unwrap_or_default();
            let annotations = object.metadata.annotations.as_ref();
            let is_skipped = annotations.and_then(|all| all.get(SKIP_SCALED_OBJECT_ANNOTATION));
            if is_skipped.is_some_and(|value| value == "true") {
                self.notices.push(format!(
                    "{at}: HTTPScaledObject {namespace}/{route} does not scale: {SKIP_SCALED_OBJECT_ANNOTATION} is true"
                ));
                continue;
            }
            if let Some(first) = scaled
                .iter()
                .find(|it| it.namespace == namespace && it.deployment == workload.name)
            {
                self.warnings.push(format!(
                    "{at}: HTTPScaledObject {namespace}/{route} and {namespace}/{} scale the same Deployment {}: {} \
                     does, as the first",
                    first.route, workload.name, first.route
                ));
                continue;
            }
            let initial = object
                .spec
                .initial_cooldown_period
                .and_then(|seconds| u64::try_from(seconds).ok());
            scaled.push(ScaledWorkload {
                namespace,
                route,
                deployment: workload.name.to_owned(),
                limits: Limits {
                    min: object.spec.min_replicas(),
                    max: object.spec.max_replicas().min(MAX_REPLICAS as u32),
                    cooldown: object.spec.cooldown_period(),
                    initial_cooldown: std::time::Duration::from_secs(initial.unwrap_or(0)),
                },
            });
        }
        scaled
    }

    fn workload(
        &mut self,
        deployment: &Located<Deployment>,
        services: &[Located<Service>],
        routes: &[Located<HTTPScaledObject>],
        scaled: &[ScaledWorkload],
        overrides: &[RunOverride],
        demo_app: &[String],
    ) -> Option<Workload> {
        let Located { object, at } = deployment;
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let container = first_container(object)?;
        let mut bindings: Vec<ServiceBinding> = Vec::new();
        for service in services.iter().filter(|service| binds(&service.object, object)) {
            bindings.push(self.binding(service, container));
        }
        let primary = routes
            .iter()
            .filter(|route| route.object.metadata.namespace.as_deref() == Some(namespace))
            .find_map(|route| {
                let target = &route.object.spec.scale_target_ref;
                target.workload().filter(|workload| workload.name == name)?;
                let service = services
                    .iter()
                    .find(|it| is_named(&it.object.metadata, namespace, &target.service))?;
                let index = find_port(&service.object, target.service_port()?)?;
                let binding = bindings
                    .iter()
                    .find(|binding| binding.service == target.service)?;
                binding.ports.get(index).map(|port| port.container_port)
            });
        let bound = bindings
            .iter()
            .flat_map(|binding| &binding.ports)
            .map(|port| port.container_port);
        let service_ports: Vec<u16> = primary.into_iter().chain(bound).collect();
        let limits = scaled
            .iter()
            .find(|scaled| scaled.namespace == namespace && scaled.deployment == name)
            .map(|scaled| scaled.limits);
        // Kubernetes' default is one replica.
        let asked = object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let asked = u32::try_from(asked).unwrap_or(0);
        let replicas = limits.map_or(asked, |limits| asked.max(limits.min).min(limits.max.max(1)));
        let runs = replicas > 0 || limits.is_some();
        let mut reader = WorkloadReader {
            at,
            overrides,
            demo_app,
            errors: &mut self.errors,
            notices: &mut self.notices,
        };
        let template = reader.template(object, &service_ports, runs)?;
        Some(Workload {
            template: Arc::new(template),
            replicas,
            services: bindings.into(),
        })
    }

    fn binding(&mut self, service: &Located<Service>, container: &Container) -> ServiceBinding {
        let spec = service.object.spec.clone().unwrap_or_default();
        let mut ports = Vec::new();
        for (index, port) in spec.ports.iter().flatten().enumerate() {
            let target = port.target_port.clone().unwrap_or(IntOrString::Int(port.port));
            match container_port(&target, container) {
                Ok(container_port) => ports.push(PortBinding {
                    name: port.name.clone().filter(|name| !name.is_empty()),
                    app_protocol: port.app_protocol.clone(),
                    container_port,
                }),
                Err(message) => self.errors.push(ManifestError::field(
                    &service.at,
                    format!("spec.ports[{index}].targetPort"),
                    message,
                )),
            }
        }
        ServiceBinding {
            service: service.object.metadata.name.clone().unwrap_or_default(),
            ports,
            publishes_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        }
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
