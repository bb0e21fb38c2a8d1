//! A cluster that lacks something, or says no.

use rouse_fake_api_server::Fault;

use crate::support::{add_tenant, cluster, condition, scaled_object, start, start_leader, until, writes};

#[tokio::test]
async fn without_keda_the_status_says_so_until_it_appears() {
    let server = cluster().await;
    server.remove_group("keda.sh");
    let app = start_leader(&server).await;
    assert!(app.readiness().is_ready());
    add_tenant(&server, "default", "chatbot");
    until(&server, "default", "chatbot", "Ready", "False KedaMissing").await;
    assert!(
        writes(&server)
            .iter()
            .all(|write| write.resource != "scaledobjects")
    );
    server.add_group("keda.sh");
    until(&server, "default", "chatbot", "Ready", "True Reconciled").await;
    assert!(scaled_object(&server, "default", "chatbot").is_some());
    app.stop().await;
}

#[tokio::test]
async fn keda_that_goes_is_noticed_with_the_next_write() {
    let server = cluster().await;
    let app = start_leader(&server).await;
    add_tenant(&server, "default", "first");
    until(&server, "default", "first", "Ready", "True Reconciled").await;
    server.remove_group("keda.sh");
    add_tenant(&server, "default", "second");
    until(&server, "default", "second", "Ready", "False KedaMissing").await;
    server.add_group("keda.sh");
    until(&server, "default", "second", "Ready", "True Reconciled").await;
    app.stop().await;
}

#[tokio::test]
async fn without_rouses_own_definitions_it_waits_and_then_serves() {
    let server = cluster().await;
    server.remove_group("http.keda.sh");
    let app = start(&server).await;
    let text = || app.readiness().report().to_string();
    server
        .wait_for_requests(rouse_fake_api_server::Verb::List, "httpscaledobjects", 1)
        .await;
    assert!(!app.readiness().is_ready());
    assert!(text().contains("HTTPScaledObject"), "{}", text());
    server.add_group("http.keda.sh");
    app.readiness().ready().await;
    add_tenant(&server, "default", "chatbot");
    until(&server, "default", "chatbot", "Ready", "True Reconciled").await;
    app.stop().await;
}

#[tokio::test]
async fn a_webhook_that_refuses_is_told_in_its_words_and_asked_again_with_patience() {
    let server = cluster().await;
    server.inject(
        Fault::deny("vscaledobject.kb.io", "not on a Sunday")
            .on("scaledobjects")
            .on_writes()
            .times(3),
    );
    let app = start_leader(&server).await;
    add_tenant(&server, "default", "chatbot");
    until(&server, "default", "chatbot", "Ready", "False CreateError").await;
    let object = server
        .get_json("httpscaledobjects", "default", "chatbot")
        .unwrap();
    let message = object["status"]["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("not on a Sunday"), "{message}");
    until(&server, "default", "chatbot", "Ready", "True Reconciled").await;
    let attempts = writes(&server)
        .iter()
        .filter(|write| write.resource == "scaledobjects")
        .count();
    assert_eq!(attempts, 4, "three that were refused and one that was not");
    app.stop().await;
}

#[tokio::test]
async fn an_api_server_in_trouble_is_not_the_objects_fault() {
    let server = cluster().await;
    let app = start_leader(&server).await;
    server.inject(Fault::status(503).on("scaledobjects").on_writes().times(1));
    add_tenant(&server, "default", "chatbot");
    server
        .eventually("the ScaledObject is written", |server| {
            scaled_object(server, "default", "chatbot").is_some()
        })
        .await;
    until(&server, "default", "chatbot", "Ready", "True Reconciled").await;
    assert_ne!(
        condition(&server, "default", "chatbot", "ScalerReady"),
        "False CreateError"
    );
    app.stop().await;
}
