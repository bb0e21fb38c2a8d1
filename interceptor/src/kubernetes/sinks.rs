//! From watches to the index, which keeps the objects: reduced, and by name.

use std::{marker::PhantomData, sync::Arc};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use rouse_api::{
    HTTPScaledObject, InterceptorRoute,
    condition::{Condition, WAITING_FOR_NODE},
};
use rouse_kubernetes::{Listed, Sink, Watched};
use rouse_routing::{RouteId, RouteKind};

use super::waiting::WaitingForNode;
use crate::index::{IndexHandle, ObjectKind};

/// What both kinds of route have in common.
pub(super) trait RouteObject: Watched {
    const KIND: RouteKind;

    fn service(&self) -> &str;
    fn conditions(&self) -> &[Condition];
    fn apply_to(self, index: &IndexHandle);
    fn delete_from(index: &IndexHandle, namespace: &str, name: &str);
}

impl RouteObject for HTTPScaledObject {
    const KIND: RouteKind = RouteKind::HttpScaledObject;

    fn service(&self) -> &str {
        &self.spec.scale_target_ref.service
    }

    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default()
    }

    fn apply_to(self, index: &IndexHandle) {
        index.apply_http_scaled_object(self);
    }

    fn delete_from(index: &IndexHandle, namespace: &str, name: &str) {
        index.delete_http_scaled_object(namespace, name);
    }
}

impl RouteObject for InterceptorRoute {
    const KIND: RouteKind = RouteKind::InterceptorRoute;

    fn service(&self) -> &str {
        &self.spec.target.service
    }

    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default()
    }

    fn apply_to(self, index: &IndexHandle) {
        index.apply_interceptor_route(self);
    }

    fn delete_from(index: &IndexHandle, namespace: &str, name: &str) {
        index.delete_interceptor_route(namespace, name);
    }
}

/// Routes of one kind, with what their status says of nodes.
#[derive(Debug)]
pub(super) struct RouteSink<K> {
    index: IndexHandle,
    waiting: Arc<WaitingForNode>,
    kind: PhantomData<fn(K)>,
}

impl<K: RouteObject> RouteSink<K> {
    pub(super) fn new(index: IndexHandle, waiting: Arc<WaitingForNode>) -> Self {
        Self {
            index,
            waiting,
            kind: PhantomData,
        }
    }
}

impl<K: RouteObject> Sink<K> for RouteSink<K> {
    fn apply(&self, object: K) {
        let metadata = object.meta();
        if let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) {
            let id = RouteId::new(K::KIND, namespace.as_str(), name.as_str());
            let is_waiting = object
                .conditions()
                .iter()
                .any(|condition| condition.type_ == WAITING_FOR_NODE && condition.status == "True");
            let service = is_waiting.then(|| object.service());
            self.waiting.set(&id, service);
        }
        object.apply_to(&self.index);
    }

    fn delete(&self, namespace: &str, name: &str) {
        K::delete_from(&self.index, namespace, name);
        self.waiting.set(&RouteId::new(K::KIND, namespace, name), None);
    }

    fn reset(&self, within: Option<&str>, listed: &Listed) {
        for (namespace, name) in vanished(&self.index, ObjectKind::Route(K::KIND), within, listed) {
            self.delete(&namespace, &name);
        }
    }

    fn count(&self) -> usize {
        self.index.count(ObjectKind::Route(K::KIND))
    }
}

/// Services.
#[derive(Debug)]
pub(super) struct ServiceSink(pub(super) IndexHandle);

impl Sink<Service> for ServiceSink {
    fn apply(&self, object: Service) {
        self.0.apply_service(object);
    }

    fn delete(&self, namespace: &str, name: &str) {
        self.0.delete_service(namespace, name);
    }

    fn reset(&self, within: Option<&str>, listed: &Listed) {
        for (namespace, name) in vanished(&self.0, ObjectKind::Service, within, listed) {
            self.0.delete_service(&namespace, &name);
        }
    }

    fn count(&self) -> usize {
        self.0.count(ObjectKind::Service)
    }
}

/// EndpointSlices.
#[derive(Debug)]
pub(super) struct EndpointSliceSink(pub(super) IndexHandle);

impl Sink<EndpointSlice> for EndpointSliceSink {
    fn apply(&self, object: EndpointSlice) {
        self.0.apply_endpoint_slice(object);
    }

    fn delete(&self, namespace: &str, name: &str) {
        self.0.delete_endpoint_slice(namespace, name);
    }

    fn reset(&self, within: Option<&str>, listed: &Listed) {
        for (namespace, name) in vanished(&self.0, ObjectKind::EndpointSlice, within, listed) {
            self.0.delete_endpoint_slice(&namespace, &name);
        }
    }

    fn count(&self) -> usize {
        self.0.count(ObjectKind::EndpointSlice)
    }
}

/// What the index knows and a list of everything does not have.
fn vanished(
    index: &IndexHandle,
    kind: ObjectKind,
    within: Option<&str>,
    listed: &Listed,
) -> Vec<(Arc<str>, Arc<str>)> {
    let mut names = index.names(kind, within);
    names.retain(|(namespace, name)| !listed.contains(namespace, name));
    names
}
