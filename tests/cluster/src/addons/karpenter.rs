//! Karpenter with its kwok provider, as a process beside the control plane, and what tests do with its nodes.
//!
//! Seen: an unschedulable pod has its NodeClaim after 1 s to 2 s (the batch window) and its Node as much later as the node
//! class says; the pod runs 3 s to 9 s after that, most of which is the node taking in its images. An empty node goes
//! `consolidateAfter` plus some 20 s later: Karpenter looks every 10 s, and looks again before it acts. A reclaimed node is
//! drained and gone within 6 s. At a NodePool's limit Karpenter says so in an event of the pod, «all available instance types
//! exceed limits for nodepool»; the pod's own condition has only the scheduler's message.

use std::{fs, time::Duration};

use anyhow::Context as _;
use kube::api::DeleteParams;
use tokio::time::Instant;

use super::{NodePool, installed, ours};
use crate::{
    cluster::{Cluster, http},
    room::Service,
    wait,
};

/// The service in the control plane's room.
pub const SERVICE: &str = "karpenter";

const CRDS: [&str; 2] = ["karpenter-crds", "karpenter-kwok-crds"];
/// Its own defaults are taken on many a machine, and this network is the tests' too.
const HEALTH_PORT: u16 = 18_081;
const METRICS_PORT: u16 = 18_080;
const READY_BOUND: Duration = Duration::from_mins(1);
const LOOK_BOUND: Duration = Duration::from_secs(2);

/// Installs it. Until there is a NodePool it does nothing.
pub async fn install(cluster: &Cluster) -> anyhow::Result<()> {
    let own = ours(cluster)?;
    let started = Instant::now();
    for folder in CRDS {
        for file in fs::read_dir(cluster.parts().folder(folder)?).with_context(|| format!("list {folder}"))? {
            let path = file?.path();
            let definition = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            cluster.apply_server_side(&definition).await?;
        }
    }
    let definitions = [
        "nodepools.karpenter.sh",
        "nodeclaims.karpenter.sh",
        "kwoknodeclasses.karpenter.kwok.sh",
    ];
    let wait = ["wait", "crd", "--for=condition=Established", "--timeout=30s"];
    cluster.kubectl(wait.into_iter().chain(definitions)).await?;
    let room = own.control();
    if !room.runs(SERVICE) {
        room.start(
            &Service::new(SERVICE, cluster.parts().program("karpenter-kwok")?)
                .env("KUBECONFIG", own.kubeconfig().display().to_string())
                .env("SYSTEM_NAMESPACE", "kube-system")
                .env("DISABLE_LEADER_ELECTION", "true")
                .env("HEALTH_PROBE_PORT", HEALTH_PORT.to_string())
                .env("METRICS_PORT", METRICS_PORT.to_string()),
        )?;
    }
    wait::until("Karpenter is ready", READY_BOUND, async || {
        room.check(SERVICE)?;
        let answer = http::get(
            ([127, 0, 0, 1], HEALTH_PORT).into(),
            "karpenter",
            "/readyz",
            LOOK_BOUND,
        )
        .await?;
        if answer.status == 200 {
            wait::done(())
        } else {
            wait::not_yet(answer.summary())
        }
    })
    .await?;
    installed("Karpenter", cluster.parts().version("karpenter-kwok")?, started);
    Ok(())
}

/// Waits until Karpenter makes nodes for a NodePool that was applied.
pub async fn wait_for_pool(cluster: &Cluster, pool: &NodePool) -> anyhow::Result<()> {
    let wait = [
        "wait",
        "nodepool",
        pool.name(),
        "--for=condition=Ready",
        "--timeout=30s",
    ];
    cluster.kubectl(wait).await.map(drop)
}

/// The names of the NodeClaims of a NodePool.
pub async fn claims(cluster: &Cluster, pool: &str) -> anyhow::Result<Vec<String>> {
    let of_pool = format!("karpenter.sh/nodepool={pool}");
    let names = [
        "get",
        "nodeclaims",
        "--output=name",
        "--selector",
        of_pool.as_str(),
    ];
    let names = cluster.kubectl(names).await?;
    Ok(names
        .lines()
        .filter_map(|line| line.rsplit('/').next())
        .map(str::to_owned)
        .collect())
}

/// Has a node drained, and switches its machine off when the notice is over, drained or not: what a cloud does that takes a
/// spot machine back. Returns when the Node is gone or the machine is off.
pub async fn reclaim(cluster: &Cluster, claim: &str, notice: Duration) -> anyhow::Result<()> {
    let own = ours(cluster)?;
    let claims = cluster.dynamic("karpenter.sh/v1", "NodeClaim", "");
    let found = claims
        .get(claim)
        .await
        .with_context(|| format!("get NodeClaim {claim}"))?;
    let node = found
        .data
        .pointer("/status/nodeName")
        .and_then(serde_json::Value::as_str);
    let node = node
        .with_context(|| format!("NodeClaim {claim} has no node yet"))?
        .to_owned();
    claims
        .delete(claim, &DeleteParams::default())
        .await
        .context("give notice")?;
    let what = format!("NodeClaim {claim} is gone");
    let drained = wait::until(&what, notice, async || match claims.get_opt(claim).await? {
        None => wait::done(()),
        Some(_) => wait::not_yet("it is being drained"),
    });
    if drained.await.is_err() {
        own.node(&node)?.kill().await?;
    }
    Ok(())
}
