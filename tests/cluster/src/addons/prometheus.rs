//! Prometheus for KEDA's Prometheus trigger, where the user's ScaledObjects look for it:
//! `http://prometheus.monitoring.svc.cluster.local:9090`.
//!
//! Debian builds Prometheus without the discovery of Kubernetes objects («field kubernetes_sd_configs not found»). So each
//! scraped Service gets a headless twin, and Prometheus asks the cluster's DNS for the twin's endpoints: a pod that comes is
//! scraped within seconds, and a Service at zero has no targets. Series carry the labels `namespace` and `service`, as they
//! do with the Prometheus operator and a ServiceMonitor.
//!
//! The package is unpacked and not installed: installed, it would start a Prometheus of the machine's own.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{import, installed, linked, ours};
use crate::{
    cluster::{Cluster, FIRST_NODE},
    images::Image,
    parts::Parts,
};

/// Its namespace.
pub const NAMESPACE: &str = "monitoring";
/// The name of its Service, its Deployment and the rest.
pub const NAME: &str = "prometheus";
/// The port of its Service.
pub const PORT: u16 = 9090;

const READY_BOUND: Duration = Duration::from_mins(1);
/// Quicker than the user's 15 s, so that a rate over a minute is there after ten seconds.
const INTERVAL: &str = "5s";

/// A Service to scrape.
#[derive(Debug, Clone)]
pub struct Target {
    /// The Service, as the API server has it.
    pub service: Service,
    /// The name of the port with the metrics; the first port where there is none.
    pub port: Option<String>,
    /// The path of the metrics.
    pub path: String,
}

impl Target {
    /// A Service whose first port serves `/metrics`.
    pub fn new(service: Service) -> Self {
        Self {
            service,
            port: None,
            path: "/metrics".to_owned(),
        }
    }

    fn port(&self) -> Option<&ServicePort> {
        let mut ports = self.service.spec.as_ref()?.ports.iter().flatten();
        match &self.port {
            Some(name) => ports.find(|port| port.name.as_ref() == Some(name)),
            None => ports.next(),
        }
    }

    fn name(&self) -> &str {
        self.service.metadata.name.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.service.metadata.namespace.as_deref().unwrap_or("default")
    }

    fn twin(&self) -> String {
        format!("{}-scrape", self.name())
    }

    /// The headless Service with the same pods.
    fn twin_object(&self) -> anyhow::Result<Value> {
        let port = self.port();
        let selector = self.service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let (Some(port), Some(selector)) = (port, selector) else {
            anyhow::bail!(
                "Service {}/{} has no such port, or no selector",
                self.namespace(),
                self.name()
            );
        };
        Ok(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": self.twin(), "namespace": self.namespace() },
            "spec": {
                "clusterIP": "None",
                "selector": selector,
                "ports": [{ "name": "metrics", "port": port.port, "targetPort": port.target_port }],
            },
        }))
    }

    fn scrape_config(&self) -> Value {
        json!({
            "job_name": format!("{}/{}", self.namespace(), self.name()),
            "metrics_path": self.path,
            "dns_sd_configs": [{
                // A service record names the pods and the port that they have it on.
                "names": [format!("_metrics._tcp.{}.{}.svc.cluster.local", self.twin(), self.namespace())],
                "type": "SRV",
                "refresh_interval": "2s",
            }],
            "relabel_configs": [
                { "target_label": "namespace", "replacement": self.namespace() },
                { "target_label": "service", "replacement": self.name() },
            ],
        })
    }
}

/// Installs it, or has the one that is there scrape other targets: it starts anew then, and forgets.
pub async fn install(cluster: &Cluster, targets: &[Target]) -> anyhow::Result<()> {
    let own = ours(cluster)?;
    let started = Instant::now();
    import(own, &[image(cluster.parts()).await?]).await?;
    let objects = objects(cluster.parts(), FIRST_NODE, targets)?;
    let manifests: Vec<_> = objects.iter().map(ToString::to_string).collect();
    cluster.apply_server_side(&manifests.join("\n---\n")).await?;
    cluster.wait_for_replicas(NAMESPACE, NAME, 1, READY_BOUND).await?;
    installed("Prometheus", cluster.parts().version("prometheus")?, started);
    Ok(())
}

/// The image of Prometheus.
async fn image(parts: &Parts) -> anyhow::Result<Image> {
    linked::image(
        &image_name(parts)?,
        parts.program("prometheus")?,
        "usr/bin/prometheus",
    )
    .await
}

