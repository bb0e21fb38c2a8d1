use serde_json::json;

use super::*;
use crate::wake::tests::{World, app_id};

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
