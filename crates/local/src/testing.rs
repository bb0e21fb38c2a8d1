//! Stand-ins for the interceptor in unit tests.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;
use rouse_api::HTTPScaledObject;

use crate::engine::ObjectSink;

/// Keeps what it is given.
#[derive(Debug, Default)]
pub(crate) struct RecordingSink {
    slices: Mutex<BTreeMap<(String, String), EndpointSlice>>,
}

impl RecordingSink {
    pub(crate) fn slice(&self, namespace: &str, name: &str) -> Option<EndpointSlice> {
        self.slices
            .lock()
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
    }
}

impl ObjectSink for RecordingSink {
    fn apply_service(&self, _service: Service) {}

    fn apply_route(&self, _route: HTTPScaledObject) {}

    fn apply_endpoint_slice(&self, slice: EndpointSlice) {
        let key = (
            slice.metadata.namespace.clone().unwrap_or_default(),
            slice.metadata.name.clone().unwrap_or_default(),
        );
        self.slices.lock().insert(key, slice);
    }

    fn delete_endpoint_slice(&self, namespace: &str, name: &str) {
        self.slices
            .lock()
            .remove(&(namespace.to_owned(), name.to_owned()));
    }

    fn set_waiting_for_node(&self, _namespace: &str, _service: &str, _is_waiting: bool) {}
}
