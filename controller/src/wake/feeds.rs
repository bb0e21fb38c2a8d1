//! From the watches into what is known of pods that wait for a node.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Event, Pod};
use rouse_kubernetes::{Feed, Listed, Sink, Watches};

use super::{unschedulable::PROVISIONER, waiting_for_node::WaitingForNode};

/// Watches the pods that are pending, which are few, and what the node autoscaler says of pods. Neither is needed for
/// anything but a condition's text: without the rights to them the controller works on.
pub(crate) fn watch(watches: &mut Watches, waiting: &Arc<WaitingForNode>) {
    let pending = Feed::optional("Pod").with_fields("status.phase=Pending");
    watches.feed(pending, PodSink(Arc::clone(waiting)));
    let remarks =
        Feed::optional("Event").with_fields(format!("involvedObject.kind=Pod,source={PROVISIONER}"));
    watches.feed(remarks, RemarkSink(Arc::clone(waiting)));
}

#[derive(Debug)]
struct PodSink(Arc<WaitingForNode>);

impl Sink<Pod> for PodSink {
    fn apply(&self, pod: Pod) {
        self.0.apply_pod(&pod);
    }

    fn delete(&self, namespace: &str, name: &str) {
        self.0.delete_pod(namespace, name);
    }

    fn reset(&self, within: Option<&str>, listed: &Listed) {
        self.0
            .retain_pods(within, |namespace, name| listed.contains(namespace, name));
    }

    fn count(&self) -> usize {
        self.0.count()
    }
}

/// Events are remarks: what was said stays said until another is made or the pod is gone.
#[derive(Debug)]
struct RemarkSink(Arc<WaitingForNode>);

impl Sink<Event> for RemarkSink {
    fn apply(&self, event: Event) {
        self.0.apply_event(&event);
    }

    fn delete(&self, _: &str, _: &str) {}

    fn reset(&self, _: Option<&str>, _: &Listed) {}

    fn count(&self) -> usize {
        self.0.remarks()
    }
}
