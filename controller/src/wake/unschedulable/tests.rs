use serde_json::json;

use super::*;

fn labels(app: &str) -> BTreeMap<String, String> {
    [
        ("app".to_owned(), app.to_owned()),
        ("tier".to_owned(), "web".to_owned()),
    ]
    .into()
}

fn selector(app: &str) -> BTreeMap<String, String> {
    [("app".to_owned(), app.to_owned())].into()
}

/// A pending pod of `app` with the condition `PodScheduled`.
fn pod(name: &str, app: &str, status: &str, reason: &str, message: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"namespace": "team", "name": name, "uid": name, "labels": labels(app)},
        "status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": status, "reason": reason, "message": message},
        ]},
    }))
    .expect("a pod")
}

fn unschedulable(name: &str, app: &str) -> Pod {
    pod(
        name,
        app,
        "False",
        "Unschedulable",
        "0/1 nodes are available: 1 node had a taint.",
    )
}

fn event(pod: &str, reason: &str, message: &str, reporter: &str) -> Event {
    serde_json::from_value(json!({
        "metadata": {"namespace": "team", "name": format!("{pod}.1")},
        "involvedObject": {"kind": "Pod", "namespace": "team", "name": pod, "uid": pod},
        "reason": reason, "message": message, "reportingComponent": reporter,
    }))
    .expect("an event")
}

#[test]
fn a_pod_that_no_node_takes_is_named_until_it_is_taken() {
    let mut pods = Unschedulable::default();
    assert_eq!(
        pods.apply(&pod("a", "web", "True", "", "")),
        None,
        "it is on its node"
    );
    let touched = pods.apply(&unschedulable("b", "web")).expect("a change");
    assert_eq!(touched.labels, [labels("web")]);
    assert_eq!(pods.apply(&unschedulable("b", "web")), None, "the same again");
    let message = pods.message("team", &selector("web"));
    assert_eq!(
        message.as_deref(),
        Some("pod b: 0/1 nodes are available: 1 node had a taint")
    );
    assert_eq!(pods.message("team", &selector("other")), None);
    assert_eq!(pods.message("elsewhere", &selector("web")), None);
    assert_eq!(
        pods.message("team", &BTreeMap::new()),
        None,
        "an empty selector selects nothing"
    );
    // Scheduled, and not gone from the watch yet.
    assert!(pods.apply(&pod("b", "web", "True", "", "")).is_some());
    assert_eq!(pods.message("team", &selector("web")), None);
    assert_eq!((pods.count(), pods.delete("team", "b")), (0, None));
}

#[test]
fn a_pod_that_waits_for_something_else_is_none_of_these() {
    let mut pods = Unschedulable::default();
    assert_eq!(
        pods.apply(&pod("gated", "web", "False", "SchedulingGated", "a gate")),
        None
    );
    let mut leaving = unschedulable("leaving", "web");
    leaving.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-01-01T00:00:00Z")).expect("a time");
    assert_eq!(pods.apply(&leaving), None);
    let mut running = unschedulable("running", "web");
    running.status.as_mut().expect("a status").phase = Some("Running".to_owned());
    assert_eq!(pods.apply(&running), None);
    assert_eq!(pods.apply(&Pod::default()), None);
}

#[test]
fn of_several_pods_the_first_is_named_and_the_text_stays() {
    let mut pods = Unschedulable::default();
    pods.apply(&unschedulable("b", "web"));
    pods.apply(&unschedulable("c", "web"));
    let before = pods.message("team", &selector("web"));
    pods.delete("team", "c");
    assert_eq!(pods.message("team", &selector("web")), before);
    pods.delete("team", "b");
    assert_eq!(pods.message("team", &selector("web")), None);
}

#[test]
fn labels_that_change_touch_both_services() {
    let mut pods = Unschedulable::default();
    pods.apply(&unschedulable("a", "web"));
    let touched = pods.apply(&unschedulable("a", "other")).expect("a change");
    assert_eq!(touched.labels, [labels("web"), labels("other")]);
}

#[test]
fn what_a_list_does_not_name_is_gone() {
    let mut pods = Unschedulable::default();
    pods.apply(&unschedulable("a", "web"));
    pods.apply(&unschedulable("b", "other"));
    assert!(pods.retain(Some("elsewhere"), |_, _| false).is_empty());
    let touched = pods.retain(None, |namespace, name| (namespace, name) == ("team", "a"));
    assert_eq!(touched.len(), 1);
    assert_eq!(touched[0].labels, [labels("other")]);
    assert_eq!(pods.count(), 1);
}

#[test]
fn karpenter_says_why_it_makes_no_node() {
    let limit =
        "Failed to schedule pod, all available instance types exceed limits for nodepool (NodePool=spot)";
    let mut pods = Unschedulable::default();
    // The event may come first.
    assert_eq!(
        pods.remark(&event("a", "FailedScheduling", limit, "karpenter")),
        None
    );
    pods.apply(&unschedulable("a", "web"));
    let message = pods.message("team", &selector("web")).expect("a message");
    assert!(
        message.ends_with(
            "; karpenter: all available instance types exceed limits for nodepool (NodePool=spot)"
        ),
        "{message}"
    );
    assert_eq!(
        pods.remark(&event("a", "FailedScheduling", limit, "karpenter")),
        None,
        "the same again"
    );
    assert_eq!(
        pods.remark(&event("a", "FailedScheduling", "no", "default-scheduler")),
        None
    );
    // A node is coming.
    let nominated = event(
        "a",
        "Nominated",
        "Pod should schedule on: nodeclaim/spot-1",
        "karpenter",
    );
    assert!(pods.remark(&nominated).is_some());
    let message = pods.message("team", &selector("web")).expect("a message");
    assert!(!message.contains("karpenter"), "{message}");
}

#[test]
fn remarks_are_bounded_and_those_that_matter_stay() {
    let mut pods = Unschedulable::default();
    pods.apply(&unschedulable("a", "web"));
    pods.remark(&event("a", "FailedScheduling", "the limit", "karpenter"));
    for number in 0..3 * MAX_REMARKS {
        pods.remark(&event(
            &format!("gone-{number}"),
            "FailedScheduling",
            "no",
            "karpenter",
        ));
        assert!(pods.remarks.len() <= MAX_REMARKS);
    }
    let message = pods.message("team", &selector("web")).expect("a message");
    assert!(message.ends_with("karpenter: the limit"), "{message}");
}
