//! The interceptor fed by watches of an API server, over real connections.

use std::{net::SocketAddr, time::Duration};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use rouse_api::HTTPScaledObject;
use rouse_fake_api_server::{FakeApiServer, Verb};
use rouse_interceptor::kubernetes::Source;
use rouse_kubernetes::Scope;
use serde_json::{Value, json};

use crate::support::{Client, Interceptor, Origin, Response, eventually};

/// An interceptor and the API server that it watches.
struct Cluster {
    api: FakeApiServer,
    interceptor: Interceptor,
    source: Source,
}

impl Cluster {
    async fn start(api: FakeApiServer, scope: &Scope) -> Self {
        let interceptor = Interceptor::start_unsynced(|_| {}).await;
        let source = Source::start(interceptor.app(), api.client(), scope);
        Self {
            api,
            interceptor,
            source,
        }
    }

    async fn ready(api: FakeApiServer) -> Self {
        let cluster = Self::start(api, &Scope::All).await;
        cluster.is_ready().await;
        cluster
    }

    #[track_caller]
    fn is_ready(&self) -> impl Future<Output = ()> {
        eventually("it is ready", async || self.interceptor.is_ready().await)
    }

    /// What `/readyz` says.
    async fn report(&self) -> Response {
        Client::connect(self.interceptor.admin).await.get("/readyz").await
    }

    /// The status of an answer for `host`, on a connection of its own.
    async fn get(&self, host: &str) -> u16 {
        let mut client = self.interceptor.client().await;
        client
            .send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"))
            .await;
        client.response().await.status
    }

    #[track_caller]
    fn answers(&self, host: &'static str, status: u16) -> impl Future<Output = ()> {
        eventually("the host answers so", async move || {
            self.get(host).await == status
        })
    }

    async fn stop(self) {
        self.interceptor.stop().await;
        self.source.stop().await;
    }
}

/// A route for `NAME.NAMESPACE.test` to the Service of its name.
fn route(namespace: &str, name: &str, status: &Value) -> Value {
    json!({
        "apiVersion": "http.keda.sh/v1alpha1",
        "kind": "HTTPScaledObject",
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "hosts": [format!("{name}.{namespace}.test")],
            "scaleTargetRef": { "name": name, "service": name, "port": 80 },
        },
        "status": status,
    })
}

fn service(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": namespace, "name": name },
        "spec": { "ports": [{ "name": "http", "port": 80 }] },
    })
}

fn slice(namespace: &str, name: &str, addr: SocketAddr) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": format!("{name}-1"),
            "labels": { "kubernetes.io/service-name": name },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": addr.port() }],
        "endpoints": [{ "addresses": [addr.ip().to_string()], "conditions": { "ready": true } }],
    })
}

/// A route with its Service and one endpoint.
fn serve(api: &FakeApiServer, namespace: &str, name: &str, addr: SocketAddr) {
    api.apply_json(service(namespace, name));
    api.apply_json(slice(namespace, name, addr));
    api.apply_json(route(namespace, name, &json!({})));
}

