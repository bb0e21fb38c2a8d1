//! What the pure index hands to the data plane: routes and targets in the data plane's own terms, free of Kubernetes
//! types. Built by `index`, applied by `publish`, read on every request.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rouse_routing::RouteId;

/// A Service port as a route names it. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetKey {
    /// The namespace of the Service, which is the route's own.
    pub namespace: Arc<str>,
    /// The Service's name.
    pub service: Arc<str>,
    /// The port, by number or by name.
    pub port: TargetPort,
}

/// How a route names the Service port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetPort {
    /// `port: 8000`
    Number(u16),
    /// `portName: http`
    Name(Arc<str>),
}

/// Everything about a route that a request needs, besides how it is matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConfig {
    /// The object that the route was made from.
    pub id: RouteId,
    /// Where its requests go.
    pub target: TargetKey,
    /// Where they go when the target was not ready in time.
    pub fallback: Option<TargetKey>,
    /// The concurrency that one endpoint should carry; where the route scales on rate only, `None`. Paced release
    /// begins with this many requests per endpoint (100 where `None`).
    pub concurrency_target: Option<u32>,
    /// The window of the request rate, where the route scales on rate: how many one-second buckets are kept.
    pub rate_window: Option<Duration>,
    /// How many requests the route may hold; where the route does not say, the interceptor's own bound.
    pub max_pending: Option<u32>,
    /// The route's own deadlines.
    pub timeouts: RouteTimeouts,
}

/// A route's deadlines. `None` means the interceptor's default, zero means no deadline: users write zero for that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// How long a request may be held for a ready endpoint.
    pub readiness: Option<Duration>,
    /// From sending the request upstream to the response's headers.
    pub response_header: Option<Duration>,
    /// The whole request, hold included.
    pub request: Option<Duration>,
}

/// A target's endpoints as they are now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetConfig {
    /// Addresses of endpoints that can take requests, sorted and without duplicates.
    pub ready: Vec<SocketAddr>,
    /// The protocol spoken to them.
    pub protocol: UpstreamProtocol,
    /// Why the target cannot be resolved, if it cannot.
    pub problem: Option<TargetProblem>,
    /// A pod of the target waits for a node to be provisioned: holds may be extended.
    pub waiting_for_node: bool,
}

/// The protocol an endpoint speaks, from the Service port's `appProtocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamProtocol {
    /// HTTP/1.1
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge (`kubernetes.io/h2c`).
    H2c,
}

/// Why a target has no address to send to, apart from being at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetProblem {
    /// The Service does not exist.
    ServiceNotFound,
    /// The Service has no such port.
    PortNotFound,
    /// The Service is of type `ExternalName`: it has a DNS name and no endpoints, and looking names up is not built yet.
    ExternalName,
}
