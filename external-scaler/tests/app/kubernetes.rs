//! The scaler fed by watches of an API server, over real connections.

use std::net::SocketAddr;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use rouse_api::HTTPScaledObject;
use rouse_external_scaler::{App, kubernetes::Source};
use rouse_fake_api_server::FakeApiServer;
use rouse_kubernetes::{Scope, peers::PeerService};
use serde_json::json;
use tonic::Code;

use crate::support::{
    FakeInterceptor, eventually, held, httpso, idle, keda, ready, scaled_object, start_scaler,
};

const SERVICE: &str = "keda-add-ons-http-interceptor-admin";

fn service() -> PeerService {
    PeerService {
        namespace: "keda".to_owned(),
        name: SERVICE.to_owned(),
        port: None,
    }
}

async fn start(api: &FakeApiServer) -> (App, Source) {
    let app = start_scaler().await;
    let source = Source::start(&app, api.client(), &Scope::All, Some(&service()));
    (app, source)
}

/// One interceptor of the admin Service. Each has a port of its own, so each is a slice of its own.
fn list(api: &FakeApiServer, addr: SocketAddr, is_draining: bool) {
    api.apply_json(json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": "keda",
            "name": format!("admin-{}", addr.port()),
            "labels": { "kubernetes.io/service-name": SERVICE },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "admin", "port": addr.port() }],
        "endpoints": [{
            "addresses": [addr.ip().to_string()],
            "conditions": { "ready": !is_draining, "serving": !is_draining, "terminating": is_draining },
            "targetRef": { "kind": "Pod", "name": format!("interceptor-{}", addr.port()) },
        }],
    }));
}

#[track_caller]
fn is_ready(app: &App) -> impl Future<Output = ()> {
    let readiness = app.readiness();
    eventually("it is ready", move || std::future::ready(readiness.is_ready()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_and_interceptors_of_the_api_server_are_taken_up() {
    let api = FakeApiServer::start().await;
    let interceptor = FakeInterceptor::start(1).await;
    interceptor.set_full(vec![held("web", 3)], vec![ready("web", 0)]);
    list(&api, interceptor.addr, false);
    api.apply(&httpso("web"));
    let (app, source) = start(&api).await;
    is_ready(&app).await;
    let mut client = keda(&app).await;
    let answer = client.is_active(scaled_object("web")).await.expect("an answer");
    assert!(answer.into_inner().result);
    assert_eq!(
        client.is_active(scaled_object("other")).await.unwrap_err().code(),
        Code::NotFound
    );

    api.apply(&httpso("other"));
    eventually("the new object is known", || {
        let mut client = client.clone();
        async move { client.get_metric_spec(scaled_object("other")).await.is_ok() }
    })
    .await;
    api.delete::<HTTPScaledObject>("team", "other");
    eventually("the deleted one is not", || {
        let mut client = client.clone();
        async move { client.get_metric_spec(scaled_object("other")).await.is_err() }
    })
    .await;
    app.drain().await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_interceptor_counts_and_one_that_comes_later_too() {
    let api = FakeApiServer::start().await;
    let (draining, later) = (FakeInterceptor::start(1).await, FakeInterceptor::start(2).await);
    draining.set_full(vec![held("web", 3)], vec![ready("web", 1)]);
    later.set_full(vec![idle("web")], vec![ready("web", 1)]);
    list(&api, draining.addr, true);
    api.apply(&httpso("web"));
    let (app, source) = start(&api).await;
    is_ready(&app).await;
    let client = keda(&app).await;
    let active = || {
        let mut client = client.clone();
        async move {
            let answer = client.is_active(scaled_object("web")).await;
            answer.is_ok_and(|answer| answer.into_inner().result)
        }
    };
    eventually("the draining one's requests count", active).await;
    list(&api, later.addr, false);
    eventually("the later one is heard", || {
        std::future::ready(later.streams() > 0)
    })
    .await;
    api.delete::<EndpointSlice>("keda", &format!("admin-{}", draining.addr.port()));
    assert!(active().await, "it counts until its stream ends");
    app.drain().await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_api_server_it_is_not_ready_and_once_ready_it_stays() {
    let api = FakeApiServer::start().await;
    let interceptor = FakeInterceptor::start(1).await;
    interceptor.set_full(vec![held("web", 1)], vec![ready("web", 0)]);
    list(&api, interceptor.addr, false);
    api.apply(&httpso("web"));
    api.refuse_connections();
    let (app, source) = start(&api).await;
    let readiness = app.readiness();
    eventually("it says what it waits for", || {
        let report = readiness.report().to_string();
        std::future::ready(
            report.starts_with("waiting for ")
                && report.contains("EndpointSlice")
                && report.contains("no answer from the API server"),
        )
    })
    .await;
    api.accept_connections().await;
    is_ready(&app).await;
    api.refuse_connections();
    eventually("it is degraded", || {
        std::future::ready(readiness.report().to_string().starts_with("ready; degraded: "))
    })
    .await;
    let mut client = keda(&app).await;
    let answer = client.is_active(scaled_object("web")).await.expect("an answer");
    assert!(answer.into_inner().result, "it answers from what it knows");
    app.drain().await;
    source.stop().await;
}