#[tokio::test]
async fn objects_of_the_api_server_are_served_and_their_changes_followed() {
    let api = FakeApiServer::start().await;
    let origin = Origin::hello();
    serve(&api, "shop", "web", origin.addr);
    let cluster = Cluster::ready(api).await;
    assert_eq!(cluster.get("web.shop.test").await, 200);

    serve(&cluster.api, "shop", "later", origin.addr);
    cluster.answers("later.shop.test", 200).await;
    cluster.api.delete::<HTTPScaledObject>("shop", "later");
    cluster.answers("later.shop.test", 404).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_held_request_goes_when_its_endpoint_slice_comes() {
    let api = FakeApiServer::start().await;
    api.apply_json(service("shop", "web"));
    api.apply_json(route("shop", "web", &json!({})));
    let cluster = Cluster::ready(api).await;
    let mut client = cluster.interceptor.client().await;
    client.send("GET / HTTP/1.1\r\nhost: web.shop.test\r\n\r\n").await;
    cluster.interceptor.has_requests("web", 1).await;
    let origin = Origin::hello();
    cluster.api.apply_json(slice("shop", "web", origin.addr));
    assert_eq!(client.response().await.status, 200);
    cluster.stop().await;
}

#[tokio::test]
async fn it_is_not_ready_while_the_definition_is_missing_and_says_which() {
    let api = FakeApiServer::start().await;
    api.remove_group("http.keda.sh");
    let cluster = Cluster::start(api, &Scope::All).await;
    eventually("what is missing is named", async || {
        let report = cluster.report().await;
        assert_eq!(report.status, 503);
        report
            .text()
            .contains("the cluster has no httpscaledobjects.http.keda.sh/v1alpha1")
    })
    .await;
    let origin = Origin::hello();
    cluster.api.add_group("http.keda.sh");
    serve(&cluster.api, "shop", "web", origin.addr);
    cluster.is_ready().await;
    cluster.answers("web.shop.test", 200).await;
    cluster.stop().await;
}

#[tokio::test]
async fn while_the_api_server_is_away_everything_is_served_on() {
    let api = FakeApiServer::start().await;
    let origin = Origin::hello();
    serve(&api, "shop", "web", origin.addr);
    serve(&api, "shop", "gone", origin.addr);
    let cluster = Cluster::ready(api).await;
    cluster.api.refuse_connections();
    eventually("it is degraded", async || {
        assert_eq!(cluster.get("web.shop.test").await, 200);
        let report = cluster.report().await;
        assert_eq!(report.status, 200, "{}", report.text());
        report.text().starts_with("ready; degraded: ") && report.text().contains("HTTPScaledObject")
    })
    .await;

    // What changes meanwhile is taken over afterwards, deletions too.
    cluster.api.delete::<HTTPScaledObject>("shop", "gone");
    cluster.api.delete::<EndpointSlice>("shop", "gone-1");
    cluster.api.delete::<Service>("shop", "gone");
    serve(&cluster.api, "shop", "new", origin.addr);
    cluster.api.compact();
    assert_eq!(cluster.get("gone.shop.test").await, 200, "the last that is known");
    cluster.api.accept_connections().await;
    cluster.answers("new.shop.test", 200).await;
    cluster.answers("gone.shop.test", 404).await;
    eventually("it is well", async || cluster.report().await.text() == "ready\n").await;
    assert_eq!(cluster.get("web.shop.test").await, 200);
    cluster.stop().await;
}

#[tokio::test]
async fn one_bad_object_takes_no_other_with_it() {
    let api = FakeApiServer::start().await;
    let origin = Origin::hello();
    let mut bad = route("shop", "bad", &json!({}));
    bad["spec"]["timeouts"] = json!({ "conditionWait": "soon" });
    api.apply_json(bad);
    serve(&api, "shop", "web", origin.addr);
    let cluster = Cluster::ready(api).await;
    assert_eq!(cluster.get("web.shop.test").await, 200);
    assert_eq!(cluster.get("bad.shop.test").await, 404);
    serve(&cluster.api, "shop", "bad", origin.addr);
    cluster.answers("bad.shop.test", 200).await;
    cluster.stop().await;
}

#[tokio::test]
async fn only_the_namespaces_in_scope_are_served() {
    let api = FakeApiServer::start().await;
    let origin = Origin::hello();
    serve(&api, "ours", "web", origin.addr);
    serve(&api, "theirs", "web", origin.addr);
    let scope = Scope::Namespaces(vec!["ours".to_owned()]);
    let cluster = Cluster::start(api, &scope).await;
    cluster.is_ready().await;
    assert_eq!(cluster.get("web.ours.test").await, 200);
    assert_eq!(cluster.get("web.theirs.test").await, 404);
    let elsewhere = cluster.api.requests();
    let elsewhere = elsewhere.iter().filter(|request| request.namespace != "ours");
    assert_eq!(elsewhere.count(), 0, "it needs no right to look elsewhere");
    cluster.stop().await;
}

#[tokio::test]
async fn a_status_that_says_that_a_node_is_waited_for_lengthens_the_hold() {
    let waiting = json!({ "conditions": [{
        "type": "WaitingForNode",
        "status": "True",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }] });
    let api = FakeApiServer::start().await;
    api.apply_json(service("shop", "web"));
    api.apply_json(route("shop", "web", &json!({})));
    let interceptor = Interceptor::start_unsynced(|args| {
        args.readiness_timeout = Some(Duration::from_millis(50));
    })
    .await;
    let source = Source::start(interceptor.app(), api.client(), &Scope::All);
    eventually("it is ready", async || interceptor.is_ready().await).await;
    let request = "GET / HTTP/1.1\r\nhost: web.shop.test\r\n\r\n";
    let mut client = interceptor.client().await;
    client.send(request).await;
    assert_eq!(client.response().await.status, 504);

    api.apply_json(route("shop", "web", &waiting));
    eventually("one is held for longer", async || {
        let mut client = interceptor.client().await;
        client.send(request).await;
        tokio::select! {
            response = client.response() => { assert_eq!(response.status, 504); false }
            () = tokio::time::sleep(Duration::from_secs(1)) => true,
        }
    })
    .await;
    interceptor.stop_now();
    source.stop().await;
}

#[tokio::test]
async fn watches_end_with_their_source() {
    let api = FakeApiServer::start().await;
    let cluster = Cluster::ready(api.clone()).await;
    api.wait_for_requests(Verb::Watch, "services", 1).await;
    cluster.stop().await;
    for plural in [
        "httpscaledobjects",
        "interceptorroutes",
        "services",
        "endpointslices",
    ] {
        api.eventually("its watch is closed", |api| api.open_watches(plural) == 0)
            .await;
    }
}
