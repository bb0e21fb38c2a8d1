use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::*;
use crate::{
    observed::testing::{http_scaled_object, merge},
    scaled_object::{ScalerAddress, desired, taken_over},
};

fn scaler() -> ScalerAddress {
    ScalerAddress {
        service: "keda-add-ons-http-external-scaler".to_owned(),
        namespace: "keda".to_owned(),
        port: 9090,
    }
}

/// The ScaledObject as an API server has it after Rouse's apply, with `changes` made to it.
fn live(desired: &Value, applied: &Value, changes: &Value) -> ScaledObject {
    let mut object = desired.clone();
    merge(
        &mut object,
        &json!({
            "metadata": {
                "uid": "so",
                "resourceVersion": "7",
                "managedFields": [
                    { "manager": "kubectl-edit", "operation": "Update", "fieldsV1": {} },
                    { "manager": "rouse-controller", "operation": "Apply", "subresource": "status",
                      "fieldsV1": { "f:status": {} } },
                    { "manager": "rouse-controller", "operation": "Apply", "fieldsV1": applied },
                ],
            },
        }),
    );
    merge(&mut object, changes);
    let metadata: ObjectMeta = serde_json::from_value(object["metadata"].clone()).unwrap();
    ScaledObject::read(&metadata, &object["spec"], &Value::Null)
}

/// As an API server notes the fields of such an apply.
fn fields() -> Value {
    json!({
        "f:metadata": { "f:ownerReferences": { "k:{\"uid\":\"uid-a-one\"}": {} } },
        "f:spec": {
            "f:advanced": { "f:restoreToOriginalReplicaCount": {} },
            "f:cooldownPeriod": {},
            "f:maxReplicaCount": {},
            "f:minReplicaCount": {},
            "f:pollingInterval": {},
            "f:scaleTargetRef": { "f:apiVersion": {}, "f:kind": {}, "f:name": {} },
            "f:triggers": {},
        },
    })
}

#[test]
fn the_scaled_object_is_what_the_add_on_makes() {
    let spec = json!({
        "replicas": { "min": 1, "max": 5 },
        "scaledownPeriod": 60,
        "initialCooldownPeriod": 20,
        "scaleTargetRef": { "kind": "StatefulSet" },
    });
    let mut route = http_scaled_object("a/one", 1, &spec);
    route.labels.insert("team".to_owned(), "chat".to_owned());
    route.annotations.insert("note".to_owned(), "kept".to_owned());
    for left_out in [
        "kubectl.kubernetes.io/last-applied-configuration",
        "rouse.dev/applied",
    ] {
        route.annotations.insert(left_out.to_owned(), "{}".to_owned());
    }
    assert_eq!(
        desired(&route, &scaler()).unwrap(),
        json!({
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {
                "name": "one",
                "namespace": "a",
                "labels": { "team": "chat" },
                "annotations": { "note": "kept" },
                "ownerReferences": [{
                    "apiVersion": "http.keda.sh/v1alpha1", "kind": "HTTPScaledObject", "name": "one",
                    "uid": "uid-a-one", "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "spec": {
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "app" },
                "pollingInterval": 15,
                "cooldownPeriod": 60,
                "initialCooldownPeriod": 20,
                "minReplicaCount": 1,
                "maxReplicaCount": 5,
                "advanced": { "restoreToOriginalReplicaCount": true },
                "triggers": [{ "type": "external-push", "metadata": {
                    "scalerAddress": "keda-add-ons-http-external-scaler.keda:9090",
                    "httpScaledObject": "one",
                } }],
            },
        })
    );
}

#[test]
fn what_is_not_said_has_its_default() {
    let desired = desired(&http_scaled_object("a/one", 1, &json!({})), &scaler()).unwrap();
    let spec = &desired["spec"];
    assert_eq!(
        (
            &spec["minReplicaCount"],
            &spec["maxReplicaCount"],
            &spec["cooldownPeriod"]
        ),
        (&json!(0), &json!(100), &json!(300))
    );
    assert_eq!(
        spec["scaleTargetRef"],
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "app" })
    );
    assert!(spec["initialCooldownPeriod"].is_null());
    assert!(desired["metadata"]["labels"].is_null());
}

