//! Whose the objects are: the add-on's, the users', Rouse's.

use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use rouse_api::HTTPScaledObject;
use rouse_fake_api_server::{FakeApiServer, Verb};
use serde_json::{Value, json};

use crate::support::{
    add_route, add_target, add_tenant, cluster, edit, scaled_object, short, start_leader, until, writes,
};

/// ScaledObjects as KEDA reaches them.
fn scaled_objects(server: &FakeApiServer) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject"));
    Api::namespaced_with(server.client(), "default", &kind)
}

/// A ScaledObject as the add-on's operator left it.
fn add_operators(server: &FakeApiServer, uid: &Value) {
    let mut object = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": {
            "namespace": "default", "name": "chatbot",
            "labels": { "team": "chat", "gone": "1" },
            "ownerReferences": [{
                "apiVersion": "http.keda.sh/v1alpha1", "kind": "HTTPScaledObject", "name": "chatbot",
                "uid": uid, "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "chatbot" },
            "pollingInterval": 15, "cooldownPeriod": 60, "minReplicaCount": 0, "maxReplicaCount": 5,
            "initialCooldownPeriod": 30,
            "fallback": { "failureThreshold": 3, "replicas": 1 },
            "advanced": { "restoreToOriginalReplicaCount": true },
            "triggers": [{ "type": "external-push", "metadata": {
                "scalerAddress": "keda-add-ons-http-external-scaler.keda:9090", "httpScaledObject": "chatbot",
            } }],
        },
    });
    object["metadata"]["managedFields"] = json!([
        {
            "manager": "operator", "operation": "Update", "apiVersion": "keda.sh/v1alpha1", "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {
                    "f:labels": { ".": {}, "f:team": {}, "f:gone": {} },
                    "f:ownerReferences": { ".": {}, (format!("k:{{\"uid\":{uid}}}")): {} },
                },
                "f:spec": {
                    ".": {},
                    "f:advanced": { ".": {}, "f:restoreToOriginalReplicaCount": {} },
                    "f:cooldownPeriod": {}, "f:initialCooldownPeriod": {}, "f:maxReplicaCount": {},
                    "f:minReplicaCount": {}, "f:pollingInterval": {}, "f:triggers": {},
                    "f:scaleTargetRef": { ".": {}, "f:apiVersion": {}, "f:kind": {}, "f:name": {} },
                },
            },
        },
        {
            "manager": "kubectl-edit", "operation": "Update", "apiVersion": "keda.sh/v1alpha1",
            "fieldsType": "FieldsV1",
            "fieldsV1": { "f:spec": { "f:fallback": { ".": {}, "f:failureThreshold": {}, "f:replicas": {} } } },
        },
    ]);
    server.apply_json(object);
}

#[tokio::test]
async fn what_the_add_on_made_is_taken_over_without_leftovers() {
    let server = cluster().await;
    add_target(&server, "default", "chatbot");
    add_route(
        &server,
        "default",
        "chatbot",
        &json!({ "metadata": {
        "labels": { "team": "chat" },
        "finalizers": ["httpscaledobject.http.keda.sh", "somebody/elses"],
    } }),
    );
    let object = server
        .get_json("httpscaledobjects", "default", "chatbot")
        .unwrap();
    add_operators(&server, &object["metadata"]["uid"]);
    let app = start_leader(&server).await;
    until(&server, "default", "chatbot", "Ready", "True Reconciled").await;

    let live = scaled_object(&server, "default", "chatbot").unwrap();
    assert_eq!(
        live["metadata"]["labels"],
        json!({ "team": "chat" }),
        "the operator's leftover is gone"
    );
    assert!(live["spec"]["initialCooldownPeriod"].is_null());
    assert_eq!(live["spec"]["fallback"]["replicas"], 1, "the user's field stays");
    let object = server
        .get_json("httpscaledobjects", "default", "chatbot")
        .unwrap();
    assert_eq!(object["metadata"]["finalizers"], json!(["somebody/elses"]));

    // From now on a label that is taken off goes from both.
    let label = json!({ "metadata": { "labels": { "team": null } } });
    edit(&server, "httpscaledobjects", "default", "chatbot", &label);
    server
        .eventually("the label is gone", |server| {
            scaled_object(server, "default", "chatbot").unwrap()["metadata"]["labels"]["team"].is_null()
        })
        .await;
    app.stop().await;
}

#[tokio::test]
async fn the_users_fields_of_a_scaled_object_stay() {
    let server = cluster().await;
    let app = start_leader(&server).await;
    add_tenant(&server, "default", "chatbot");
    until(&server, "default", "chatbot", "Ready", "True Reconciled").await;
    let own = json!({
        "metadata": { "annotations": { "autoscaling.keda.sh/paused": "true" } },
        "spec": { "fallback": { "failureThreshold": 3, "replicas": 1 } },
    });
    edit(&server, "scaledobjects", "default", "chatbot", &own);
    edit(
        &server,
        "httpscaledobjects",
        "default",
        "chatbot",
        &json!({ "spec": { "replicas": { "max": 9 } } }),
    );
    server
        .eventually("the ScaledObject follows", |server| {
            scaled_object(server, "default", "chatbot").unwrap()["spec"]["maxReplicaCount"] == 9
        })
        .await;
    let live = scaled_object(&server, "default", "chatbot").unwrap();
    assert_eq!(live["spec"]["fallback"]["replicas"], 1);
    assert_eq!(
        live["metadata"]["annotations"]["autoscaling.keda.sh/paused"],
        "true"
    );
    app.stop().await;
}

