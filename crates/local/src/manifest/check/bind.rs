//! Binds what belongs together once the objects are known to be sound: a route with the Deployment that it scales, a Service
//! with the ports of the containers behind it.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rouse_api::HTTPScaledObject;
use rouse_api::http_scaled_object::SKIP_SCALED_OBJECT_ANNOTATION;

use super::super::error::ManifestError;
use super::super::lookup::{binds, find_port, first_container, is_named};
use super::super::probes::container_port;
use super::super::reader::Located;
use super::super::workloads::{RunOverride, Workload, WorkloadReader};
use super::{Checker, MAX_REPLICAS, ScaledWorkload};
use crate::endpoints::{PortBinding, ServiceBinding};
use crate::scaling::cooldown::Limits;

impl Checker {
    /// KEDA refuses a second ScaledObject for the same workload; here too the first one scales, and the second route is
    /// served without scaling.
    pub(super) fn scaled_workloads(&mut self, routes: &[Located<HTTPScaledObject>]) -> Vec<ScaledWorkload> {
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

    pub(super) fn workload(
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
