//! Conditions that tell the truth.

use serde_json::json;

use crate::support::{
    add_route, add_target, add_tenant, cluster, condition, route_condition, scaled_object, short,
    start_leader, until, writes,
};

#[tokio::test]
async fn a_missing_target_is_named_until_it_is_there() {
    let server = cluster().await;
    let app = start_leader(&server).await;
    add_route(&server, "default", "chatbot", &json!({}));
    until(
        &server,
        "default",
        "chatbot",
        "TargetFound",
        "False ServiceNotFound",
    )
    .await;
    assert_eq!(
        condition(&server, "default", "chatbot", "Ready"),
        "False ServiceNotFound"
    );
    add_target(&server, "default", "chatbot");
    until(&server, "default", "chatbot", "Ready", "True Reconciled").await;
    server
        .eventually("both transitions are told", |server| {
            let reasons: Vec<String> = server.events().into_iter().map(|(reason, ..)| reason).collect();
            reasons.iter().any(|reason| reason == "ServiceNotFound")
                && reasons.iter().any(|reason| reason == "Reconciled")
        })
        .await;
    app.stop().await;
}

#[tokio::test]
async fn an_object_that_cannot_be_read_has_a_status_and_stops_no_other() {
    let server = cluster().await;
    let app = start_leader(&server).await;
    add_target(&server, "default", "torn");
    add_route(
        &server,
        "default",
        "torn",
        &json!({ "spec": {
        "scalingMetric": { "requestRate": { "window": "ten minutes" } },
    } }),
    );
    add_tenant(&server, "default", "whole");
    until(&server, "default", "whole", "Ready", "True Reconciled").await;
    server
        .eventually("the status says that it cannot be read", |server| {
            let object = server.get_json("httpscaledobjects", "default", "torn").unwrap();
            let conditions = object["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            conditions.iter().any(|condition| {
                condition["type"] == "Accepted"
                    && condition["reason"] == "Invalid"
                    && condition["message"]
                        .as_str()
                        .is_some_and(|text| text.contains("window"))
            })
        })
        .await;
    assert!(scaled_object(&server, "default", "torn").is_none());
    app.stop().await;
}

#[tokio::test]
async fn an_interceptor_route_gets_a_status_and_nothing_else() {
    let server = cluster().await;
    let app = start_leader(&server).await;
    add_target(&server, "default", "chatbot");
    server.apply_json(json!({
        "apiVersion": "http.keda.sh/v1beta1", "kind": "InterceptorRoute",
        "metadata": { "namespace": "default", "name": "chatbot" },
        "spec": {
            "rules": [{ "hosts": ["chatbot.test"] }],
            "target": { "service": "chatbot", "port": 8000 },
            "scalingMetric": { "concurrency": { "targetValue": 10 } },
        },
    }));
    server
        .eventually("it is ready", |server| {
            route_condition(server, "default", "chatbot", "Ready") == "True Reconciled"
        })
        .await;
    assert_eq!(route_condition(&server, "default", "chatbot", "ScalerReady"), "");
    assert_eq!(short(&writes(&server)), ["interceptorroutes/chatbot/status"]);
    app.stop().await;
}

#[tokio::test]
async fn a_workload_of_any_kind_is_looked_for() {
    let server = cluster().await;
    server.add_kind(rouse_fake_api_server::Kind::new(
        "argoproj.io/v1alpha1",
        "Rollout",
        "rollouts",
    ));
    let app = start_leader(&server).await;
    add_target(&server, "default", "chatbot");
    let rollout = |name: &str| {
        json!({ "spec": { "scaleTargetRef": {
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": name,
        } } })
    };
    server.apply_json(json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": { "namespace": "default", "name": "chatbot" }, "spec": {},
    }));
    add_route(&server, "default", "chatbot", &rollout("chatbot"));
    until(&server, "default", "chatbot", "TargetFound", "True Found").await;
    add_route(&server, "default", "chatbot", &rollout("none"));
    until(
        &server,
        "default",
        "chatbot",
        "TargetFound",
        "False WorkloadNotFound",
    )
    .await;
    app.stop().await;
}
