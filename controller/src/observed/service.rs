//! What is read of a Service: its ports and which pods are behind it. Nothing else of it is kept.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;
use rouse_api::ServicePort;

/// What a route needs to know of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    /// Name (empty if unnamed) and number of its TCP ports.
    ports: Box<[(Box<str>, i32)]>,
    is_headless: bool,
    pub(crate) is_external_name: bool,
    /// Which pods are behind it; none where it is empty.
    pub(crate) selector: BTreeMap<String, String>,
}

impl Service {
    /// Whether requests can be sent to the port, by the data plane's rules: a headless Service without ports is called on
    /// whatever number is asked for.
    pub(crate) fn has_port(&self, port: ServicePort<'_>) -> bool {
        match port {
            ServicePort::Number(number) => {
                self.ports.iter().any(|(_, known)| *known == i32::from(number))
                    || (self.is_headless && self.ports.is_empty())
            }
            ServicePort::Name(name) => self.ports.iter().any(|(known, _)| **known == *name),
        }
    }

    /// Name (empty if unnamed) and number of its ports.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (&str, i32)> {
        self.ports.iter().map(|(name, number)| (&**name, *number))
    }
}

impl From<&v1::Service> for Service {
    fn from(service: &v1::Service) -> Self {
        let spec = service.spec.as_ref();
        let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
        let is_tcp = |protocol: Option<&str>| protocol.is_none_or(|name| name.is_empty() || name == "TCP");
        Self {
            ports: ports
                .iter()
                .filter(|port| is_tcp(port.protocol.as_deref()))
                .map(|port| (port.name.as_deref().unwrap_or_default().into(), port.port))
                .collect(),
            is_headless: spec
                .and_then(|spec| spec.cluster_ip.as_deref())
                .is_some_and(|address| address == "None"),
            is_external_name: spec
                .and_then(|spec| spec.type_.as_deref())
                .is_some_and(|kind| kind == "ExternalName"),
            selector: spec.and_then(|spec| spec.selector.clone()).unwrap_or_default(),
        }
    }
}
