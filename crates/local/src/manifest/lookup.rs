//! Finds objects and what they say of each other.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, Service, ServicePort as K8sServicePort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rouse_api::ServicePort;

pub(super) fn full_name(metadata: &ObjectMeta) -> String {
    format!(
        "{}/{}",
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default()
    )
}

pub(super) fn is_named(metadata: &ObjectMeta, namespace: &str, name: &str) -> bool {
    metadata.namespace.as_deref() == Some(namespace) && metadata.name.as_deref() == Some(name)
}

pub(super) fn first_container(deployment: &Deployment) -> Option<&Container> {
    deployment
        .spec
        .as_ref()?
        .template
        .spec
        .as_ref()?
        .containers
        .first()
}

pub(super) fn labels_of(deployment: &Deployment) -> BTreeMap<String, String> {
    let template = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.template.metadata.as_ref());
    template
        .and_then(|metadata| metadata.labels.clone())
        .unwrap_or_default()
}

/// An empty selector selects nothing: a Service without one has its endpoints made by hand.
pub(super) fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

pub(super) fn binds(service: &Service, deployment: &Deployment) -> bool {
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.clone())
        .unwrap_or_default();
    service.metadata.namespace == deployment.metadata.namespace && selects(&selector, &labels_of(deployment))
}

/// The position of the port that a route names. HTTP needs TCP.
pub(super) fn find_port(service: &Service, wanted: ServicePort<'_>) -> Option<usize> {
    service.spec.as_ref()?.ports.iter().flatten().position(|port| {
        is_tcp(port)
            && match wanted {
                ServicePort::Number(number) => port.port == i32::from(number),
                ServicePort::Name(name) => port.name.as_deref() == Some(name),
            }
    })
}

/// Name (empty if unnamed) and number of the ports that a route could name.
pub(super) fn offered_ports(service: &Service) -> Vec<(&str, i32)> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports
        .filter(|port| is_tcp(port))
        .map(|port| (port.name.as_deref().unwrap_or_default(), port.port))
        .collect()
}

fn is_tcp(port: &K8sServicePort) -> bool {
    port.protocol
        .as_deref()
        .is_none_or(|name| name.is_empty() || name == "TCP")
}

pub(super) fn is_external_name(service: &Service) -> bool {
    let kind = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
    kind == Some("ExternalName")
}