#[test]
fn what_was_applied_is_not_applied_again_whatever_others_have_added() {
    let desired = desired(&http_scaled_object("a/one", 1, &json!({})), &scaler()).unwrap();
    assert!(is_applied(&desired, &live(&desired, &fields(), &json!({}))));
    let of_others = json!({
        "metadata": { "labels": { "mine": "1" }, "annotations": { "autoscaling.keda.sh/paused": "true" } },
        "spec": {
            "idleReplicaCount": 0,
            "fallback": { "failureThreshold": 3, "replicas": 1 },
            "advanced": { "horizontalPodAutoscalerConfig": { "name": "mine" } },
        },
    });
    assert!(is_applied(&desired, &live(&desired, &fields(), &of_others)));
}

#[test]
fn what_differs_in_a_field_of_rouses_is_applied_again() {
    let desired = desired(&http_scaled_object("a/one", 1, &json!({})), &scaler()).unwrap();
    for changes in [
        json!({ "spec": { "maxReplicaCount": 7 } }),
        json!({ "spec": { "advanced": { "restoreToOriginalReplicaCount": false } } }),
        json!({ "spec": { "cooldownPeriod": null } }),
        json!({ "spec": { "triggers": [] } }),
        json!({ "metadata": { "ownerReferences": [] } }),
    ] {
        assert!(
            !is_applied(&desired, &live(&desired, &fields(), &changes)),
            "{changes}"
        );
    }
}

#[test]
fn a_field_that_is_applied_no_more_is_taken_away() {
    let desired = desired(&http_scaled_object("a/one", 1, &json!({})), &scaler()).unwrap();
    for more in [
        json!({ "f:metadata": { "f:labels": { "f:team": {} } } }),
        json!({ "f:spec": { "f:initialCooldownPeriod": {} } }),
        json!({ "f:metadata": { "f:ownerReferences": { "k:{\"uid\":\"other\"}": {} } } }),
    ] {
        let mut applied = fields();
        merge(&mut applied, &more);
        assert!(
            !is_applied(&desired, &live(&desired, &applied, &json!({}))),
            "{more}"
        );
    }
}

#[test]
fn a_value_that_is_right_and_in_other_hands_is_applied() {
    let desired = desired(&http_scaled_object("a/one", 1, &json!({})), &scaler()).unwrap();
    let mut applied = fields();
    applied["f:spec"]
        .as_object_mut()
        .unwrap()
        .remove("f:cooldownPeriod");
    assert!(!is_applied(&desired, &live(&desired, &applied, &json!({}))));
    let nobodys = live(
        &desired,
        &fields(),
        &json!({ "metadata": { "managedFields": [] } }),
    );
    assert!(!is_applied(&desired, &nobodys));
}

fn metadata(managers: &Value) -> ObjectMeta {
    serde_json::from_value(json!({ "managedFields": managers })).unwrap()
}

fn operator() -> Value {
    json!({
        "manager": "operator", "operation": "Update", "apiVersion": "keda.sh/v1alpha1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": { "f:ownerReferences": { ".": {}, "k:{\"uid\":\"uid-a-one\"}": {} } },
            "f:spec": { "f:triggers": {} },
        },
    })
}

fn keda() -> Value {
    json!({
        "manager": "keda", "operation": "Update", "subresource": "status",
        "fieldsV1": { "f:status": {} },
    })
}

#[test]
fn what_the_operator_wrote_becomes_rouses() {
    let entries = taken_over(&metadata(&json!([keda(), operator()])), "uid-a-one").unwrap();
    let names: Vec<_> = entries
        .iter()
        .map(|entry| (entry.manager.as_deref(), entry.operation.as_deref()))
        .collect();
    assert_eq!(
        names,
        [
            (Some("keda"), Some("Update")),
            (Some("rouse-controller"), Some("Apply"))
        ]
    );
}

#[test]
fn what_users_wrote_stays_theirs() {
    let by_hand = json!({ "manager": "kubectl-edit", "operation": "Update", "fieldsV1": { "f:spec": { "f:fallback": {} } } });
    assert_eq!(
        taken_over(&metadata(&json!([keda(), by_hand])), "uid-a-one"),
        None
    );
    assert_eq!(taken_over(&metadata(&json!([operator()])), "another-uid"), None);
    let ours = json!({ "manager": "rouse-controller", "operation": "Apply", "fieldsV1": {} });
    assert_eq!(
        taken_over(&metadata(&json!([operator(), ours])), "uid-a-one"),
        None
    );
}
