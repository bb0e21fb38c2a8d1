//! The pods that no node takes, and why. Pure.
//!
//! The scheduler says it on the pod (`PodScheduled` is false, `Unschedulable`). Why no node is made for it says the node
//! autoscaler, in an event on the pod; Karpenter's are read, as they name the NodePool whose limit is reached. A pod that waits
//! for a gate is not one of these.
//!
//! Bounded by the pods that are pending and by [`MAX_REMARKS`].

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Event, Pod};

/// Remarks on pods that are not known to wait: events may come before the pod they are about.
const MAX_REMARKS: usize = 1_024;

/// Karpenter's events on a pod that it makes no node for, and on one that it does.
const FAILED: &str = "FailedScheduling";
const NOMINATED: &str = "Nominated";

/// With what Karpenter begins the former.
const FAILED_PREFIX: &str = "Failed to schedule pod, ";

/// By which its events are known.
pub(crate) const PROVISIONER: &str = "karpenter";

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Unschedulable {
    /// By namespace and name.
    pods: HashMap<Box<str>, BTreeMap<Box<str>, WaitingPod>>,
    /// What the node autoscaler said last of a pod, by its uid.
    remarks: HashMap<Box<str>, Box<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct WaitingPod {
    uid: Box<str>,
    labels: BTreeMap<String, String>,
    message: Box<str>,
}

/// Labels of pods of one namespace about which something new is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) namespace: Box<str>,
    pub(crate) labels: Vec<BTreeMap<String, String>>,
}

impl Unschedulable {
    /// A pod is pending. Returns what changed, if anything did.
    pub(crate) fn apply(&mut self, pod: &Pod) -> Option<Touched> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let Some(waiting) = waiting(pod) else {
            return self.delete(namespace, name);
        };
        let pods = self.pods.entry(namespace.into()).or_default();
        let before = pods.get(name);
        if before == Some(&waiting) {
            return None;
        }
        let labels = before.map(|before| before.labels.clone()).into_iter();
        let labels = labels.chain([waiting.labels.clone()]).collect();
        pods.insert(name.into(), waiting);
        Some(Touched {
            namespace: namespace.into(),
            labels,
        })
    }

    /// A pod is pending no longer. Returns what changed, if anything did.
    pub(crate) fn delete(&mut self, namespace: &str, name: &str) -> Option<Touched> {
        let pods = self.pods.get_mut(namespace)?;
        let gone = pods.remove(name)?;
        if pods.is_empty() {
            self.pods.remove(namespace);
        }
        self.remarks.remove(&gone.uid);
        Some(Touched {
            namespace: namespace.into(),
            labels: vec![gone.labels],
        })
    }

    /// Drops the pods of `within` (`None`: of every namespace) that are not `listed`, and returns what changed.
    pub(crate) fn retain(
        &mut self,
        within: Option<&str>,
        listed: impl Fn(&str, &str) -> bool,
    ) -> Vec<Touched> {
        let gone: Vec<(Box<str>, Box<str>)> = self
            .pods
            .iter()
            .filter(|(namespace, _)| within.is_none_or(|within| within == &***namespace))
            .flat_map(|(namespace, pods)| pods.keys().map(|name| (namespace.clone(), name.clone())))
            .filter(|(namespace, name)| !listed(namespace, name))
            .collect();
        gone.iter()
            .filter_map(|(namespace, name)| self.delete(namespace, name))
            .collect()
    }

    /// The node autoscaler says something of a pod. Returns what changed, if anything did.
    pub(crate) fn remark(&mut self, event: &Event) -> Option<Touched> {
        let about = &event.involved_object;
        let uid = about.uid.as_deref()?;
        let is_its_own = event.reporting_component.as_deref() == Some(PROVISIONER)
            || event
                .source
                .as_ref()
                .is_some_and(|source| source.component.as_deref() == Some(PROVISIONER));
        if !is_its_own || about.kind.as_deref() != Some("Pod") {
            return None;
        }
        let has_changed = match event.reason.as_deref() {
            Some(FAILED) => {
                let message = event.message.as_deref().unwrap_or_default();
                let message = message.strip_prefix(FAILED_PREFIX).unwrap_or(message);
                self.make_room();
                let before = self.remarks.insert(uid.into(), message.into());
                before.as_deref() != Some(message)
            }
            Some(NOMINATED) => self.remarks.remove(uid).is_some(),
            _ => false,
        };
        let namespace = about.namespace.as_deref()?;
        let pod = self.pods.get(namespace)?.get(about.name.as_deref()?)?;
        (has_changed && &*pod.uid == uid).then(|| Touched {
            namespace: namespace.into(),
            labels: vec![pod.labels.clone()],
        })
    }

    /// Forgets what was said of pods that do not wait, when there is too much of it.
    fn make_room(&mut self) {
        if self.remarks.len() < MAX_REMARKS {
            return;
        }
        let pods = &self.pods;
        let waits = |uid: &str| {
            pods.values()
                .flat_map(BTreeMap::values)
                .any(|pod| &*pod.uid == uid)
        };
        self.remarks.retain(|uid, _| waits(uid));
    }

    /// Why a pod of the namespace with these labels waits for a node: the first by name, so that the text changes seldom.
    /// Without any labels nothing is selected, as with a Service.
    pub(crate) fn message(&self, namespace: &str, selector: &BTreeMap<String, String>) -> Option<String> {
        let (name, pod) = self
            .pods
            .get(namespace)?
            .iter()
            .find(|(_, pod)| selects(selector, &pod.labels))?;
        let message = pod.message.trim_end_matches('.');
        Some(match self.remarks.get(&pod.uid) {
            Some(remark) => format!("pod {name}: {message}; {PROVISIONER}: {remark}"),
            None => format!("pod {name}: {message}"),
        })
    }

    /// Pods of which the node autoscaler has said something.
    pub(crate) fn remarks(&self) -> usize {
        self.remarks.len()
    }

    /// Pods that wait.
    pub(crate) fn count(&self) -> usize {
        self.pods.values().map(BTreeMap::len).sum()
    }
}

/// Whether a Service's selector selects a pod with these labels.
pub(crate) fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    !selector.is_empty()
        && selector
            .iter()
            .all(|(name, value)| labels.get(name) == Some(value))
}

/// What is kept of a pod that no node takes; `None` of every other one.
fn waiting(pod: &Pod) -> Option<WaitingPod> {
    let status = pod.status.as_ref()?;
    let is_pending = status.phase.as_deref() == Some("Pending");
    if !is_pending || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let refusal = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    })?;
    Some(WaitingPod {
        uid: pod.metadata.uid.as_deref().unwrap_or_default().into(),
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        message: refusal.message.as_deref().unwrap_or_default().into(),
    })
}

#[cfg(test)]
mod tests;
