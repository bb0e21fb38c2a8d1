use std::sync::Arc;

use rouse_daemon::readiness::Readiness;
use rouse_kubernetes::{Scope, Watches};
use serde_json::json;

use super::*;
use crate::wake::{
    tests::{World, app_id},
    watch_pods,
};

fn pod(app: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"namespace": "team", "name": "pod", "uid": "pod", "labels": {"app": app}},
        "status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"},
        ]},
    }))
    .expect("a pod")
}

#[tokio::test(start_paused = true)]
async fn the_route_whose_service_selects_the_pod_says_so_and_is_queued() {
    let world = World::new().await;
    let source = WaitingForNode::new(world.parts.observed.clone(), world.parts.requeue.clone());
    assert_eq!(source.condition(&app_id()), None);
    world.drain_queue().await;
    source.apply_pod(&pod("other"));
    assert_eq!(world.drain_queue().await, 0, "no route's");
    assert_eq!(source.condition(&app_id()), None);
    source.apply_pod(&pod("app"));
    assert_eq!(world.drain_queue().await, 1);
    let finding = source.condition(&app_id()).expect("a finding");
    assert_eq!(
        (finding.kind, finding.reason),
        ("WaitingForNode", "Unschedulable")
    );
    assert_eq!(finding.status.as_str(), "True");
    assert_eq!(finding.message, "pod pod: 0/1 nodes are available");
    let stranger = RouteId::new(rouse_routing::RouteKind::HttpScaledObject, "elsewhere", "app");
    assert_eq!(source.condition(&stranger), None);
    source.retain_pods(Some("team"), |_, _| false);
    assert_eq!(world.drain_queue().await, 1);
    assert_eq!((source.condition(&app_id()), source.count()), (None, 0));
}

#[tokio::test]
async fn the_watches_bring_pending_pods_and_what_karpenter_says_of_them() {
    let world = World::new().await;
    let source = WaitingForNode::new(world.parts.observed.clone(), world.parts.requeue.clone());
    let source = Arc::new(source);
    let (readiness, metrics) = (Readiness::new(), &world.parts.metrics);
    let mut watches = Watches::new(world.parts.client.clone(), &Scope::All, &readiness, metrics);
    world.server.apply(&pod("app"));
    let event = |source: &str, message: &str| {
        world.server.apply_json(json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"namespace": "team", "name": source},
            "involvedObject": {"kind": "Pod", "namespace": "team", "name": "pod", "uid": uid(&world)},
            "reason": "FailedScheduling", "message": message, "source": {"component": source},
        }));
    };
    event("default-scheduler", "0/1 nodes are available");
    event(
        "karpenter",
        "Failed to schedule pod, all available instance types exceed limits for nodepool",
    );
    watch_pods(&mut watches, &source);
    watches.synced().await;
    let says = |text: &'static str| {
        let source = Arc::clone(&source);
        move || {
            let finding = source.condition(&app_id());
            finding.is_some_and(|finding| finding.message.ends_with(text))
        }
    };
    world
        .eventually("Karpenter is quoted", |_| says("exceed limits for nodepool")())
        .await;

    // A node has come: the pod is no longer pending, and leaves the watch.
    let mut running = pod("app");
    running.status.as_mut().expect("a status").phase = Some("Running".to_owned());
    world.server.apply(&running);
    world
        .eventually("the condition is gone", |_| source.condition(&app_id()).is_none())
        .await;
    assert_eq!((source.count(), source.remarks()), (0, 0));
    watches.stop().await;
}

fn uid(world: &World) -> String {
    let pod: Pod = world.server.get("team", "pod").expect("the pod");
    pod.metadata.uid.expect("a uid")
}
