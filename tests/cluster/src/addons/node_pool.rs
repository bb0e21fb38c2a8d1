//! A NodePool as the user writes it, made fit for Karpenter's kwok provider.
//!
//! Only what names a cloud is replaced: the node class, and requirements on labels of the cloud's provider. Template
//! labels, taints, limits, capacity type and disruption stay what the user wrote.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

/// The one node class of the kwok provider here.
const NODE_CLASS: &str = "default";

/// Labels below these domains are any provider's; below another `karpenter.*` domain they are one cloud's.
const PORTABLE: [&str; 3] = ["karpenter.sh/", "kubernetes.io/", "karpenter.kwok.sh/"];

/// A NodePool and how long its nodes take to come.
#[derive(Debug, Clone)]
pub struct NodePool {
    object: Value,
    node_delay: Duration,
}

impl NodePool {
    /// The NodePool of a manifest with one document.
    pub fn parse(manifest: &str) -> anyhow::Result<Self> {
        let mut object: Value = serde_saphyr::from_str(manifest).context("read the NodePool")?;
        anyhow::ensure!(
            object["kind"] == "NodePool",
            "a {} is no NodePool",
            object["kind"]
        );
        let spec = &mut object["spec"]["template"]["spec"];
        spec["nodeClassRef"] = json!({
            "group": "karpenter.kwok.sh",
            "kind": "KWOKNodeClass",
            "name": NODE_CLASS,
        });
        if let Some(requirements) = spec["requirements"].as_array_mut() {
            requirements.retain(|requirement| requirement["key"].as_str().is_some_and(is_portable));
        }
        Ok(Self {
            object,
            node_delay: Duration::ZERO,
        })
    }

    /// With the time that a machine takes from its order to its appearance in the cluster, in whole seconds.
    #[must_use]
    pub fn node_delay(mut self, delay: Duration) -> Self {
        self.node_delay = delay;
        self
    }

    /// With another time that a node must be empty or little used before it is removed.
    #[must_use]
    pub fn consolidate_after(mut self, period: Duration) -> Self {
        self.object["spec"]["disruption"]["consolidateAfter"] = json!(format!("{}s", period.as_secs()));
        self
    }

    /// With another limit on a resource of all its nodes together.
    #[must_use]
    pub fn limit(mut self, resource: &str, most: &str) -> Self {
        self.object["spec"]["limits"][resource] = json!(most);
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// The objects to apply: the node class and the NodePool.
    pub fn objects(&self) -> [Value; 2] {
        let class = json!({
            "apiVersion": "karpenter.kwok.sh/v1alpha1",
            "kind": "KWOKNodeClass",
            "metadata": { "name": NODE_CLASS },
            "spec": { "nodeRegistrationDelay": format!("{}s", self.node_delay.as_secs()) },
        });
        [class, self.object.clone()]
    }
}

/// Whether a requirement on this label means something to every provider.
fn is_portable(label: &str) -> bool {
    let domain = label.split('/').next().unwrap_or(label);
    PORTABLE.iter().any(|portable| label.starts_with(portable)) || !domain.starts_with("karpenter.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = include_str!("../../../../examples/nodepool-spot.yaml");

    #[test]
    fn only_what_names_a_cloud_is_replaced() {
        let [class, pool] = NodePool::parse(MANIFEST).unwrap().objects();
        let original: Value = serde_saphyr::from_str(MANIFEST).unwrap();
        let spec = &pool["spec"]["template"]["spec"];
        assert_eq!(spec["nodeClassRef"]["kind"], class["kind"]);
        assert_eq!(spec["nodeClassRef"]["name"], class["metadata"]["name"]);
        let keys: Vec<_> = spec["requirements"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["key"])
            .collect();
        assert_eq!(
            keys,
            [
                "capacity-spread",
                "kubernetes.io/arch",
                "karpenter.sh/capacity-type",
                "kubernetes.io/os"
            ]
        );
        for kept in [
            "/metadata",
            "/spec/disruption",
            "/spec/limits",
            "/spec/template/metadata",
            "/spec/template/spec/taints",
        ] {
            assert!(original.pointer(kept).is_some(), "{kept}");
            assert_eq!(pool.pointer(kept), original.pointer(kept), "{kept}");
        }
    }

    #[test]
    fn what_a_test_changes_is_changed() {
        let pool = NodePool::parse(MANIFEST)
            .unwrap()
            .node_delay(Duration::from_secs(90))
            .consolidate_after(Duration::from_secs(20))
            .limit("cpu", "500m");
        assert_eq!(pool.name(), "node-spot");
        let [class, object] = pool.objects();
        assert_eq!(class["spec"]["nodeRegistrationDelay"], "90s");
        assert_eq!(object["spec"]["disruption"]["consolidateAfter"], "20s");
        assert_eq!(
            object["spec"]["limits"],
            json!({ "cpu": "500m", "memory": "500Gi" })
        );
    }

    #[test]
    fn another_kind_is_refused() {
        let error = NodePool::parse("kind: Deployment").unwrap_err().to_string();
        assert!(error.contains("is no NodePool"), "{error}");
    }
}
