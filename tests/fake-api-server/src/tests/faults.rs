//! Faults on demand, and the log.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use tokio::time::{Instant, timeout};

use super::{code, page, server_and_client};
use crate::{FakeApiServer, Fault, Verb};

#[tokio::test]
async fn the_next_matching_requests_fail() {
    let (server, client) = server_and_client().await;
    server.inject(Fault::status(500).on("configmaps").verb(Verb::Create).times(2));
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "team");
    api.list(&ListParams::default()).await.expect("another verb");
    let deployments: Api<Deployment> = Api::namespaced(client, "team");
    deployments
        .list(&ListParams::default())
        .await
        .expect("another kind");
    for _ in 0..2 {
        let error = api
            .create(&PostParams::default(), &page("page", ""))
            .await
            .expect_err("a fault");
        assert_eq!(code(&error), 500);
    }
    api.create(&PostParams::default(), &page("page", ""))
        .await
        .expect("no fault is left");
    let codes: Vec<u16> = server.writes().iter().map(|write| write.code).collect();
    assert_eq!(codes, [500, 500, 201]);
    assert_eq!(server.changes().len(), 1);
}

#[tokio::test]
async fn a_webhook_denies_with_its_message() {
    let (server, client) = server_and_client().await;
    server.inject(
        Fault::deny("vscaledobject.kb.io", "the workload has a ScaledObject")
            .on_writes()
            .of("page"),
    );
    let api: Api<ConfigMap> = Api::namespaced(client, "team");
    let error = api
        .create(&PostParams::default(), &page("page", ""))
        .await
        .expect_err("denied");
    assert_eq!(code(&error), 403, "named in the body only: {error}");
    assert!(
        error.to_string().contains("the workload has a ScaledObject"),
        "{error}"
    );
}

#[tokio::test]
async fn a_lost_answer_leaves_the_change() {
    let (server, client) = server_and_client().await;
    server.inject(Fault::lose_answer().on_writes());
    let api: Api<ConfigMap> = Api::namespaced(client, "team");
    let error = api
        .create(&PostParams::default(), &page("page", ""))
        .await
        .expect_err("no answer");
    assert!(!matches!(error, kube::Error::Api(_)), "{error:?}");
    assert!(server.get::<ConfigMap>("team", "page").is_some());
}

#[tokio::test]
async fn refused_connections_come_back_at_the_same_address() {
    let (server, client) = server_and_client().await;
    let api: Api<ConfigMap> = Api::namespaced(client, "team");
    api.list(&ListParams::default()).await.expect("a list");
    server.refuse_connections();
    api.list(&ListParams::default()).await.expect_err("refused");
    server.accept_connections().await;
    api.list(&ListParams::default()).await.expect("a list again");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_answering_answers_later() {
    let server = FakeApiServer::start().await;
    let api: Api<ConfigMap> = Api::all(server.memory_client());
    server.stop_answering();
    let params = ListParams::default();
    let mut list = Box::pin(api.list(&params));
    assert!(timeout(Duration::from_mins(1), &mut list).await.is_err());
    server.resume();
    list.await.expect("answered");

    server.inject(Fault::delay(Duration::from_secs(3)).on("configmaps"));
    let started = Instant::now();
    api.list(&params).await.expect("answered");
    assert_eq!(started.elapsed().as_secs(), 3);

    server.refuse_connections();
    api.list(&params).await.expect_err("refused");
}
