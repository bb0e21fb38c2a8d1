mod faults;
mod kinds;
mod reads;
mod watches;
mod writes;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api, Client, Error,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::FakeApiServer;

fn page(name: &str, text: &str) -> ConfigMap {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "team", "name": name, "labels": {"app": name}},
        "data": {"text": text},
    }))
    .expect("a ConfigMap")
}

fn deployment(name: &str, replicas: i32) -> Deployment {
    serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "team", "name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "app"}]}},
        },
    }))
    .expect("a Deployment")
}

async fn server_and_client() -> (FakeApiServer, Client) {
    let server = FakeApiServer::start().await;
    server.create_namespace("team");
    let client = server.client();
    (server, client)
}

async fn apply_as(client: &Client, manager: &str, object: Value) -> Result<ConfigMap, Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "team");
    let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
    api.patch(&name, &PatchParams::apply(manager), &Patch::Apply(object))
        .await
}

fn code(error: &Error) -> u16 {
    match error {
        Error::Api(status) => status.code,
        other => panic!("not an answer of the server: {other:?}"),
    }
}
