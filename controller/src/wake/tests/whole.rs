//! The whole controller, from the objects in the cluster.

use std::net::{IpAddr, Ipv4Addr};

use clap::Parser;
use rouse_fake_api_server::FakeApiServer;

use super::*;
use crate::{App, Args, Config};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

#[tokio::test]
async fn a_controller_wakes_and_says_that_the_pod_waits_for_a_node() {
    let interceptor = interceptor(1, 1).await;
    let server = cluster(&interceptor).await;
    let cli = Cli::try_parse_from(["controller", "--port=0", "--bind-address=127.0.0.1"]).expect("options");
    let config = Config::new(cli.args, "keda").expect("settings");
    let app = App::start(config, server.client()).await.expect("started");

    server
        .eventually("the workload is scaled", |server| {
            let app: Deployment = server.get("team", "app").expect("the Deployment");
            app.spec.expect("a spec").replicas == Some(1)
        })
        .await;
    // The ScaledObject is made by the same controller; the pod that the wake makes fits on no node.
    server.apply_json(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "team", "name": "app-1", "labels": {"app": "app"}},
        "status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"},
        ]},
    }));
    let waiting = |server: &FakeApiServer| {
        let route = server
            .get_json("httpscaledobjects", "team", "app")
            .expect("the route");
        let conditions = route["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions
            .into_iter()
            .find(|condition| condition["type"] == "WaitingForNode")
    };
    server
        .eventually("the route says so", |server| waiting(server).is_some())
        .await;
    let condition = waiting(&server).expect("the condition");
    assert_eq!(
        (&condition["status"], &condition["reason"]),
        (&json!("True"), &json!("Unschedulable"))
    );
    assert_eq!(condition["message"], "pod app-1: 0/1 nodes are available");
    server.delete::<v1::Pod>("team", "app-1");
    server
        .eventually("it says so no longer", |server| waiting(server).is_none())
        .await;
    app.stop().await;
}

/// The user's objects, without KEDA to act on them, and the interceptor behind the admin Service.
async fn cluster(interceptor: &FakeInterceptor) -> FakeApiServer {
    let server = FakeApiServer::start().await;
    let (ip, port) = (interceptor.addr.ip(), interceptor.addr.port());
    assert_eq!(ip, IpAddr::V4(Ipv4Addr::LOCALHOST));
    let objects = [
        json!({
            "apiVersion": "http.keda.sh/v1alpha1", "kind": "HTTPScaledObject",
            "metadata": {"namespace": "team", "name": "app"},
            "spec": {"hosts": ["app.test"], "scaleTargetRef": {"name": "app", "service": "app", "port": 80}},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "team", "name": "app"},
            "spec": {"selector": {"app": "app"}, "ports": [{"port": 80}]},
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "team", "name": "app"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "app"}}, "template": {}},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "namespace": "keda", "name": "admin-1",
                "labels": {"kubernetes.io/service-name": "keda-add-ons-http-interceptor-admin"},
            },
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [ip.to_string()]}],
        }),
    ];
    for object in objects {
        server.apply_json(object);
    }
    server
}
