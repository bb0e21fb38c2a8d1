//! A container's probes and the ports that they and the Services name.

use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::replica::probe::{Probe, ProbeAction};

/// The number of a container port given by number or by name.
pub(super) fn container_port(port: &IntOrString, container: &core::Container) -> Result<u16, String> {
    let numbered = |text: &str| text.parse::<u16>().ok().filter(|number| *number > 0);
    match port {
        IntOrString::Int(number) => u16::try_from(*number)
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| format!("{number} is not a port")),
        IntOrString::String(name) => {
            let mut declared = container.ports.iter().flatten();
            declared
                .find(|port| port.name.as_deref() == Some(name))
                .and_then(|port| u16::try_from(port.container_port).ok())
                .or_else(|| numbered(name))
                .ok_or_else(|| format!("the container declares no port named {name}"))
        }
    }
}

/// The field below the probe, and what is wrong with it.
pub(super) type ProbeFault = (&'static str, String);

/// Reads a probe and fills in Kubernetes' defaults.
pub(super) fn probe_of(probe: &core::Probe, container: &core::Container) -> Result<Probe, ProbeFault> {
    let action = if let Some(get) = &probe.http_get {
        let scheme = get.scheme.as_deref().unwrap_or("HTTP");
        if !scheme.eq_ignore_ascii_case("http") {
            return Err((
                ".httpGet.scheme",
                format!("{scheme} is not supported by `rouse local` yet"),
            ));
        }
        let port = container_port(&get.port, container).map_err(|message| (".httpGet.port", message))?;
        let path = get
            .path
            .clone()
            .filter(|path| !path.is_empty())
            .unwrap_or_else(|| "/".to_owned());
        let path = if path.starts_with('/') {
            path
        } else {
            format!("/{path}")
        };
        if path.parse::<http::uri::PathAndQuery>().is_err() {
            return Err((".httpGet.path", format!("{path} is not a path")));
        }
        let mut headers = Vec::new();
        for header in get.http_headers.iter().flatten() {
            let is_valid = http::HeaderName::from_bytes(header.name.as_bytes()).is_ok()
                && http::HeaderValue::from_str(&header.value).is_ok();
            if !is_valid {
                return Err((".httpGet.httpHeaders", format!("{} is not a header", header.name)));
            }
            headers.push((header.name.clone(), header.value.clone()));
        }
        ProbeAction::HttpGet { port, path, headers }
    } else if let Some(socket) = &probe.tcp_socket {
        let port = container_port(&socket.port, container).map_err(|message| (".tcpSocket.port", message))?;
        ProbeAction::TcpSocket { port }
    } else if let Some(exec) = &probe.exec {
        let command = exec.command.clone().unwrap_or_default();
        if command.is_empty() {
            return Err((".exec.command", "missing".to_owned()));
        }
        ProbeAction::Exec { command }
    } else if probe.grpc.is_some() {
        return Err((
            ".grpc",
            "gRPC probes are not supported by `rouse local` yet".to_owned(),
        ));
    } else {
        return Err(("", "needs httpGet, tcpSocket or exec".to_owned()));
    };
    let seconds = |value: Option<i32>, default: u64| {
        let given = value
            .and_then(|value| u64::try_from(value).ok())
            .filter(|value| *value > 0);
        Duration::from_secs(given.unwrap_or(default))
    };
    let count = |value: Option<i32>, default: u32| {
        value
            .and_then(|value| u32::try_from(value).ok())
            .filter(|value| *value > 0)
            .unwrap_or(default)
    };
    Ok(Probe {
        action,
        initial_delay: seconds(probe.initial_delay_seconds, 0),
        period: seconds(probe.period_seconds, 10),
        timeout: seconds(probe.timeout_seconds, 1),
        failure_threshold: count(probe.failure_threshold, 3),
        success_threshold: count(probe.success_threshold, 1),
    })
}
