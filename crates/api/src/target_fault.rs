//! What the target of a route lacks, in one place for all who say it: the controller in a condition, `rouse local` on the
//! terminal.

use std::fmt;

use crate::{
    ServicePort,
    condition::{
        REASON_EXTERNAL_NAME, REASON_PORT_NOT_FOUND, REASON_SERVICE_NOT_FOUND, REASON_WORKLOAD_NOT_FOUND,
    },
};

/// What is wrong with a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetFault<'a> {
    /// The Service does not exist.
    ServiceNotFound {
        /// Its name.
        service: &'a str,
        /// The namespace it was looked for in.
        namespace: &'a str,
    },
    /// The Service is an ExternalName.
    ExternalName {
        /// Its name.
        service: &'a str,
    },
    /// The Service does not have the port.
    PortNotFound {
        /// The Service's name.
        service: &'a str,
        /// The port that the route names.
        port: ServicePort<'a>,
        /// Name (empty if unnamed) and number of the ports it has.
        offered: Vec<(&'a str, i32)>,
    },
    /// The workload does not exist.
    WorkloadNotFound {
        /// Its kind.
        kind: &'a str,
        /// Its name.
        name: &'a str,
        /// The namespace it was looked for in.
        namespace: &'a str,
    },
}

impl TargetFault<'_> {
    /// The reason of the condition `TargetFound`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ServiceNotFound { .. } => REASON_SERVICE_NOT_FOUND,
            Self::ExternalName { .. } => REASON_EXTERNAL_NAME,
            Self::PortNotFound { .. } => REASON_PORT_NOT_FOUND,
            Self::WorkloadNotFound { .. } => REASON_WORKLOAD_NOT_FOUND,
        }
    }
}

impl fmt::Display for TargetFault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceNotFound { service, namespace } => {
                write!(f, "there is no Service {service} in namespace {namespace}")
            }
            Self::ExternalName { service } => write!(
                f,
                "Service {service} is an ExternalName, which has no endpoints to wait for"
            ),
            Self::PortNotFound { service, offered, .. } if offered.is_empty() => {
                write!(f, "Service {service} has no TCP port")
            }
            Self::PortNotFound {
                service,
                port,
                offered,
            } => {
                write!(f, "Service {service} has no TCP port {port}, but ")?;
                for (index, (name, number)) in offered.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    match *name {
                        "" => write!(f, "{separator}{number}")?,
                        name => write!(f, "{separator}{number} ({name})")?,
                    }
                }
                Ok(())
            }
            Self::WorkloadNotFound {
                kind,
                name,
                namespace,
            } => write!(f, "there is no {kind} {name} in namespace {namespace}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_missing_is_named_beside_those_there_are() {
        let fault = |offered: &[(&'static str, i32)]| {
            let fault = TargetFault::PortNotFound {
                service: "web",
                port: ServicePort::Name("grpc"),
                offered: offered.to_vec(),
            };
            fault.to_string()
        };
        assert_eq!(fault(&[]), "Service web has no TCP port");
        assert_eq!(
            fault(&[("http", 80), ("", 81)]),
            "Service web has no TCP port grpc, but 80 (http), 81"
        );
    }
}
