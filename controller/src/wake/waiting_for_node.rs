//! The condition `WaitingForNode`: of every route whose Service selects a pod that no node takes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Event, Pod};
use parking_lot::Mutex;
use rouse_api::condition::{REASON_UNSCHEDULABLE, WAITING_FOR_NODE};
use rouse_routing::RouteId;

use super::unschedulable::{Touched, Unschedulable, selects};
use crate::{
    condition::{ConditionSource, Finding},
    observed::{ObjectName, Observed, Service, SharedObserved},
    queue::Requeue,
};

/// Keeps the pods that wait for a node, and has something to say of the routes whose pods they are.
#[derive(Debug)]
pub(crate) struct WaitingForNode {
    pods: Mutex<Unschedulable>,
    observed: SharedObserved,
    requeue: Requeue,
}

impl WaitingForNode {
    pub(crate) fn new(observed: SharedObserved, requeue: Requeue) -> Self {
        Self {
            pods: Mutex::default(),
            observed,
            requeue,
        }
    }

    /// A pod is pending.
    pub(crate) fn apply_pod(&self, pod: &Pod) {
        let touched = self.pods.lock().apply(pod);
        self.requeue_touched(touched);
    }

    /// A pod is pending no longer.
    pub(crate) fn delete_pod(&self, namespace: &str, name: &str) {
        let touched = self.pods.lock().delete(namespace, name);
        self.requeue_touched(touched);
    }

    /// All pending pods have been listed.
    pub(crate) fn retain_pods(&self, within: Option<&str>, listed: impl Fn(&str, &str) -> bool) {
        let touched = self.pods.lock().retain(within, listed);
        self.requeue_touched(touched);
    }

    /// There is an event on a pod.
    pub(crate) fn apply_event(&self, event: &Event) {
        let touched = self.pods.lock().remark(event);
        self.requeue_touched(touched);
    }

    /// Pods that wait for a node.
    pub(crate) fn count(&self) -> usize {
        self.pods.lock().count()
    }

    /// Pods of which the node autoscaler has said something.
    pub(crate) fn remarks(&self) -> usize {
        self.pods.lock().remarks()
    }

    fn requeue_touched(&self, touched: impl IntoIterator<Item = Touched>) {
        for touched in touched {
            let concerned: Vec<RouteId> = self.observed.read(|observed| {
                observed
                    .routes()
                    .filter(|route| *route.id.namespace == *touched.namespace)
                    .filter(|route| {
                        service(observed, &route.id).is_some_and(|service| {
                            touched
                                .labels
                                .iter()
                                .any(|labels| selects(&service.selector, labels))
                        })
                    })
                    .map(|route| route.id.clone())
                    .collect()
            });
            for id in concerned {
                self.requeue.route(id);
            }
        }
    }
}

impl ConditionSource for WaitingForNode {
    fn condition(&self, route: &RouteId) -> Option<Finding> {
        let message = self.observed.read(|observed| {
            let service = service(observed, route)?;
            self.pods.lock().message(&route.namespace, &service.selector)
        })?;
        Some(Finding::holds(WAITING_FOR_NODE, REASON_UNSCHEDULABLE, message))
    }
}

/// The Service that the route's requests go to.
fn service<'a>(observed: &'a Observed, route: &RouteId) -> Option<&'a Service> {
    let target = observed.route(route)?.target()?;
    observed.service(&ObjectName::new(Arc::clone(&route.namespace), target.service))
}

#[cfg(test)]
mod tests;
