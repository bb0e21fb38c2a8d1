//! Lists, selectors, metadata.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;

use super::{code, page, server_and_client};

#[tokio::test]
async fn a_list_comes_in_pages() {
    let (server, client) = server_and_client().await;
    for number in 0..5 {
        server.apply(&page(&format!("page-{number}"), ""));
    }
    let api: Api<ConfigMap> = Api::all(client);
    let mut params = ListParams::default().limit(2);
    let mut names = Vec::new();
    let mut versions = Vec::new();
    loop {
        let list = api.list(&params).await.expect("a page");
        names.extend(list.items.iter().map(ResourceExt::name_any));
        versions.push(list.metadata.resource_version.clone());
        // A change between pages does not move the version that a watch continues from.
        server.apply(&page("z", &names.len().to_string()));
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    assert_eq!(names, ["page-0", "page-1", "page-2", "page-3", "page-4", "z"]);
    assert!(
        versions.iter().all(|version| *version == versions[0]),
        "{versions:?}"
    );

    let first = api.list(&ListParams::default().limit(2)).await.expect("a page");
    server.compact();
    let next = ListParams::default()
        .limit(2)
        .continue_token(&first.metadata.continue_.expect("a token"));
    assert_eq!(code(&api.list(&next).await.expect_err("expired")), 410);
}

#[tokio::test]
async fn selectors_narrow_a_list() {
    let (server, client) = server_and_client().await;
    for (name, phase) in [("a", "Pending"), ("b", "Running"), ("c", "Pending")] {
        server.apply_json(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "team", "name": name, "labels": {"app": name, "tier": "web"}},
            "status": {"phase": phase},
        }));
    }
    let api: Api<Pod> = Api::all(client);
    let cases = [
        (ListParams::default().fields("status.phase=Pending"), "ac"),
        (ListParams::default().fields("status.phase!=Pending"), "b"),
        (
            ListParams::default().fields("metadata.name=b,metadata.namespace=team"),
            "b",
        ),
        (ListParams::default().labels("app in (a, b),tier=web"), "ab"),
        (ListParams::default().labels("app notin (a,b)"), "c"),
        (ListParams::default().labels("app"), "abc"),
        (ListParams::default().labels("!app"), ""),
        (ListParams::default().labels("tier!=web"), ""),
    ];
    for (params, expected) in cases {
        let found = api.list(&params).await.expect("a list");
        let names: String = found.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, expected, "{params:?}");
    }
}

#[tokio::test]
async fn metadata_comes_alone_when_asked_for_alone() {
    let (server, client) = server_and_client().await;
    server.apply(&page("page", "long"));
    let api: Api<ConfigMap> = Api::namespaced(client, "team");
    let one = api.get_metadata("page").await.expect("metadata");
    assert_eq!(one.labels()["app"], "page");
    let list = api.list_metadata(&ListParams::default()).await.expect("a list");
    assert_eq!(list.items.len(), 1);
    assert_eq!(list.items[0].name_any(), "page");
}
