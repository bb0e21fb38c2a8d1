//! Which addresses a target has now.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
};

use super::object::{ReducedEndpoint, ReducedService, ReducedSlice};
use crate::plan::{TargetConfig, TargetPort, TargetProblem, UpstreamProtocol};

/// Resolves the port `port` of `service`, whose slices are `slices`.
pub(super) fn resolve<'a>(
    service: Option<&ReducedService>,
    slices: impl Iterator<Item = &'a ReducedSlice> + Clone,
    port: &TargetPort,
    waiting_for_node: bool,
) -> TargetConfig {
    match service
        .ok_or(TargetProblem::ServiceNotFound)
        .and_then(|service| slice_port(service, port))
    {
        Ok((slice_port, protocol)) => TargetConfig {
            ready: ready_addresses(slices, &slice_port),
            protocol,
            problem: None,
            waiting_for_node,
        },
        Err(problem) => TargetConfig {
            problem: Some(problem),
            waiting_for_node,
            ..TargetConfig::default()
        },
    }
}

/// Which port of a slice's endpoints takes the requests.
enum SlicePort<'a> {
    /// The one of this name, which is the Service port's; its number is the pod's own (`targetPort`).
    Named(&'a str),
    /// This one, whatever the slice says.
    Number(u16),
}

fn slice_port<'a>(
    service: &'a ReducedService,
    port: &TargetPort,
) -> Result<(SlicePort<'a>, UpstreamProtocol), TargetProblem> {
    if service.is_external_name {
        return Err(TargetProblem::ExternalName);
    }
    let found = service.ports.iter().find(|candidate| match port {
        TargetPort::Number(number) => candidate.number == *number,
        TargetPort::Name(name) => *candidate.name == **name,
    });
    match (found, port) {
        (Some(found), _) => Ok((SlicePort::Named(&found.name), found.protocol)),
        // A headless Service may leave its ports out; then its pods are called on the port that is asked for.
        (None, TargetPort::Number(number)) if service.is_headless && service.ports.is_empty() => {
            Ok((SlicePort::Number(*number), UpstreamProtocol::default()))
        }
        _ => Err(TargetProblem::PortNotFound),
    }
}

/// Every pod once, by its IPv4 address where it has both; sorted.
fn ready_addresses<'a>(
    slices: impl Iterator<Item = &'a ReducedSlice> + Clone,
    port: &SlicePort<'_>,
) -> Vec<SocketAddr> {
    let endpoints = slices
        .filter_map(|slice| {
            let number = match port {
                SlicePort::Number(number) => *number,
                SlicePort::Named(name) => slice.ports.iter().find(|(named, _)| **named == **name)?.1,
            };
            Some(slice.endpoints.iter().map(move |endpoint| (endpoint, number)))
        })
        .flatten();
    let is_v4 = |(endpoint, _): &(&ReducedEndpoint, u16)| matches!(endpoint.address, IpAddr::V4(_));

    let mut ready: Vec<SocketAddr> = Vec::new();
    let mut pods: HashSet<&str> = HashSet::new();
    for (endpoint, number) in endpoints.clone().filter(is_v4) {
        pods.extend(endpoint.pod.as_deref());
        ready.push(SocketAddr::new(endpoint.address, number));
    }
    for (endpoint, number) in endpoints.filter(|endpoint| !is_v4(endpoint)) {
        if endpoint.pod.as_deref().is_none_or(|pod| !pods.contains(pod)) {
            ready.push(SocketAddr::new(endpoint.address, number));
        }
    }
    ready.sort_unstable();
    ready.dedup();
    ready
}
