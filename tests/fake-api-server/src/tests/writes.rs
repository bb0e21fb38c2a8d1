//! Conflicts, server-side apply, subresources, finalizers and owners.

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v1::Scale,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Namespace},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::json;

use super::{apply_as, code, deployment, page, server_and_client};

#[tokio::test]
async fn applying_the_same_twice_is_one_change() {
    let (server, client) = server_and_client().await;
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "page", "labels": {"a": "1"}}, "data": {"x": "1"},
    });
    let first = apply_as(&client, "one", object.clone()).await.expect("created");
    let second = apply_as(&client, "one", object).await.expect("applied");
    assert_eq!(first.resource_version(), second.resource_version());
    assert_eq!(server.writes().len(), 2);
    let changes = server.changes();
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].code, changes[0].field_manager.as_str()), (201, "one"));
}

#[tokio::test]
async fn a_field_that_its_manager_no_longer_applies_goes() {
    let (_server, client) = server_and_client().await;
    let object = |data: serde_json::Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "page"}, "data": data});
    apply_as(&client, "one", object(json!({"a": "1", "b": "1"})))
        .await
        .expect("applied");
    apply_as(&client, "two", object(json!({"c": "2", "b": "1"})))
        .await
        .expect("applied beside it");
    let rest = apply_as(&client, "one", object(json!({"a": "2"})))
        .await
        .expect("applied");
    let data = rest.data.clone().expect("data");
    // b stays: the other manager applies it too.
    assert_eq!(
        serde_json::to_value(&data).expect("json"),
        json!({"a": "2", "b": "1", "c": "2"})
    );
    let none = apply_as(
        &client,
        "one",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "page"}}),
    );
    let data = none.await.expect("applied").data.expect("data");
    assert_eq!(
        serde_json::to_value(&data).expect("json"),
        json!({"b": "1", "c": "2"})
    );
}

#[tokio::test]
async fn a_field_of_another_manager_conflicts_unless_forced() {
    let (_server, client) = server_and_client().await;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "team");
    api.create(
        &PostParams {
            field_manager: Some("creator".to_owned()),
            ..PostParams::default()
        },
        &page("page", "1"),
    )
    .await
    .expect("created");
    let object = |text: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "page"}, "data": {"text": text}});
    apply_as(&client, "one", object("1"))
        .await
        .expect("the same value is no conflict");
    let error = apply_as(&client, "one", object("2"))
        .await
        .expect_err("a conflict");
    assert_eq!(code(&error), 409);
    assert!(error.to_string().contains("creator"), "names the owner: {error}");
    let forced = api
        .patch(
            "page",
            &PatchParams::apply("one").force(),
            &Patch::Apply(object("2")),
        )
        .await;
    assert_eq!(forced.expect("forced").data.expect("data")["text"], "2");
    // Now it is ours alone.
    apply_as(&client, "one", object("3"))
        .await
        .expect("no conflict any longer");
}

#[tokio::test]
async fn conditions_of_two_managers_merge_by_type() {
    let (server, client) = server_and_client().await;
    server.apply(&deployment("app", 1));
    let api: Api<Deployment> = Api::namespaced(client, "team");
    let status = |manager: &'static str, conditions: serde_json::Value| {
        let api = api.clone();
        let patch = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}, "status": {"conditions": conditions},
        });
        async move {
            api.patch_status("app", &PatchParams::apply(manager), &Patch::Apply(patch))
                .await
        }
    };
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status});
    status(
        "one",
        json!([condition("Ready", "True"), condition("Good", "True")]),
    )
    .await
    .expect("applied");
    status("two", json!([condition("Waiting", "True")]))
        .await
        .expect("applied");
    let both = status("one", json!([condition("Ready", "False")]))
        .await
        .expect("applied");
    let conditions = both
        .status
        .clone()
        .expect("status")
        .conditions
        .expect("conditions");
    let mut seen: Vec<_> = conditions
        .iter()
        .map(|one| (one.type_.as_str(), one.status.as_str()))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [("Ready", "False"), ("Waiting", "True")]);
    assert_eq!(
        both.metadata.generation,
        Some(1),
        "a status does not count as a change of the object"
    );
    let before = both.resource_version();
    let same = status("one", json!([condition("Ready", "False")]))
        .await
        .expect("applied");
    assert_eq!(before, same.resource_version());
}

#[tokio::test]
async fn the_main_path_leaves_the_status_alone_and_counts_generations() {
    let (server, client) = server_and_client().await;
    let mut with_status = serde_json::to_value(deployment("app", 1)).expect("json");
    with_status["apiVersion"] = json!("apps/v1");
    with_status["kind"] = json!("Deployment");
    with_status["status"] = json!({"replicas": 1});
    server.apply_json(with_status);
    let api: Api<Deployment> = Api::namespaced(client, "team");
    let patch = Patch::Merge(json!({"spec": {"replicas": 3}, "status": {"replicas": 9}}));
    let changed = api
        .patch("app", &PatchParams::default(), &patch)
        .await
        .expect("patched");
    assert_eq!(changed.status.expect("status").replicas, Some(1));
    assert_eq!(changed.metadata.generation, Some(2));
}

