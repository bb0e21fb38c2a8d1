//! The index, told of objects made by hand.

mod endpoints;
mod names;
mod routes;

use std::{collections::BTreeMap, net::SocketAddr};

use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Service, ServicePort, ServiceSpec},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use rouse_api::{HTTPScaledObject, InterceptorRoute};
use serde_json::{Value, json};

use super::*;
use crate::plan::TargetPort;

pub(super) const NAMESPACE: &str = "shop";

pub(super) fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(NAMESPACE.to_owned()),
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

/// A Service with these ports: name, number.
pub(super) fn service(name: &str, ports: &[(Option<&str>, i32)]) -> Service {
    Service {
        metadata: metadata(name),
        spec: Some(ServiceSpec {
            cluster_ip: Some("10.96.0.1".to_owned()),
            ports: Some(
                ports
                    .iter()
                    .map(|(name, number)| ServicePort {
                        name: name.map(str::to_owned),
                        port: *number,
                        ..ServicePort::default()
                    })
                    .collect(),
            ),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// A slice of `service` with these ports, name and number, and these endpoints.
pub(super) fn slice(
    name: &str,
    service: &str,
    ports: &[(Option<&str>, i32)],
    endpoints: &[Endpoint],
) -> EndpointSlice {
    EndpointSlice {
        address_type: "IPv4".to_owned(),
        endpoints: endpoints.to_vec(),
        metadata: ObjectMeta {
            labels: Some(BTreeMap::from([(
                "kubernetes.io/service-name".to_owned(),
                service.to_owned(),
            )])),
            ..metadata(name)
        },
        ports: Some(
            ports
                .iter()
                .map(|(name, number)| EndpointPort {
                    name: name.map(str::to_owned),
                    port: Some(*number),
                    protocol: Some("TCP".to_owned()),
                    ..EndpointPort::default()
                })
                .collect(),
        ),
    }
}

/// An endpoint whose conditions say nothing.
pub(super) fn endpoint(address: &str) -> Endpoint {
    Endpoint {
        addresses: vec![address.to_owned()],
        ..Endpoint::default()
    }
}

pub(super) fn with_conditions(
    endpoint: Endpoint,
    ready: Option<bool>,
    terminating: Option<bool>,
) -> Endpoint {
    Endpoint {
        conditions: Some(EndpointConditions {
            ready,
            serving: None,
            terminating,
        }),
        ..endpoint
    }
}

pub(super) fn of_pod(endpoint: Endpoint, name: &str, uid: Option<&str>) -> Endpoint {
    Endpoint {
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            name: Some(name.to_owned()),
            uid: uid.map(str::to_owned),
            ..ObjectReference::default()
        }),
        ..endpoint
    }
}

/// `chat`, which routes its own host to the port 80 of the Service `chat`.
pub(super) fn http_scaled_object(name: &str, spec: Value) -> HTTPScaledObject {
    let mut object = json!({
        "apiVersion": "http.keda.sh/v1alpha1",
        "kind": "HTTPScaledObject",
        "metadata": { "namespace": NAMESPACE, "name": name },
        "spec": {
            "hosts": [format!("{name}.example.com")],
            "scaleTargetRef": { "name": name, "service": name, "port": 80 },
        },
    });
    merge(&mut object["spec"], spec);
    serde_json::from_value(object).expect("an HTTPScaledObject")
}

pub(super) fn interceptor_route(name: &str, spec: Value) -> InterceptorRoute {
    let mut object = json!({
        "apiVersion": "http.keda.sh/v1beta1",
        "kind": "InterceptorRoute",
        "metadata": { "namespace": NAMESPACE, "name": name },
        "spec": {
            "target": { "service": name, "port": 80 },
            "rules": [{ "hosts": [format!("{name}.example.com")] }],
            "scalingMetric": { "concurrency": { "targetValue": 10 } },
        },
    });
    merge(&mut object["spec"], spec);
    serde_json::from_value(object).expect("an InterceptorRoute")
}

/// Replaces the fields that `changes` names.
fn merge(spec: &mut Value, changes: Value) {
    if let (Value::Object(spec), Value::Object(changes)) = (spec, changes) {
        spec.extend(changes);
    }
}

pub(super) fn key(service: &str, port: u16) -> TargetKey {
    TargetKey {
        namespace: NAMESPACE.into(),
        service: service.into(),
        port: TargetPort::Number(port),
    }
}

pub(super) fn named_key(service: &str, port: &str) -> TargetKey {
    TargetKey {
        port: TargetPort::Name(port.into()),
        ..key(service, 0)
    }
}

pub(super) fn addresses(addresses: &[&str]) -> Vec<SocketAddr> {
    addresses
        .iter()
        .map(|address| address.parse().expect("an address"))
        .collect()
}

pub(super) fn id(kind: RouteKind, name: &str) -> RouteId {
    RouteId::new(kind, NAMESPACE, name)
}