fn image_name(parts: &Parts) -> anyhow::Result<String> {
    // 2.42.0+ds-5+deb12u1: a tag has no plus.
    let version = parts.version("prometheus")?;
    let version = version.split_once('+').map_or(version, |(upstream, _)| upstream);
    Ok(format!("docker.io/prom/prometheus:v{version}"))
}

fn objects(parts: &Parts, node: &str, targets: &[Target]) -> anyhow::Result<Vec<Value>> {
    let mut objects: Vec<_> = targets
        .iter()
        .map(Target::twin_object)
        .collect::<anyhow::Result<_>>()?;
    let configuration = configuration(targets).to_string();
    objects.extend([
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }),
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": NAME, "namespace": NAMESPACE },
            "data": { "prometheus.yml": configuration },
        }),
        deployment(&image_name(parts)?, node, &configuration),
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": NAME, "namespace": NAMESPACE },
            "spec": { "selector": { "app": NAME }, "ports": [{ "name": "http", "port": PORT }] },
        }),
    ]);
    Ok(objects)
}

fn configuration(targets: &[Target]) -> Value {
    json!({
        "global": { "scrape_interval": INTERVAL },
        "scrape_configs": targets.iter().map(Target::scrape_config).collect::<Vec<_>>(),
    })
}

fn deployment(image: &str, node: &str, configuration: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": NAME, "namespace": NAMESPACE },
        "spec": {
            "selector": { "matchLabels": { "app": NAME } },
            "strategy": { "type": "Recreate" },
            "template": {
                "metadata": {
                    "labels": { "app": NAME },
                    // Another configuration is another pod.
                    "annotations": { "configuration": configuration },
                },
                "spec": {
                    "automountServiceAccountToken": false,
                    // It stays where its image is.
                    "nodeSelector": { "kubernetes.io/hostname": node },
                    "containers": [{
                        "name": NAME,
                        "image": image,
                        "args": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data"],
                        "ports": [{ "name": "http", "containerPort": PORT }],
                        "readinessProbe": { "httpGet": { "path": "/-/ready", "port": "http" }, "periodSeconds": 1 },
                        "volumeMounts": [
                            { "name": "configuration", "mountPath": "/etc/prometheus" },
                            { "name": "data", "mountPath": "/data" },
                        ],
                    }],
                    "securityContext": { "fsGroup": 65532 },
                    "volumes": [
                        { "name": "configuration", "configMap": { "name": NAME } },
                        { "name": "data", "emptyDir": {} },
                    ],
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: &Value) -> Service {
        let object = json!({ "metadata": { "name": "task-api", "namespace": "task-api" }, "spec": spec });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_service_is_scraped_by_its_headless_twin() {
        let target = Target::new(service(&json!({
            "selector": { "app": "task-api" },
            "ports": [{ "port": 80, "targetPort": "http" }],
        })));
        let twin = target.twin_object().unwrap();
        assert_eq!(twin["spec"]["clusterIP"], "None");
        assert_eq!(twin["spec"]["selector"], json!({ "app": "task-api" }));
        assert_eq!(twin["spec"]["ports"][0]["targetPort"], "http");
        let configuration = configuration(&[target]);
        let config = &configuration["scrape_configs"][0];
        assert_eq!(
            config["dns_sd_configs"][0]["names"][0],
            "_metrics._tcp.task-api-scrape.task-api.svc.cluster.local"
        );
        let relabel = config["relabel_configs"].as_array().unwrap();
        assert!(relabel.contains(&json!({ "target_label": "service", "replacement": "task-api" })));
    }

    #[test]
    fn the_port_is_the_named_one() {
        let mut target = Target::new(service(&json!({
            "selector": { "app": "task-api" },
            "ports": [{ "name": "http", "port": 80 }, { "name": "admin", "port": 9090 }],
        })));
        target.port = Some("admin".to_owned());
        assert_eq!(target.twin_object().unwrap()["spec"]["ports"][0]["port"], 9090);
        target.port = Some("other".to_owned());
        assert!(target.twin_object().is_err());
    }

    #[test]
    fn a_service_without_selector_is_refused() {
        let target = Target::new(service(&json!({ "ports": [{ "port": 80 }] })));
        let error = target.twin_object().unwrap_err().to_string();
        assert!(error.contains("task-api/task-api"), "{error}");
    }
}
