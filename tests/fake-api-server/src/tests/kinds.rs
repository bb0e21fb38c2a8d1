//! Kinds that come and go, and discovery.

use k8s_openapi::{
    api::core::v1::ConfigMap, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
    discovery::Discovery,
};
use serde_json::json;

use super::{code, server_and_client};

#[tokio::test]
async fn a_kind_answers_404_until_its_definition_comes() {
    let (server, client) = server_and_client().await;
    server.remove_group("keda.sh");
    let kind = GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject");
    let api: Api<DynamicObject> = Api::all_with(
        client.clone(),
        &ApiResource::from_gvk_with_plural(&kind, "scaledobjects"),
    );
    assert_eq!(
        code(&api.list(&ListParams::default()).await.expect_err("unknown")),
        404
    );
    server.apply_json(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "scaledobjects.keda.sh"},
        "spec": {
            "group": "keda.sh", "scope": "Namespaced", "names": {"kind": "ScaledObject", "plural": "scaledobjects"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {}, "subresources": {"status": {}}}],
        },
    }));
    api.list(&ListParams::default()).await.expect("known");
    server.remove_kind("scaledobjects");
    assert_eq!(
        code(&api.list(&ListParams::default()).await.expect_err("unknown again")),
        404
    );
    let left: Option<CustomResourceDefinition> = server.get("", "scaledobjects.keda.sh");
    assert!(left.is_none());
    server.add_group("keda.sh");
    api.list(&ListParams::default()).await.expect("known again");
}

#[tokio::test]
async fn discovery_names_the_kinds() {
    let (server, client) = server_and_client().await;
    let discovery = Discovery::new(client.clone()).run().await.expect("discovered");
    let group = discovery.get("gateway.networking.k8s.io").expect("the group");
    assert!(group.recommended_kind("HTTPRoute").is_some());
    server.remove_group("gateway.networking.k8s.io");
    let discovery = Discovery::new(client.clone()).run().await.expect("discovered");
    assert!(!discovery.has_group("gateway.networking.k8s.io"));
    assert_eq!(client.apiserver_version().await.expect("a version").minor, "33");
}

#[tokio::test]
async fn a_watch_ends_with_its_kind() {
    let (server, client) = server_and_client().await;
    let api: Api<ConfigMap> = Api::all(client);
    let _stream = api
        .watch(&kube::api::WatchParams::default(), "0")
        .await
        .expect("a watch");
    server.wait_for_watches("configmaps", 1).await;
    server.remove_kind("configmaps");
    server
        .eventually("the watch is over", |server| {
            server.open_watches("configmaps") == 0
        })
        .await;
}
