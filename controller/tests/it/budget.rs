//! Nothing is written where nothing changed.

use serde_json::json;

use crate::support::{
    add_route, add_target, add_tenant, cluster, edit, reconciled, scaled_object, short, start_leader, until,
    writes,
};

const ROUTES: usize = 1_000;

#[tokio::test]
async fn a_new_route_costs_a_scaled_object_and_a_status() {
    let server = cluster().await;
    let app = start_leader(&server).await;
    add_tenant(&server, "default", "chatbot");
    until(&server, "default", "chatbot", "Ready", "True Reconciled").await;
    assert_eq!(
        short(&writes(&server)),
        ["httpscaledobjects/chatbot/status", "scaledobjects/chatbot"]
    );
    let object = server
        .get_json("httpscaledobjects", "default", "chatbot")
        .unwrap();
    assert_eq!(object["status"]["targetWorkload"], "apps/v1/Deployment/chatbot");
    assert_eq!(object["status"]["targetService"], "chatbot:8000");
    assert!(object["metadata"]["finalizers"].is_null(), "none of Rouse's own");
    assert!(server.events().is_empty(), "{:?}", server.events());
    let ready = &object["status"]["conditions"][0];
    assert_eq!(
        (&ready["type"], &ready["observedGeneration"]),
        (&json!("Ready"), &json!(1))
    );

    let made = scaled_object(&server, "default", "chatbot").unwrap();
    assert_eq!(
        made["spec"],
        json!({
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "chatbot" },
            "pollingInterval": 15,
            "cooldownPeriod": 60,
            "minReplicaCount": 0,
            "maxReplicaCount": 5,
            "advanced": { "restoreToOriginalReplicaCount": true },
            "triggers": [{ "type": "external-push", "metadata": {
                "scalerAddress": "keda-add-ons-http-external-scaler.keda:9090",
                "httpScaledObject": "chatbot",
            } }],
        })
    );
    assert_eq!(
        made["metadata"]["ownerReferences"][0]["uid"],
        object["metadata"]["uid"]
    );
    app.stop().await;
}

#[tokio::test]
async fn a_thousand_routes_cost_two_writes_each_and_a_new_leader_none() {
    let server = cluster().await;
    for number in 0..ROUTES {
        add_tenant(
            &server,
            &format!("tenant-{}", number / 20),
            &format!("app-{number}"),
        );
    }
    let app = start_leader(&server).await;
    reconciled(&app, ROUTES).await;
    let made = writes(&server);
    assert_eq!(made.len(), 2 * ROUTES);
    let statuses = made.iter().filter(|write| write.subresource == "status").count();
    assert_eq!(statuses, ROUTES);

    // Every object is listed and told of again.
    server.clear_requests();
    server.close_watches();
    server.compact();
    server
        .wait_for_requests(rouse_fake_api_server::Verb::List, "httpscaledobjects", 1)
        .await;
    app.stop().await;
    let next = start_leader(&server).await;
    reconciled(&next, ROUTES).await;
    assert_eq!(short(&writes(&server)), [""; 0]);
    next.stop().await;
}

#[tokio::test]
async fn a_change_costs_what_it_changes() {
    let server = cluster().await;
    let app = start_leader(&server).await;
    add_tenant(&server, "default", "chatbot");
    until(&server, "default", "chatbot", "Ready", "True Reconciled").await;
    server.clear_requests();

    // What only the data plane reads: the status says which generation it speaks of.
    edit(
        &server,
        "httpscaledobjects",
        "default",
        "chatbot",
        &json!({ "spec": { "hosts": ["other.test"] } }),
    );
    server
        .eventually("the status is of generation 2", |server| {
            let object = server
                .get_json("httpscaledobjects", "default", "chatbot")
                .unwrap();
            object["status"]["conditions"][0]["observedGeneration"] == 2
        })
        .await;
    assert_eq!(short(&writes(&server)), ["httpscaledobjects/chatbot/status"]);

    // Somebody's change to a field of Rouse's is undone; nothing else is written.
    server.clear_requests();
    edit(
        &server,
        "scaledobjects",
        "default",
        "chatbot",
        &json!({ "spec": { "maxReplicaCount": 50 } }),
    );
    server
        .eventually("the ScaledObject is as it was", |server| {
            scaled_object(server, "default", "chatbot").unwrap()["spec"]["maxReplicaCount"] == 5
        })
        .await;
    assert_eq!(short(&writes(&server)), ["scaledobjects/chatbot"]);
    app.stop().await;
}

#[tokio::test]
async fn what_keda_writes_of_a_scaled_object_costs_a_status_only_when_it_says_something_else() {
    let server = cluster().await;
    let app = start_leader(&server).await;
    add_target(&server, "default", "chatbot");
    add_route(&server, "default", "chatbot", &json!({}));
    until(&server, "default", "chatbot", "Ready", "True Reconciled").await;
    server.clear_requests();
    let says = |active: &str| {
        json!({ "status": { "conditions": [
            { "type": "Ready", "status": "True", "message": "" },
            { "type": "Active", "status": active },
        ] } })
    };
    edit(&server, "scaledobjects", "default", "chatbot", &says("True"));
    until(
        &server,
        "default",
        "chatbot",
        "ScalerReady",
        "True ScaledObjectReady",
    )
    .await;
    for active in ["False", "True", "False"] {
        edit(&server, "scaledobjects", "default", "chatbot", &says(active));
    }
    // The next change that is to be seen comes after those.
    edit(
        &server,
        "httpscaledobjects",
        "default",
        "chatbot",
        &json!({ "spec": { "replicas": { "max": 6 } } }),
    );
    server
        .eventually("the ScaledObject follows", |server| {
            scaled_object(server, "default", "chatbot").unwrap()["spec"]["maxReplicaCount"] == 6
        })
        .await;
    let statuses = writes(&server)
        .iter()
        .filter(|write| write.subresource == "status")
        .count();
    assert!(statuses <= 2, "{:?}", short(&writes(&server)));
    app.stop().await;
}
