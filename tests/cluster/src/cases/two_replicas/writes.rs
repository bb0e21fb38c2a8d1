//! How often a Deployment's scale was written. A second write of the same number leaves no trace in the object, so the API
//! server's own count of requests is looked at, too; it has no namespaces, so no other Deployment may be scaled meanwhile.

use std::collections::BTreeMap;

use anyhow::Context as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, api::ListParams};

use crate::cluster::Cluster;

/// What was written so far.
#[derive(Debug)]
pub(super) struct Writes {
    scales: u64,
    generation: i64,
    /// Every other Deployment's, by namespace and name.
    other_generations: BTreeMap<(String, String), i64>,
}

impl Writes {
    /// Up to now, for a Deployment of this namespace and name.
    pub(super) async fn now(cluster: &Cluster, (namespace, name): (&str, &str)) -> anyhow::Result<Self> {
        let api: Api<Deployment> = Api::all(cluster.client());
        let mut found = None;
        let mut other_generations = BTreeMap::new();
        for deployment in api.list(&ListParams::default()).await?.items {
            let metadata = deployment.metadata;
            let key = (
                metadata.namespace.unwrap_or_default(),
                metadata.name.unwrap_or_default(),
            );
            let generation = metadata.generation.unwrap_or(0);
            if (key.0.as_str(), key.1.as_str()) == (namespace, name) {
                found = Some(generation);
            } else {
                other_generations.insert(key, generation);
            }
        }
        let generation = found.context("the Deployment is not there")?;
        let metrics = cluster.kubectl(["get", "--raw", "/metrics"]).await?;
        Ok(Self {
            scales: scales_written(&metrics)?,
            generation,
            other_generations,
        })
    }

    /// How many writes of Deployments' scales the API server has carried out.
    pub(super) fn scales(&self) -> u64 {
        self.scales
    }

    /// The Deployment's generation, which grows with every change of what is asked for.
    pub(super) fn generation(&self) -> i64 {
        self.generation
    }

    /// Whether there was one write between two looks.
    pub(super) fn are_one_more_than(&self, before: &Self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.other_generations == before.other_generations,
            "another Deployment changed meanwhile, so nothing can be said: {:?}, before: {:?}",
            self.other_generations,
            before.other_generations
        );
        anyhow::ensure!(
            self.generation == before.generation + 1,
            "the Deployment changed {} times",
            self.generation - before.generation
        );
        anyhow::ensure!(
            self.scales == before.scales + 1,
            "the scale was written {} times",
            self.scales - before.scales
        );
        Ok(())
    }
}

/// The sum over the verbs that write and the answers that say that it was done.
fn scales_written(metrics: &str) -> anyhow::Result<u64> {
    const WRITES: [&str; 3] = [r#"verb="PUT""#, r#"verb="PATCH""#, r#"verb="APPLY""#];
    let mut sum = 0;
    for line in metrics.lines() {
        let Some(labels) = line.strip_prefix("apiserver_request_total{") else {
            continue;
        };
        let is_scale = [
            r#"resource="deployments""#,
            r#"subresource="scale""#,
            r#"code="20"#,
        ]
        .iter()
        .all(|label| labels.contains(label));
        if !is_scale || !WRITES.iter().any(|verb| labels.contains(verb)) {
            continue;
        }
        let (_, count) = line.rsplit_once(' ').context("a metric without a value")?;
        let count: f64 = count.parse().with_context(|| format!("{count} as a count"))?;
        sum += count as u64;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_of_scales_are_counted_and_nothing_else() {
        let metrics = r#"# TYPE apiserver_request_total counter
apiserver_request_total{code="200",resource="deployments",subresource="scale",verb="GET"} 57
apiserver_request_total{code="200",resource="deployments",subresource="scale",verb="PUT"} 3
apiserver_request_total{code="200",resource="deployments",subresource="scale",verb="PATCH"} 2
apiserver_request_total{code="409",resource="deployments",subresource="scale",verb="PUT"} 7
apiserver_request_total{code="200",resource="deployments",subresource="",verb="PUT"} 11
"#;
        assert_eq!(scales_written(metrics).unwrap(), 5);
        assert_eq!(scales_written("").unwrap(), 0);
    }
}
