//! What users have beside KEDA: Envoy Gateway, Karpenter, Prometheus; and what a cloud does for them.
//!
//! Each is installed when a case first needs it, into a cluster of our own only: a given cluster has what it has. Karpenter and
//! the gateway then need a cloud, machines and load balancers, which the harness is for as long as cases run.
//!
//! | | cold build (two cores) | from installation to ready |
//! |---|---|---|
//! | Envoy Gateway 1.7.2 | 4 min | 25 s to 65 s (its probes look every 10 s), and 13 s for a Gateway's own Envoy |
//! | Karpenter 1.13.0 with its kwok provider | 2 min | 2 s to 3 s |
//! | Prometheus 2.42 | none: from Debian | 7 s |

pub mod cloud;
pub mod envoy_gateway;
pub mod http_add_on;
pub mod karpenter;
mod linked;
mod load_balancer;
mod machines;
pub mod node_pool;
pub mod prometheus;

use anyhow::Context as _;

pub use self::{cloud::Cloud, node_pool::NodePool};
use crate::{
    case::Need,
    cluster::{Cluster, FIRST_NODE, OwnCluster},
    images::{self, Image},
    say::say,
};

/// What has been installed for the cases so far, and the cloud for it.
#[derive(Debug, Default)]
pub struct Addons {
    met: Vec<Need>,
    cloud: Option<Cloud>,
}

impl Addons {
    /// Installs what is needed and not there yet. A given cluster is left as it is.
    pub async fn meet(&mut self, cluster: &Cluster, needs: &[Need]) -> anyhow::Result<()> {
        for &need in needs {
            if cluster.as_own().is_none() || self.met.contains(&need) {
                continue;
            }
            match need {
                Need::Gateway => envoy_gateway::install(cluster)
                    .await
                    .context("install Envoy Gateway")?,
                Need::Karpenter => karpenter::install(cluster).await.context("install Karpenter")?,
                Need::Prometheus => prometheus::install(cluster, &[])
                    .await
                    .context("install Prometheus")?,
                Need::OwnNodes | Need::Rouse | Need::AddOn => continue,
            }
            if self.cloud.is_none() {
                self.cloud = Cloud::start(cluster)?;
            }
            self.met.push(need);
        }
        Ok(())
    }

    /// Ends the cloud; what was installed stays.
    pub async fn end(self) {
        if let Some(cloud) = self.cloud {
            cloud.stop().await;
        }
    }
}

/// Puts images on the first node, where everything that is not an application runs.
async fn import(own: &OwnCluster, images: &[Image]) -> anyhow::Result<()> {
    let node = own.node(FIRST_NODE)?;
    for image in images {
        let archive = images::archive_once(own.places(), image)?;
        node.import(own.parts(), &archive).await?;
    }
    Ok(())
}

/// The cluster, if it is ours to install things in.
fn ours(cluster: &Cluster) -> anyhow::Result<&OwnCluster> {
    cluster
        .as_own()
        .context("add-ons are installed in a cluster of our own only")
}

/// Says what was installed, and how long that took.
fn installed(what: &str, version: &str, since: tokio::time::Instant) {
    say(format_args!(
        "     {what} {version} is ready after {:.1} s",
        since.elapsed().as_secs_f64()
    ));
}
