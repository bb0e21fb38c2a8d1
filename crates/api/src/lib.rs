//! The custom resources that Rouse serves, which are the KEDA HTTP Add-on's: their types, their
//! CustomResourceDefinitions, and what makes an object unservable.
//!
//! ```text
//! YAML or JSON ── schema::parse ──▶ HTTPScaledObject / InterceptorRoute ── validate() ──▶ served, or a list of errors
//!                  (no API server)        ▲                                 metric(s)() ─▶ Metric, within bounds
//! API server ── watch ────────────────────┘
//! ```
//!
//! Reading an object from a watch is lenient, as the API server has pruned what it does not know. It can still fail: the
//! definitions let any text stand for a duration, so watches guard against single objects that do not parse. Reading one
//! from a file ([`schema::parse`]) does the API server's part and reports what that would refuse. Pure data: no I/O, no
//! tasks. Every value that costs memory or divides something is bounded in [`Metric`].

mod check;
pub mod condition;
mod crds;
mod field;
mod go_duration;
pub mod http_scaled_object;
pub mod interceptor_route;
pub mod metric;
pub mod schema;
mod service_port;
mod target_fault;

pub use self::{
    crds::{crds, crds_yaml},
    field::{FieldError, FieldWarning},
    go_duration::{GoDuration, GoDurationError},
    http_scaled_object::{HTTPScaledObject, HTTPScaledObjectSpec, HTTPScaledObjectStatus},
    interceptor_route::{InterceptorRoute, InterceptorRouteSpec, InterceptorRouteStatus},
    metric::Metric,
    service_port::ServicePort,
    target_fault::TargetFault,
};

/// The API group of both resources.
pub const GROUP: &str = "http.keda.sh";
