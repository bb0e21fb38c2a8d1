//! What two routes, or a route and somebody else, both want.

use rouse_api::HTTPScaledObject;
use serde_json::json;

use crate::support::{
    add_route, add_target, add_tenant, cluster, condition, scaled_object, start_leader, until,
};

#[tokio::test]
async fn a_host_that_is_claimed_twice_is_reported_on_the_younger_object() {
    let server = cluster().await;
    let app = start_leader(&server).await;
    for (namespace, created) in [("a", "2026-01-01T00:00:00Z"), ("b", "2026-01-02T00:00:00Z")] {
        add_target(&server, namespace, "chatbot");
        add_route(
            &server,
            namespace,
            "chatbot",
            &json!({
                "metadata": { "creationTimestamp": created },
                "spec": { "hosts": ["same.test"] },
            }),
        );
    }
    until(
        &server,
        "b",
        "chatbot",
        "Accepted",
        "False HostOwnedByOtherNamespace",
    )
    .await;
    until(&server, "a", "chatbot", "Ready", "True Reconciled").await;
    assert_eq!(
        condition(&server, "b", "chatbot", "Ready"),
        "False HostOwnedByOtherNamespace"
    );

    assert!(server.delete::<HTTPScaledObject>("a", "chatbot"));
    until(&server, "b", "chatbot", "Ready", "True Reconciled").await;
    app.stop().await;
}

#[tokio::test]
async fn a_workload_that_somebody_else_scales_gets_no_scaled_object_of_rouses() {
    let server = cluster().await;
    let app = start_leader(&server).await;
    add_target(&server, "default", "chatbot");
    server.apply_json(json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": { "namespace": "default", "name": "by-hand" },
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "chatbot" },
        },
    }));
    server.apply_json(json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": { "namespace": "default", "name": "by-cron" },
        "spec": { "scaleTargetRef": { "name": "other" }, "triggers": [{ "type": "cron", "metadata": {} }] },
    }));
    add_target(&server, "default", "other");
    // Seen before the routes are, or the routes would be first.
    server.wait_for_watches("scaledobjects", 1).await;
    add_route(&server, "default", "chatbot", &json!({}));
    add_route(&server, "default", "other", &json!({}));
    until(&server, "default", "chatbot", "Ready", "False ConflictingHPA").await;
    until(
        &server,
        "default",
        "other",
        "Ready",
        "False ConflictingScaledObject",
    )
    .await;
    assert!(scaled_object(&server, "default", "chatbot").is_none());
    assert!(scaled_object(&server, "default", "other").is_none());

    server.delete::<k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler>("default", "by-hand");
    until(&server, "default", "chatbot", "Ready", "True Reconciled").await;
    assert!(scaled_object(&server, "default", "chatbot").is_some());
    app.stop().await;
}

#[tokio::test]
async fn of_two_routes_of_one_workload_the_older_gets_the_scaled_object() {
    let server = cluster().await;
    let app = start_leader(&server).await;
    add_tenant(&server, "default", "chatbot");
    until(&server, "default", "chatbot", "Ready", "True Reconciled").await;
    let late = json!({
        "metadata": { "creationTimestamp": "2100-01-01T00:00:00Z" },
        "spec": { "scaleTargetRef": { "name": "chatbot", "service": "chatbot" } },
    });
    add_route(&server, "default", "late", &late);
    until(
        &server,
        "default",
        "late",
        "Ready",
        "False ConflictingScaledObject",
    )
    .await;
    assert!(scaled_object(&server, "default", "late").is_none());
    assert!(server.delete::<HTTPScaledObject>("default", "chatbot"));
    until(&server, "default", "late", "Ready", "True Reconciled").await;
    assert!(scaled_object(&server, "default", "late").is_some());
    app.stop().await;
}
