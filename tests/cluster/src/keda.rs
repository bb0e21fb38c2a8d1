//! KEDA as its own manifests describe it: operator, metrics adapter and admission webhooks as pods in namespace `keda`.

mod removal;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use serde_json::json;
use tokio::process::Command;

use crate::{cluster::Cluster, command, images::keda_image, parts::Parts};

pub use self::removal::{GROUPS, RELEASE, as_release, put_back, remove};

const RENDER_BOUND: Duration = Duration::from_secs(30);

/// Its namespace.
pub const NAMESPACE: &str = "keda";
/// Its Deployments.
pub const DEPLOYMENTS: [&str; 3] = ["keda-operator", "keda-metrics-apiserver", "keda-admission"];
/// The API that the HPA asks for KEDA's metrics.
pub const METRICS_API: &str = "v1beta1.external.metrics.k8s.io";

/// KEDA's own kustomization with the images' tags, and what a cluster without a registry needs. Cached beside it.
pub(crate) async fn manifests(parts: &Parts) -> anyhow::Result<PathBuf> {
    let config = parts.folder("keda-config")?;
    let overlay = config.join("rouse");
    let kustomization = kustomization(parts)?.to_string();
    let rendered = overlay.join("rendered.yaml");
    let source = overlay.join("kustomization.yaml");
    let is_fresh =
        fs::read_to_string(&source).is_ok_and(|written| written == kustomization) && rendered.exists();
    if !is_fresh {
        fs::create_dir_all(&overlay).with_context(|| format!("make {}", overlay.display()))?;
        let mut kustomize = Command::new(parts.program("kubectl")?);
        fs::write(&source, &kustomization).with_context(|| format!("write {}", source.display()))?;
        kustomize.arg("kustomize").arg(&overlay);
        let text = command::run(&mut kustomize, RENDER_BOUND).await?;
        fs::write(&rendered, text).with_context(|| format!("write {}", rendered.display()))?;
    }
    Ok(rendered)
}

fn kustomization(parts: &Parts) -> anyhow::Result<serde_json::Value> {
    let mut images = Vec::new();
    for part in ["keda-operator", "keda-adapter", "keda-webhooks"] {
        let image = keda_image(parts, part)?;
        let (name, tag) = image.rsplit_once(':').context("an image has a tag")?;
        images.push(json!({ "name": name, "newTag": tag }));
    }
    // The manifests pull always and look whether a pod is ready after 20 s.
    let patch = json!([
        { "op": "replace", "path": "/spec/template/spec/containers/0/imagePullPolicy", "value": "IfNotPresent" },
        { "op": "replace", "path": "/spec/template/spec/containers/0/readinessProbe/initialDelaySeconds", "value": 1 },
        { "op": "add", "path": "/spec/template/spec/containers/0/readinessProbe/periodSeconds", "value": 1 },
        {
            "op": "add",
            "path": "/spec/template/spec/nodeSelector/kubernetes.io~1hostname",
            "value": crate::cluster::FIRST_NODE,
        },
    ]);
    // There is one operator. A lease would have its successor wait: at the very start, when it makes its certificates, ends
    // itself and comes back; and a busy machine of two cores leaves it without an answer for longer than a lease lasts.
    let no_lease = json!([
        { "op": "test", "path": "/spec/template/spec/containers/0/args/0", "value": "--leader-elect" },
        { "op": "replace", "path": "/spec/template/spec/containers/0/args/0", "value": "--leader-elect=false" },
    ]);
    Ok(json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../default"],
        "images": images,
        "patches": [
            { "target": { "kind": "Deployment" }, "patch": patch.to_string() },
            { "target": { "kind": "Deployment", "name": "keda-operator" }, "patch": no_lease.to_string() },
        ],
    }))
}

impl Cluster {
    /// Waits until KEDA's three are ready and the API server serves its metrics.
    pub async fn wait_for_keda(&self, bound: Duration) -> anyhow::Result<()> {
        for deployment in DEPLOYMENTS {
            self.wait_for_replicas(NAMESPACE, deployment, 1, bound).await?;
        }
        self.wait_for_condition(
            ("apiregistration.k8s.io/v1", "APIService"),
            ("", METRICS_API),
            ("Available", "True"),
            bound,
        )
        .await
    }
}
