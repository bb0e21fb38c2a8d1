//! Applications for cases about faults: some answer, some are at zero and take a while to be ready.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, http},
    images::PODINFO,
    keda,
    trial::Trial,
};

const BOUND: Duration = Duration::from_mins(2);

/// A Deployment at zero, its Service and its route. The host is its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Application {
    pub(super) name: &'static str,
    /// Seconds from the start of its pod until it is ready.
    pub(super) ready_after: u32,
}

/// Makes a namespace with the applications in it, and waits until KEDA knows them; gives the interceptors' address.
pub(super) async fn set_up(
    trial: &mut Trial,
    namespace: &str,
    applications: &[Application],
) -> anyhow::Result<SocketAddr> {
    trial.namespace(namespace).await?;
    for application in applications {
        trial.apply(&application.objects(namespace)).await?;
    }
    let cluster = trial.cluster();
    for application in applications {
        application.is_known(cluster, namespace, BOUND).await?;
    }
    let proxy = cluster
        .reach(keda::NAMESPACE, "keda-add-ons-http-interceptor-proxy", 8080)
        .await?;
    Ok(proxy.addr())
}

/// Wakes an application through `proxy`.
pub(super) async fn wake(proxy: SocketAddr, name: &str) -> anyhow::Result<()> {
    let answer = http::get(proxy, name, "/", BOUND).await?;
    anyhow::ensure!(
        answer.status == 200,
        "the first request of {name}: {}",
        answer.summary()
    );
    Ok(())
}

impl Application {
    /// Waits until KEDA knows it.
    pub(super) async fn is_known(
        &self,
        cluster: &Cluster,
        namespace: &str,
        bound: Duration,
    ) -> anyhow::Result<()> {
        let scaled_object = ("keda.sh/v1alpha1", "ScaledObject");
        cluster
            .wait_for_condition(scaled_object, (namespace, self.name), ("Ready", "True"), bound)
            .await
    }

    /// What makes it.
    pub(super) fn objects(&self, namespace: &str) -> String {
        let name = self.name;
        let labels = json!({ "app": name });
        let metadata = json!({ "name": name, "namespace": namespace });
        let mut container: Value = json!({ "name": "podinfo", "image": PODINFO });
        if self.ready_after > 0 {
            container["readinessProbe"] = json!({
                "httpGet": { "path": "/readyz", "port": 9898 },
                "initialDelaySeconds": self.ready_after,
                "periodSeconds": 1,
            });
        }
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 0,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "terminationGracePeriodSeconds": 5, "containers": [container] },
                },
            },
        });
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": { "selector": labels, "ports": [{ "port": 8000, "targetPort": 9898 }] },
        });
        let route = json!({
            "apiVersion": "http.keda.sh/v1alpha1",
            "kind": "HTTPScaledObject",
            "metadata": metadata,
            "spec": {
                "hosts": [name],
                "scaleTargetRef": {
                    "name": name, "kind": "Deployment", "apiVersion": "apps/v1", "service": name, "port": 8000,
                },
                "replicas": { "min": 0, "max": 2 },
                "scaledownPeriod": 5,
            },
        });
        [deployment, service, route]
            .map(|object| object.to_string())
            .join("\n---\n")
    }
}

/// An application that is up, to be compared with itself later: whoever sets its scale, to zero and back too, leaves a trace in
/// its generation.
#[derive(Debug)]
pub(super) struct Up {
    namespace: String,
    name: String,
    generation: i64,
    replicas: i32,
}

impl Up {
    /// The application as it is now.
    pub(super) async fn note(cluster: &Cluster, namespace: &str, name: &str) -> anyhow::Result<Self> {
        let (generation, replicas) = scale(cluster, namespace, name).await?;
        anyhow::ensure!(replicas > 0, "{namespace}/{name} is at zero");
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            generation,
            replicas,
        })
    }

    /// Nobody has changed its scale.
    pub(super) async fn is_unchanged(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let (generation, replicas) = scale(cluster, &self.namespace, &self.name).await?;
        anyhow::ensure!(
            replicas > 0 && generation == self.generation,
            "{}/{} was scaled meanwhile: generation {} and then {generation}, {replicas} replicas",
            self.namespace,
            self.name,
            self.generation
        );
        Ok(())
    }

    /// Its scale has been raised at most, a write for each replica: requests that were held count as load. A scale to zero and
    /// back would be two writes more.
    pub(super) async fn has_not_fallen(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let (generation, replicas) = scale(cluster, &self.namespace, &self.name).await?;
        let raised = i64::from(replicas - self.replicas);
        anyhow::ensure!(
            raised >= 0 && generation - self.generation <= raised,
            "{}/{} was scaled meanwhile: generation {} with {} replicas, and then {generation} with {replicas}",
            self.namespace,
            self.name,
            self.generation,
            self.replicas
        );
        Ok(())
    }
}

async fn scale(cluster: &Cluster, namespace: &str, name: &str) -> anyhow::Result<(i64, i32)> {
    let api: Api<Deployment> = Api::namespaced(cluster.client(), namespace);
    let found = api
        .get(name)
        .await
        .with_context(|| format!("get Deployment {namespace}/{name}"))?;
    let replicas = found.spec.and_then(|spec| spec.replicas);
    Ok((
        found
            .metadata
            .generation
            .context("a Deployment has a generation")?,
        replicas.unwrap_or(1),
    ))
}