#[tokio::test]
async fn an_orphaned_scaled_object_outlives_its_route() {
    let server = cluster().await;
    let app = start_leader(&server).await;
    add_tenant(&server, "default", "chatbot");
    until(&server, "default", "chatbot", "Ready", "True Reconciled").await;
    // Orphan goes before skip, which would delete it.
    let annotations = json!({ "metadata": { "annotations": {
        "httpscaledobject.keda.sh/orphan-scaledobject": "true",
        "httpscaledobject.keda.sh/skip-scaledobject-creation": "true",
    } } });
    edit(&server, "httpscaledobjects", "default", "chatbot", &annotations);
    server
        .eventually("the ScaledObject has no owner", |server| {
            let owners = &scaled_object(server, "default", "chatbot").unwrap()["metadata"]["ownerReferences"];
            owners.as_array().is_none_or(Vec::is_empty)
        })
        .await;
    assert!(server.delete::<HTTPScaledObject>("default", "chatbot"));
    server
        .wait_for::<HTTPScaledObject>("default", "chatbot", |object| object.is_none())
        .await;
    assert!(scaled_object(&server, "default", "chatbot").is_some());
    app.stop().await;
}

#[tokio::test]
async fn a_skipped_scaled_object_is_deleted_and_the_users_own_is_not() {
    let server = cluster().await;
    let app = start_leader(&server).await;
    for name in ["chatbot", "other"] {
        add_tenant(&server, "default", name);
        until(&server, "default", name, "Ready", "True Reconciled").await;
    }
    // KEDA's finalizer: it takes its own time to let go.
    let held = json!({ "metadata": { "finalizers": ["finalizer.keda.sh"] } });
    edit(&server, "scaledobjects", "default", "chatbot", &held);
    let skip = json!({ "metadata": { "annotations": { "httpscaledobject.keda.sh/skip-scaledobject-creation": "true" } } });
    edit(&server, "httpscaledobjects", "default", "chatbot", &skip);
    until(&server, "default", "chatbot", "ScalerReady", "").await;
    let live = scaled_object(&server, "default", "chatbot").unwrap();
    assert!(!live["metadata"]["deletionTimestamp"].is_null());
    let label = json!({ "metadata": { "labels": { "still": "here" } } });
    edit(&server, "scaledobjects", "default", "chatbot", &label);
    edit(
        &server,
        "httpscaledobjects",
        "default",
        "chatbot",
        &json!({ "spec": { "hosts": ["new.test"] } }),
    );
    server
        .eventually("the status is of the newest generation", |server| {
            let object = server
                .get_json("httpscaledobjects", "default", "chatbot")
                .unwrap();
            object["status"]["conditions"][0]["observedGeneration"] == object["metadata"]["generation"]
        })
        .await;
    let requests = server.requests();
    let deletions = requests.iter().filter(|request| request.verb == Verb::Delete);
    assert_eq!(deletions.count(), 1, "asked for once");
    scaled_objects(&server)
        .patch(
            "chatbot",
            &PatchParams::default(),
            &Patch::Merge(json!({ "metadata": { "finalizers": null } })),
        )
        .await
        .expect("let go");
    server
        .eventually("the ScaledObject is gone", |server| {
            scaled_object(server, "default", "chatbot").is_none()
        })
        .await;
    server.apply_json(json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": { "namespace": "default", "name": "chatbot" },
        "spec": {
            "scaleTargetRef": { "name": "chatbot" },
            "triggers": [{ "type": "external-push", "metadata": { "httpScaledObject": "chatbot" } }],
        },
        "status": { "conditions": [{ "type": "Ready", "status": "True", "message": "" }] },
    }));
    until(
        &server,
        "default",
        "chatbot",
        "ScalerReady",
        "True ScaledObjectReady",
    )
    .await;
    assert!(scaled_object(&server, "default", "chatbot").is_some());
    assert!(scaled_object(&server, "default", "other").is_some());
    app.stop().await;
}

#[tokio::test]
async fn a_route_with_the_add_ons_finalizer_can_go_at_any_time() {
    let server = cluster().await;
    add_target(&server, "default", "chatbot");
    add_route(
        &server,
        "default",
        "chatbot",
        &json!({ "metadata": {
        "finalizers": ["httpscaledobject.http.keda.sh"],
    } }),
    );
    // Deleted while nobody was there.
    assert!(server.delete::<HTTPScaledObject>("default", "chatbot"));
    assert!(
        server.get::<HTTPScaledObject>("default", "chatbot").is_some(),
        "the finalizer holds it"
    );
    let app = start_leader(&server).await;
    server
        .wait_for::<HTTPScaledObject>("default", "chatbot", |object| object.is_none())
        .await;
    assert_eq!(short(&writes(&server)), ["httpscaledobjects/chatbot"]);
    app.stop().await;
}
