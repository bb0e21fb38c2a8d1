//! From replicas to EndpointSlices.
//!
//! A slice gives one set of port numbers to all its endpoints; replicas share an address and differ in their ports, so
//! each replica has a slice of its own for each Service that selects it (as a cluster does with named target ports that
//! differ between pods).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::engine::ObjectSink;
use crate::replica::ContainerPort;

/// A Service that selects the replicas of a Deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceBinding {
    /// The Service's name; its namespace is the Deployment's.
    pub service: String,
    /// Its ports.
    pub ports: Vec<PortBinding>,
    /// `publishNotReadyAddresses`.
    pub publishes_not_ready: bool,
}

/// A port of a Service and the container port behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortBinding {
    /// The Service port's name.
    pub name: Option<String>,
    /// Its `appProtocol`.
    pub app_protocol: Option<String>,
    /// The container's port that its `targetPort` means.
    pub container_port: u16,
}

/// The conditions of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// The replica passes its readiness probe.
    pub is_ready: bool,
    /// The replica has been told to end.
    pub is_terminating: bool,
}

/// Publishes the slices of one replica. Its owner is the replica's own task, so its calls are in order.
#[derive(Debug, Clone)]
pub struct EndpointPublisher {
    /// Where slices go.
    pub sink: Arc<dyn ObjectSink>,
    /// The replicas' namespace.
    pub namespace: Arc<str>,
    /// The Services that select them.
    pub services: Arc<[ServiceBinding]>,
}

impl EndpointPublisher {
    /// Publishes the replica with these ports and conditions.
    pub fn apply(&self, pod: &str, host: &str, ports: &[(ContainerPort, u16)], conditions: Conditions) {
        for service in &*self.services {
            self.sink
                .apply_endpoint_slice(self.slice(service, pod, host, ports, conditions));
        }
    }

    /// Takes the replica's slices away.
    pub fn remove(&self, pod: &str) {
        for service in &*self.services {
            self.sink
                .delete_endpoint_slice(&self.namespace, &slice_name(&service.service, pod));
        }
    }

    /// Tells whether the replicas wait for a node.
    pub fn set_waiting_for_node(&self, is_waiting: bool) {
        for service in &*self.services {
            self.sink
                .set_waiting_for_node(&self.namespace, &service.service, is_waiting);
        }
    }

    fn slice(
        &self,
        service: &ServiceBinding,
        pod: &str,
        host: &str,
        ports: &[(ContainerPort, u16)],
        conditions: Conditions,
    ) -> EndpointSlice {
        let local = |wanted: u16| {
            ports
                .iter()
                .find(|(port, _)| port.number == wanted)
                .map(|(_, local)| *local)
        };
        let ports = service
            .ports
            .iter()
            .filter_map(|port| {
                Some(EndpointPort {
                    // Kubernetes writes an empty name for an unnamed port.
                    name: Some(port.name.clone().unwrap_or_default()),
                    port: Some(i32::from(local(port.container_port)?)),
                    protocol: Some("TCP".to_owned()),
                    app_protocol: port.app_protocol.clone(),
                })
            })
            .collect();
        let is_ready = conditions.is_ready && !conditions.is_terminating;
        let endpoint = Endpoint {
            addresses: vec![host.to_owned()],
            conditions: Some(EndpointConditions {
                ready: Some(is_ready || service.publishes_not_ready),
                serving: Some(conditions.is_ready || service.publishes_not_ready),
                terminating: Some(conditions.is_terminating),
            }),
            target_ref: Some(ObjectReference {
                kind: Some("Pod".to_owned()),
                name: Some(pod.to_owned()),
                namespace: Some(self.namespace.to_string()),
                ..ObjectReference::default()
            }),
            ..Endpoint::default()
        };
        EndpointSlice {
            metadata: ObjectMeta {
                name: Some(slice_name(&service.service, pod)),
                namespace: Some(self.namespace.to_string()),
                labels: Some(BTreeMap::from([
                    ("kubernetes.io/service-name".to_owned(), service.service.clone()),
                    (
                        "endpointslice.kubernetes.io/managed-by".to_owned(),
                        "rouse-local".to_owned(),
                    ),
                ])),
                ..ObjectMeta::default()
            },
            address_type: "IPv4".to_owned(),
            endpoints: vec![endpoint],
            ports: Some(ports),
        }
    }
}

fn slice_name(service: &str, pod: &str) -> String {
    format!("{service}-{pod}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::RecordingSink;

    fn publisher(publishes_not_ready: bool) -> (Arc<RecordingSink>, EndpointPublisher) {
        let sink = Arc::new(RecordingSink::default());
        let bind = |name: &str, container_port| PortBinding {
            name: Some(name.to_owned()),
            app_protocol: None,
            container_port,
        };
        let service = ServiceBinding {
            service: "web".to_owned(),
            ports: vec![bind("http", 8080), bind("metrics", 9090), bind("nothing", 1)],
            publishes_not_ready,
        };
        let publisher = EndpointPublisher {
            sink: sink.clone(),
            namespace: "shop".into(),
            services: vec![service].into(),
        };
        (sink, publisher)
    }

    fn conditions_of(slice: &EndpointSlice) -> (Option<bool>, Option<bool>, Option<bool>) {
        let conditions = slice.endpoints.first().unwrap().conditions.clone().unwrap();
        (conditions.ready, conditions.serving, conditions.terminating)
    }

    #[test]
    fn a_slice_maps_service_ports_to_the_replicas_own() {
        let (sink, publisher) = publisher(false);
        let ports = [
            (
                ContainerPort {
                    name: None,
                    number: 8080,
                },
                40001,
            ),
            (
                ContainerPort {
                    name: None,
                    number: 9090,
                },
                40002,
            ),
        ];
        publisher.apply(
            "web-1",
            "127.0.0.1",
            &ports,
            Conditions {
                is_ready: true,
                is_terminating: false,
            },
        );
        let slice = sink.slice("shop", "web-web-1").unwrap();
        let ports: Vec<_> = slice
            .ports
            .unwrap()
            .into_iter()
            .map(|port| (port.name.unwrap(), port.port.unwrap()))
            .collect();
        assert_eq!(ports, [("http".to_owned(), 40001), ("metrics".to_owned(), 40002)]);
        assert_eq!(
            slice.metadata.labels.unwrap()["kubernetes.io/service-name"],
            "web"
        );
        publisher.remove("web-1");
        assert!(sink.slice("shop", "web-web-1").is_none());
    }

    #[test]
    fn conditions_are_those_of_a_cluster() {
        let table = [
            (false, (false, false), (Some(false), Some(false), Some(false))),
            (false, (true, false), (Some(true), Some(true), Some(false))),
            (false, (true, true), (Some(false), Some(true), Some(true))),
            (true, (false, false), (Some(true), Some(true), Some(false))),
        ];
        for (publishes_not_ready, (is_ready, is_terminating), expected) in table {
            let (sink, publisher) = publisher(publishes_not_ready);
            publisher.apply(
                "web-1",
                "127.0.0.1",
                &[],
                Conditions {
                    is_ready,
                    is_terminating,
                },
            );
            assert_eq!(conditions_of(&sink.slice("shop", "web-web-1").unwrap()), expected);
        }
    }
}
