//! Services and EndpointSlices, reduced to what resolving a target needs. Clusters have thousands; most of an object is of
//! no use here.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Service},
        discovery::v1::{Endpoint, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use rouse_api::FieldError;

use super::problem::{ObjectKind, ObjectProblem};
use crate::plan::UpstreamProtocol;

/// The label by which a slice names its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// The `appProtocol` of HTTP/2 without TLS.
const H2C: &str = "kubernetes.io/h2c";

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReducedService {
    /// Its TCP ports.
    pub(super) ports: Box<[ReducedServicePort]>,
    /// `clusterIP: None`
    pub(super) is_headless: bool,
    /// `type: ExternalName`
    pub(super) is_external_name: bool,
}

/// A Service's TCP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReducedServicePort {
    /// Empty for a Service's only, unnamed port.
    pub(super) name: Box<str>,
    pub(super) number: u16,
    pub(super) protocol: UpstreamProtocol,
}

/// An EndpointSlice. Endpoints that cannot take requests are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReducedSlice {
    /// Its TCP ports: name (empty if unnamed) and number.
    pub(super) ports: Box<[(Box<str>, u16)]>,
    pub(super) endpoints: Box<[ReducedEndpoint]>,
}

/// An endpoint that can take requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReducedEndpoint {
    pub(super) address: IpAddr,
    /// What tells that an IPv4 and an IPv6 endpoint are one pod; unset for endpoints that are made by hand.
    pub(super) pod: Option<Box<str>>,
}

impl From<&Service> for ReducedService {
    fn from(service: &Service) -> Self {
        let spec = service.spec.as_ref();
        let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
        Self {
            ports: ports
                .iter()
                .filter(|port| is_tcp(port.protocol.as_deref()))
                .filter_map(|port| {
                    Some(ReducedServicePort {
                        name: port.name.as_deref().unwrap_or_default().into(),
                        number: port_number(port.port)?,
                        protocol: match port.app_protocol.as_deref() {
                            Some(H2C) => UpstreamProtocol::H2c,
                            _ => UpstreamProtocol::Http1,
                        },
                    })
                })
                .collect(),
            is_headless: spec
                .and_then(|spec| spec.cluster_ip.as_deref())
                .is_some_and(|address| address == "None"),
            is_external_name: spec
                .and_then(|spec| spec.type_.as_deref())
                .is_some_and(|kind| kind == "ExternalName"),
        }
    }
}

impl From<&EndpointSlice> for ReducedSlice {
    fn from(slice: &EndpointSlice) -> Self {
        let ports = slice.ports.as_deref().unwrap_or_default();
        Self {
            ports: ports
                .iter()
                .filter(|port| is_tcp(port.protocol.as_deref()))
                .filter_map(|port| {
                    let name = port.name.as_deref().unwrap_or_default();
                    Some((name.into(), port_number(port.port?)?))
                })
                .collect(),
            endpoints: slice
                .endpoints
                .iter()
                .filter(|endpoint| can_take_requests(endpoint))
                .filter_map(|endpoint| {
                    Some(ReducedEndpoint {
                        // The API says that all addresses of one endpoint are the same, and to use the first. Slices of
                        // address type FQDN are deprecated and have none that parses.
                        address: endpoint.addresses.first()?.parse().ok()?,
                        pod: endpoint.target_ref.as_ref().and_then(pod_of),
                    })
                })
                .collect(),
        }
    }
}

/// A slice's Service.
pub(super) fn service_of(slice: &EndpointSlice) -> Option<&str> {
    let labels = slice.metadata.labels.as_ref()?;
    labels
        .get(SERVICE_LABEL)
        .map(String::as_str)
        .filter(|service| !service.is_empty())
}

/// An object's namespace and name.
pub(super) fn name_of(kind: ObjectKind, metadata: &ObjectMeta) -> Result<(&str, &str), ObjectProblem> {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let errors: Vec<FieldError> = [("metadata.namespace", namespace), ("metadata.name", name)]
        .into_iter()
        .filter(|(_, value)| value.is_empty())
        .map(|(path, _)| FieldError::new(path, "must not be empty"))
        .collect();
    if errors.is_empty() {
        Ok((namespace, name))
    } else {
        Err(ObjectProblem {
            kind,
            namespace: Arc::from(namespace),
            name: Arc::from(name),
            errors,
        })
    }
}

/// Ready unless it says otherwise; never while it terminates, whatever else it says.
fn can_take_requests(endpoint: &Endpoint) -> bool {
    endpoint
        .conditions
        .as_ref()
        .is_none_or(|conditions| conditions.ready.unwrap_or(true) && !conditions.terminating.unwrap_or(false))
}

/// What identifies a pod: its uid, else its name.
fn pod_of(target: &ObjectReference) -> Option<Box<str>> {
    let uid = target.uid.as_deref().filter(|uid| !uid.is_empty());
    uid.or(target.name.as_deref()).map(Box::from)
}

/// TCP is the default.
fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol.is_empty() || protocol == "TCP")
}

fn port_number(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|&number| number > 0)
}