#[tokio::test]
async fn an_update_of_an_old_version_conflicts() {
    let (_server, client) = server_and_client().await;
    let api: Api<Lease> = Api::namespaced(client, "team");
    let lease: Lease = serde_json::from_value(json!({
        "metadata": {"name": "leader"}, "spec": {"holderIdentity": "a"},
    }))
    .expect("a Lease");
    let mut mine = api.create(&PostParams::default(), &lease).await.expect("created");
    let error = api
        .create(&PostParams::default(), &lease)
        .await
        .expect_err("it exists");
    assert_eq!(code(&error), 409);
    let mut theirs = mine.clone();
    theirs.spec.as_mut().expect("spec").holder_identity = Some("b".to_owned());
    api.replace("leader", &PostParams::default(), &theirs)
        .await
        .expect("first come");
    mine.spec.as_mut().expect("spec").holder_identity = Some("c".to_owned());
    let error = api
        .replace("leader", &PostParams::default(), &mine)
        .await
        .expect_err("second");
    assert_eq!(code(&error), 409);
    let error = api
        .replace("leader", &PostParams::default(), &lease)
        .await
        .expect_err("no version");
    assert_eq!(code(&error), 422);
}

#[tokio::test]
async fn scale_changes_the_replicas_with_a_precondition() {
    let (server, client) = server_and_client().await;
    server.apply(&deployment("app", 0));
    let api: Api<Deployment> = Api::namespaced(client, "team");
    let before = api.get_scale("app").await.expect("a scale");
    assert_eq!(
        before.spec.clone().expect("spec").replicas,
        None,
        "a zero is left out"
    );
    assert_eq!(
        before.status.expect("status").selector.as_deref(),
        Some("app=app")
    );
    let to = |replicas: i32, version: &Option<String>| {
        Patch::Merge(json!({"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}))
    };
    let version = before.metadata.resource_version;
    let after: Scale = api
        .patch_scale("app", &PatchParams::default(), &to(1, &version))
        .await
        .expect("scaled");
    assert_eq!(after.spec.expect("spec").replicas, Some(1));
    let error = api
        .patch_scale("app", &PatchParams::default(), &to(2, &version))
        .await
        .expect_err("old");
    assert_eq!(code(&error), 409);
    let app: Deployment = server.get("team", "app").expect("the deployment");
    assert_eq!(app.spec.expect("spec").replicas, Some(1));
}

#[tokio::test]
async fn a_finalizer_holds_an_object_until_it_is_taken_off() {
    let (server, client) = server_and_client().await;
    let mut held = page("page", "1");
    held.metadata.finalizers = Some(vec!["http.keda.sh/hold".to_owned()]);
    server.apply(&held);
    let api: Api<ConfigMap> = Api::namespaced(client, "team");
    let answer = api
        .delete("page", &DeleteParams::default())
        .await
        .expect("deleted");
    assert!(
        answer
            .left()
            .expect("the object")
            .metadata
            .deletion_timestamp
            .is_some()
    );
    assert!(server.get::<ConfigMap>("team", "page").is_some());
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("page", &PatchParams::default(), &patch)
        .await
        .expect("patched");
    assert!(server.get::<ConfigMap>("team", "page").is_none());
}

#[tokio::test]
async fn what_an_owner_leaves_goes_with_it() {
    let (server, client) = server_and_client().await;
    let owner = server.apply(&page("owner", ""));
    let mut owned = page("owned", "");
    owned.metadata.owner_references = serde_json::from_value(json!([
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid()},
    ]))
    .expect("references");
    server.apply(&owned);
    let api: Api<ConfigMap> = Api::namespaced(client, "team");
    let other = Preconditions {
        uid: Some("other".to_owned()),
        resource_version: None,
    };
    let only_other = DeleteParams::default().preconditions(other);
    assert_eq!(
        code(
            &api.delete("owner", &only_other)
                .await
                .expect_err("another object")
        ),
        409
    );
    api.delete("owner", &DeleteParams::orphan())
        .await
        .expect("deleted");
    let orphan: ConfigMap = server.get("team", "owned").expect("orphaned");
    assert!(orphan.owner_references().is_empty());

    let owner = server.apply(&page("owner", ""));
    owned.metadata.owner_references.as_mut().expect("references")[0].uid = owner.uid().expect("uid");
    server.apply(&owned);
    api.delete("owner", &DeleteParams::default())
        .await
        .expect("deleted");
    assert!(server.get::<ConfigMap>("team", "owned").is_none());
}

#[tokio::test]
async fn a_namespace_goes_with_all_that_is_in_it() {
    let (server, client) = server_and_client().await;
    let mut held = page("held", "");
    held.metadata.finalizers = Some(vec!["http.keda.sh/hold".to_owned()]);
    server.apply(&held);
    server.apply(&page("page", ""));
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .delete("team", &DeleteParams::default())
        .await
        .expect("deleted");
    assert!(server.get::<ConfigMap>("team", "page").is_none());
    assert!(
        server.get::<Namespace>("", "team").is_some(),
        "held by its last object"
    );
    let api: Api<ConfigMap> = Api::namespaced(client, "team");
    let error = api
        .create(&PostParams::default(), &page("new", ""))
        .await
        .expect_err("terminating");
    assert_eq!(code(&error), 403);
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("held", &PatchParams::default(), &patch)
        .await
        .expect("patched");
    assert!(server.get::<Namespace>("", "team").is_none());
    let error = api
        .create(&PostParams::default(), &page("new", ""))
        .await
        .expect_err("gone");
    assert_eq!(code(&error), 404);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let (server, client) = server_and_client().await;
    let api: Api<ConfigMap> = Api::namespaced(client, "team");
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    api.create(&dry, &page("page", ""))
        .await
        .expect("would be created");
    assert!(server.get::<ConfigMap>("team", "page").is_none());
    assert!(server.changes().is_empty());
}
