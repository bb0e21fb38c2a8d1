//! What the platform needs of the interceptor: the Kubernetes objects go in, nothing comes out.
//!
//! The real one is the interceptor's index, fed with the very objects that watches feed it in a cluster; tests record
//! what they are given.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use rouse_api::HTTPScaledObject;

/// Takes objects as a cluster's watches would deliver them. Every call returns at once.
pub trait ObjectSink: std::fmt::Debug + Send + Sync {
    /// A Service exists or has changed.
    fn apply_service(&self, service: Service);
    /// A route exists or has changed.
    fn apply_route(&self, route: HTTPScaledObject);
    /// An EndpointSlice exists or has changed.
    fn apply_endpoint_slice(&self, slice: EndpointSlice);
    /// An EndpointSlice is gone.
    fn delete_endpoint_slice(&self, namespace: &str, name: &str);
    /// Whether the pods behind a Service wait for a node, which makes a wake take longer.
    fn set_waiting_for_node(&self, namespace: &str, service: &str, is_waiting: bool);
}
