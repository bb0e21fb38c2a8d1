//! Nodes of our own for the cases in which a node goes, and the applications that run on no other.

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    images::PODINFO,
    keda,
    node::{Node, NodeSpec},
    trial::Trial,
    wait,
};

const BOUND: Duration = Duration::from_mins(2);
/// What the nodes are told apart by, as label and as taint.
const POOL: &str = "example.com/pool";
const APPLICATIONS: &str = "applications";

/// Starts a node for applications only, and waits until it is ready. It goes when the case ends.
pub(super) async fn start(trial: &mut Trial, name: &str) -> anyhow::Result<Node> {
    let cluster = trial.cluster().clone();
    let own = cluster.as_own().context("a cluster of our own")?;
    let mut spec = NodeSpec::new(name, own.images().for_applications());
    spec.labels = vec![(POOL.to_owned(), APPLICATIONS.to_owned())];
    spec.taints = vec![format!("{POOL}={APPLICATIONS}:NoSchedule")];
    trial.remove_node_at_end(name);
    let node = own.start_node(&spec).await?;
    cluster.wait_for_node(name, true, BOUND).await?;
    Ok(node)
}

/// Has a Deployment's pods run on these nodes and on no other.
pub(super) fn place(deployment: &mut Value) {
    let pod = &mut deployment["spec"]["template"]["spec"];
    pod["nodeSelector"] = json!({ POOL: APPLICATIONS });
    let toleration =
        json!({ "key": POOL, "operator": "Equal", "value": APPLICATIONS, "effect": "NoSchedule" });
    match pod["tolerations"].as_array_mut() {
        Some(tolerations) => tolerations.push(toleration),
        None => pod["tolerations"] = json!([toleration]),
    }
}

/// The documents of a manifest with their Deployments placed on these nodes, and their HTTPScaledObjects' replicas limited
/// to one, so that there is a time without a pod when its node goes.
pub(super) fn placed(manifest: &str) -> anyhow::Result<String> {
    let mut documents: Vec<Value> = serde_saphyr::from_multiple(manifest).context("read a manifest")?;
    for document in &mut documents {
        match document["kind"].as_str() {
            Some("Deployment") => place(document),
            Some("HTTPScaledObject") => document["spec"]["replicas"]["max"] = json!(1),
            _ => {}
        }
    }
    let documents: Vec<_> = documents.iter().map(Value::to_string).collect();
    Ok(documents.join("\n---\n"))
}

/// An application at zero behind a route: Deployment, Service and HTTPScaledObject. The host is its name.
#[derive(Debug, Clone)]
pub(super) struct Application {
    pub(super) deployment: Value,
    pub(super) service: Value,
    pub(super) route: Value,
}

impl Application {
    pub(super) fn new(namespace: &str, name: &str) -> Self {
        let labels = json!({ "app": name });
        let metadata = json!({ "name": name, "namespace": namespace });
        Self {
            deployment: json!({
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {
                    "replicas": 0,
                    "selector": { "matchLabels": labels },
                    "template": {
                        "metadata": { "labels": labels },
                        "spec": { "containers": [{ "name": "podinfo", "image": PODINFO }] },
                    },
                },
            }),
            service: json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata,
                "spec": { "selector": labels, "ports": [{ "port": 8000, "targetPort": 9898 }] },
            }),
            route: json!({
                "apiVersion": "http.keda.sh/v1alpha1",
                "kind": "HTTPScaledObject",
                "metadata": metadata,
                "spec": {
                    "hosts": [name],
                    "scaleTargetRef": {
                        "name": name, "kind": "Deployment", "apiVersion": "apps/v1", "service": name, "port": 8000,
                    },
                    "replicas": { "min": 0, "max": 1 },
                    "scaledownPeriod": 5,
                },
            }),
        }
    }

    /// With a readiness probe that passes this many seconds after the start at the earliest.
    #[must_use]
    pub(super) fn ready_after(mut self, seconds: u32) -> Self {
        self.container()["readinessProbe"] = json!({
            "httpGet": { "path": "/readyz", "port": 9898 },
            "initialDelaySeconds": seconds,
            "periodSeconds": 1,
        });
        self
    }

    /// On the nodes of this file.
    #[must_use]
    pub(super) fn placed(mut self) -> Self {
        place(&mut self.deployment);
        self
    }

    pub(super) fn pod(&mut self) -> &mut Value {
        &mut self.deployment["spec"]["template"]["spec"]
    }

    pub(super) fn container(&mut self) -> &mut Value {
        &mut self.pod()["containers"][0]
    }

    pub(super) fn manifests(&self) -> String {
        [&self.deployment, &self.service, &self.route]
            .map(Value::to_string)
            .join("\n---\n")
    }
}

/// Waits until KEDA scales these Deployments, each a namespace and a name.
pub(super) async fn wait_until_scaled(cluster: &Cluster, names: &[(&str, &str)]) -> anyhow::Result<()> {
    let kind = ("keda.sh/v1alpha1", "ScaledObject");
    for name in names {
        cluster
            .wait_for_condition(kind, *name, ("Ready", "True"), BOUND)
            .await?;
    }
    Ok(())
}

/// The nodes of an application's pods that are not on their way out, by the label `app`.
pub(super) async fn nodes_of(cluster: &Cluster, namespace: &str, app: &str) -> anyhow::Result<Vec<String>> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let pods = api
        .list(&ListParams::default().labels(&format!("app={app}")))
        .await?;
    Ok(pods
        .items
        .into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter_map(|pod| pod.spec?.node_name)
        .collect())
}

/// Waits until an application has pods on exactly these nodes, ready or not.
pub(super) async fn wait_until_on(
    cluster: &Cluster,
    (namespace, app): (&str, &str),
    nodes: &[&str],
) -> anyhow::Result<()> {
    let what = format!("{namespace}/{app} is on {nodes:?}");
    cluster
        .wait_for(&what, BOUND, async || {
            let mut found = nodes_of(cluster, namespace, app).await?;
            found.sort_unstable();
            if found == nodes {
                wait::done(())
            } else {
                wait::not_yet(format!("{found:?}"))
            }
        })
        .await
}

/// The interceptors' address.
pub(super) async fn proxy(cluster: &Cluster) -> anyhow::Result<std::net::SocketAddr> {
    let reach = cluster
        .reach(keda::NAMESPACE, "keda-add-ons-http-interceptor-proxy", 8080)
        .await?;
    Ok(reach.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_manifest_is_changed_in_place_and_number_only() {
        let manifest = concat!(
            include_str!("../../../../examples/chatbot.yaml"),
            "\n---\n",
            include_str!("../../../../examples/chatbot-http-scaler.yaml")
        );
        let mut expected: Vec<Value> = serde_saphyr::from_multiple(manifest).unwrap();
        place(&mut expected[0]);
        expected[2]["spec"]["replicas"]["max"] = json!(1);
        let placed: Vec<Value> = serde_saphyr::from_multiple(&placed(manifest).unwrap()).unwrap();
        assert_eq!(placed, expected);
        let pod = &placed[0]["spec"]["template"]["spec"];
        assert_eq!(pod["nodeSelector"][POOL], APPLICATIONS);
        assert_eq!(pod["tolerations"][0]["value"], APPLICATIONS);
    }
}
