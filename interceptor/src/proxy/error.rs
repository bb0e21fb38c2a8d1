//! What can go wrong with a request, and the three questions each failure answers: whose fault, what to tell the
//! client, under which name to count it.
//!
//! The reasons are a closed set: the same word stands in the `rouse-error` header, in the metric's label and in the
//! log. `docs/reference/status-codes.md` lists them.

use std::time::Duration;

use http::StatusCode;

use crate::{plan::TargetProblem, pool::ConnectError};

/// Who would have to change something for the request to succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The client, or what it asked for.
    Downstream,
    /// The application, or its configuration.
    Upstream,
    /// Rouse's own bounds.
    Own,
}

/// Why a request gets an answer of Rouse's own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("the request is malformed: {0}")]
    BadRequest(&'static str),
    #[error("the method CONNECT is not served")]
    ConnectMethod,
    #[error("no route matches the host, path and headers")]
    RouteNotFound,
    #[error("the route was removed while the request waited")]
    RouteRemoved,
    #[error("the route's target cannot be resolved: {0:?}")]
    TargetNotFound(TargetProblem),
    #[error("too many requests wait for an endpoint")]
    PendingLimit,
    #[error("no endpoint was ready within {0:?}")]
    ReadinessTimeout(Duration),
    #[error("the request was not answered within {0:?}")]
    RequestTimeout(Duration),
    #[error("no endpoint took a connection")]
    Connect(#[source] ConnectError),
    #[error("the endpoint sent no response headers within {0:?}")]
    ResponseHeaderTimeout(Duration),
    #[error("the endpoint closed the connection without an answer")]
    UpstreamReset(#[source] hyper::Error),
    #[error("the endpoint's answer is malformed")]
    UpstreamProtocol(#[source] hyper::Error),
    #[error("the endpoint switched protocols unasked")]
    UnaskedUpgrade,
    #[error("the request's body broke off")]
    RequestBody(#[source] hyper::Error),
}

impl ProxyError {
    /// The failure's name.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::ConnectMethod => "connect_not_supported",
            Self::RouteNotFound => "route_not_found",
            Self::RouteRemoved => "route_removed",
            Self::TargetNotFound(TargetProblem::ServiceNotFound) => "service_not_found",
            Self::TargetNotFound(TargetProblem::PortNotFound) => "port_not_found",
            Self::TargetNotFound(TargetProblem::ExternalName) => "external_name",
            Self::PendingLimit => "pending_limit",
            Self::ReadinessTimeout(_) => "readiness_timeout",
            Self::RequestTimeout(_) => "request_timeout",
            Self::Connect(ConnectError::Timeout { .. }) => "connect_timeout",
            Self::Connect(_) => "connect_failed",
            Self::ResponseHeaderTimeout(_) => "response_header_timeout",
            Self::UpstreamReset(_) => "upstream_reset",
            Self::UpstreamProtocol(_) | Self::UnaskedUpgrade => "upstream_protocol",
            Self::RequestBody(_) => "request_body",
        }
    }

    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::BadRequest(_)
            | Self::ConnectMethod
            | Self::RouteNotFound
            | Self::RouteRemoved
            | Self::RequestBody(_) => Fault::Downstream,
            Self::PendingLimit => Fault::Own,
            Self::TargetNotFound(_)
            | Self::ReadinessTimeout(_)
            | Self::RequestTimeout(_)
            | Self::Connect(_)
            | Self::ResponseHeaderTimeout(_)
            | Self::UpstreamReset(_)
            | Self::UpstreamProtocol(_)
            | Self::UnaskedUpgrade => Fault::Upstream,
        }
    }

    /// The status of an HTTP answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::RequestBody(_) => StatusCode::BAD_REQUEST,
            Self::ConnectMethod => StatusCode::NOT_IMPLEMENTED,
            Self::RouteNotFound | Self::RouteRemoved => StatusCode::NOT_FOUND,
            // Found, but nothing that requests can be sent to by address.
            Self::TargetNotFound(TargetProblem::ExternalName) => StatusCode::BAD_GATEWAY,
            // The add-on's answer to a target that does not exist.
            Self::TargetNotFound(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::PendingLimit => StatusCode::SERVICE_UNAVAILABLE,
            Self::ReadinessTimeout(_)
            | Self::RequestTimeout(_)
            | Self::ResponseHeaderTimeout(_)
            | Self::Connect(ConnectError::Timeout { .. }) => StatusCode::GATEWAY_TIMEOUT,
            Self::Connect(_) | Self::UpstreamReset(_) | Self::UpstreamProtocol(_) | Self::UnaskedUpgrade => {
                StatusCode::BAD_GATEWAY
            }
        }
    }

    /// The status of a gRPC answer, by the mapping that gRPC gives for HTTP statuses where it fits.
    pub(crate) fn grpc_status(&self) -> GrpcStatus {
        match self {
            Self::BadRequest(_) | Self::RequestBody(_) => GrpcStatus::Internal,
            Self::ConnectMethod | Self::RouteNotFound | Self::RouteRemoved => GrpcStatus::Unimplemented,
            Self::TargetNotFound(_)
            | Self::PendingLimit
            | Self::Connect(_)
            | Self::UpstreamReset(_)
            | Self::UpstreamProtocol(_)
            | Self::UnaskedUpgrade => GrpcStatus::Unavailable,
            Self::ReadinessTimeout(_) | Self::RequestTimeout(_) | Self::ResponseHeaderTimeout(_) => {
                GrpcStatus::DeadlineExceeded
            }
        }
    }

    /// Whether the client had better come back than give up.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        matches!(self, Self::PendingLimit).then_some(Duration::from_secs(1))
    }
}

/// The gRPC status codes that Rouse answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrpcStatus {
    DeadlineExceeded = 4,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

/// The client has left: nobody is to be answered, the connection is to be closed.
#[derive(Debug, thiserror::Error)]
#[error("the client has left")]
pub(crate) struct ClientGone;
