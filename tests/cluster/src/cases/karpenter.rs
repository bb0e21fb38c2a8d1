//! Karpenter itself works with the user's NodePool and workload: what the cases of a held request and a node build on.

use std::{fs, time::Duration};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    addons::{NodePool, karpenter},
    case::{Case, Need},
    cluster::Cluster,
    images::PODINFO,
    trial::Trial,
    wait,
};

const NEEDS: &[Need] = &[Need::OwnNodes, Need::Karpenter];
const BOUND: Duration = Duration::from_mins(2);
const NAMESPACE: &str = "processing";
const DEPLOYMENT: &str = "sqs-consumer";
/// What the node takes to come: enough to see the pod wait for it.
const NODE_DELAY: Duration = Duration::from_secs(20);

pub(super) const KARPENTER_MAKES_A_NODE_FOR_A_PENDING_POD_AND_IT_RUNS: Case = Case {
    name: "karpenter_makes_a_node_for_a_pending_pod_and_it_runs",
    about: "The user's sqs-consumer (another image) fits on no node: its pod is Pending. Karpenter orders a node of the user's \
            NodePool (kwok's node class in the place of AWS's), which comes after 20 s with a real kubelet; the pod runs on it.",
    needs: NEEDS,
    smoke: false,
    bound: Duration::from_mins(4),
    run: |trial| makes_a_node(trial).boxed_local(),
};

async fn makes_a_node(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let pool = set_up(trial, |pool| pool.node_delay(NODE_DELAY)).await?;
    let started = Instant::now();
    trial
        .kubectl("scale deployment sqs-consumer -n processing --replicas=1")
        .await?;
    wait_for_unschedulable(trial).await?;
    cluster
        .wait_for(
            "Karpenter orders a node",
            BOUND,
            async || match karpenter::claims(&cluster, pool.name()).await? {
                claims if claims.len() == 1 => wait::done(()),
                claims => wait::not_yet(format!("NodeClaims: {claims:?}")),
            },
        )
        .await?;
    trial.kubectl("get nodeclaims,pods -n processing -o wide").await?;
    trial.evidence.note(format_args!(
        "A node was ordered {:.1} s after the pod.",
        started.elapsed().as_secs_f64()
    ));
    cluster.wait_for_replicas(NAMESPACE, DEPLOYMENT, 1, BOUND).await?;
    let total = started.elapsed();
    trial.evidence.note(format_args!(
        "The pod was ready {:.1} s after it was asked for.",
        total.as_secs_f64()
    ));
    trial
        .kubectl("get nodes,nodeclaims,pods -n processing -o wide")
        .await?;
    anyhow::ensure!(
        total >= NODE_DELAY,
        "the pod ran after {total:?}, before its node came"
    );
    let node = node_of_the_pod(&cluster).await?;
    let labels = cluster
        .kubectl([
            "get",
            "node",
            &node,
            "--output",
            "jsonpath={.metadata.labels.intent}",
        ])
        .await?;
    anyhow::ensure!(
        labels == "apps",
        "node {node} is of another kind: intent={labels}"
    );
    Ok(())
}

pub(super) const EMPTY_NODE_IS_REMOVED: Case = Case {
    name: "empty_node_is_removed",
    about: "The Deployment goes to zero, and the node that came for it is removed after the NodePool's consolidateAfter (20 s \
            here, the user's is 1 min): NodeClaim, Node and machine.",
    needs: NEEDS,
    smoke: false,
    bound: Duration::from_mins(5),
    run: |trial| empty_node_is_removed(trial).boxed_local(),
};

async fn empty_node_is_removed(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let pool = set_up(trial, |pool| pool.consolidate_after(Duration::from_secs(20))).await?;
    trial
        .kubectl("scale deployment sqs-consumer -n processing --replicas=1")
        .await?;
    cluster.wait_for_replicas(NAMESPACE, DEPLOYMENT, 1, BOUND).await?;
    let node = node_of_the_pod(&cluster).await?;
    let emptied = Instant::now();
    trial
        .kubectl("scale deployment sqs-consumer -n processing --replicas=0")
        .await?;
    wait_until_gone(&cluster, pool.name(), Some(&node)).await?;
    let seconds = emptied.elapsed().as_secs_f64();
    trial.evidence.note(format_args!(
        "The node was gone {seconds:.1} s after its last pod was told to go."
    ));
    trial.kubectl("get nodes,nodeclaims").await?;
    Ok(())
}

pub(super) const NODEPOOL_LIMIT_KEEPS_PODS_PENDING: Case = Case {
    name: "nodepool_limit_keeps_pods_pending",
    about: "The NodePool may have half a CPU, which is less than the smallest node: the pod stays Pending, no node is ordered, \
            and Karpenter says why in an event of the pod. With the user's own limit the node comes.",
    needs: NEEDS,
    smoke: false,
    bound: Duration::from_mins(5),
    run: |trial| nodepool_limit_keeps_pods_pending(trial).boxed_local(),
};

async fn nodepool_limit_keeps_pods_pending(trial: &mut Trial) -> anyhow::Result<()> {
    const REASON: &str = "all available instance types exceed limits for nodepool";
    let cluster = trial.cluster().clone();
    let pool = set_up(trial, |pool| pool.limit("cpu", "500m")).await?;
    trial
        .kubectl("scale deployment sqs-consumer -n processing --replicas=1")
        .await?;
    let events = "get events -n processing --field-selector reason=FailedScheduling -o \
                  custom-columns=FROM:.source.component,MESSAGE:.message";
    cluster
        .wait_for("Karpenter says why it makes no node", BOUND, async || {
            let events = cluster.kubectl(events.split_whitespace()).await?;
            if events.contains(REASON) {
                wait::done(())
            } else {
                wait::not_yet(events)
            }
        })
        .await?;
    trial.kubectl(events).await?;
    wait_for_unschedulable(trial).await?;
    let claims = karpenter::claims(&cluster, pool.name()).await?;
    anyhow::ensure!(claims.is_empty(), "nodes were ordered at the limit: {claims:?}");

    let limit = "patch nodepool node-spot --type=merge -p {\"spec\":{\"limits\":{\"cpu\":\"1k\"}}}";
    trial.kubectl(limit).await?;
    cluster.wait_for_replicas(NAMESPACE, DEPLOYMENT, 1, BOUND).await
}

pub(super) const RECLAIMED_NODE_GETS_A_SUCCESSOR: Case = Case {
    name: "reclaimed_node_gets_a_successor",
    about: "The cloud takes a spot machine back with two minutes' notice: Karpenter drains the node, another one comes for its \
            pod, and the first is gone before the notice is over.",
    needs: NEEDS,
    smoke: false,
    bound: Duration::from_mins(6),
    run: |trial| reclaimed_node_gets_a_successor(trial).boxed_local(),
};

async fn reclaimed_node_gets_a_successor(trial: &mut Trial) -> anyhow::Result<()> {
    const NOTICE: Duration = Duration::from_mins(2);
    let cluster = trial.cluster().clone();
    let pool = set_up(trial, |pool| pool).await?;
    trial
        .kubectl("scale deployment sqs-consumer -n processing --replicas=1")
        .await?;
    cluster.wait_for_replicas(NAMESPACE, DEPLOYMENT, 1, BOUND).await?;
    let first = node_of_the_pod(&cluster).await?;
    let claims = karpenter::claims(&cluster, pool.name()).await?;
    let [claim] = claims.as_slice() else {
        anyhow::bail!("one node was ordered, not {claims:?}");
    };
    let noticed = Instant::now();
    karpenter::reclaim(&cluster, claim, NOTICE).await?;
    let drained = noticed.elapsed();
    anyhow::ensure!(drained < NOTICE, "the node was not drained within {drained:?}");
    trial.evidence.note(format_args!(
        "The node was drained and gone {:.1} s after the notice.",
        drained.as_secs_f64()
    ));
    cluster.wait_for_replicas(NAMESPACE, DEPLOYMENT, 1, BOUND).await?;
    let second = node_of_the_pod(&cluster).await?;
    trial
        .kubectl("get nodes,nodeclaims,pods -n processing -o wide")
        .await?;
    anyhow::ensure!(first != second, "the pod is still on {first}");
    Ok(())
}

/// The user's NodePool, changed as the case needs it, and the user's workload with the demo app's image, at zero.
pub(super) async fn set_up(
    trial: &mut Trial,
    change: impl FnOnce(NodePool) -> NodePool,
) -> anyhow::Result<NodePool> {
    let cluster = trial.cluster().clone();
    let read = |path: &str| {
        let path = cluster.workspace().join("examples").join(path);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    };
    let pool = change(NodePool::parse(&read("nodepool-spot.yaml")?)?);
    // Nodes of an earlier case may be leaving.
    wait_until_gone(&cluster, pool.name(), None).await?;
    trial
        .apply(&pool.objects().map(|object| object.to_string()).join("\n---\n"))
        .await?;
    karpenter::wait_for_pool(&cluster, &pool).await?;
    trial.apply(&workload(&read("sqs-consumer.yaml")?)?).await?;
    Ok(pool)
}

/// The namespace and the Deployment; what scales it in the user's manifest asks a queue of AWS.
fn workload(manifest: &str) -> anyhow::Result<String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifest).context("read the workload")?;
    let mut kept = Vec::new();
    for mut document in documents {
        if document["kind"] == "Deployment" {
            document["spec"]["template"]["spec"]["containers"][0]["image"] = PODINFO.into();
        } else if document["kind"] != "Namespace" {
            continue;
        }
        kept.push(document.to_string());
    }
    Ok(kept.join("\n---\n"))
}

async fn wait_for_unschedulable(trial: &mut Trial) -> anyhow::Result<()> {
    let wait = "wait pod -n processing -l app=sqs-consumer --for=condition=PodScheduled=False --timeout=30s";
    trial.kubectl(wait).await?;
    trial.kubectl("get pods -n processing -o wide").await.map(drop)
}

/// The node of the one pod that is not on its way out.
async fn node_of_the_pod(cluster: &Cluster) -> anyhow::Result<String> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), NAMESPACE);
    let pods = pods
        .list(&ListParams::default().labels("app=sqs-consumer"))
        .await
        .context("list pods")?;
    let staying = pods
        .items
        .into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let mut nodes = staying.filter_map(|pod| pod.spec?.node_name);
    nodes.next().context("no pod is on a node")
}

/// Waits until the NodePool has no node, and the machine of this one is gone too.
pub(super) async fn wait_until_gone(cluster: &Cluster, pool: &str, node: Option<&str>) -> anyhow::Result<()> {
    let own = cluster.as_own().context("a cluster of our own")?;
    cluster
        .wait_for("the NodePool has no nodes", BOUND, async || {
            let claims = karpenter::claims(cluster, pool).await?;
            let machine = own
                .nodes()?
                .into_iter()
                .find(|machine| Some(machine.name()) == node);
            match (claims.is_empty(), machine) {
                (true, None) => wait::done(()),
                (_, machine) => wait::not_yet(format!("NodeClaims {claims:?}, machine {machine:?}")),
            }
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workload_is_the_users_but_for_its_image() {
        let workload = workload(include_str!("../../../../examples/sqs-consumer.yaml")).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&workload).unwrap();
        let kinds: Vec<_> = documents
            .iter()
            .map(|document| document["kind"].as_str().unwrap())
            .collect();
        assert_eq!(kinds, ["Namespace", "Deployment"]);
        let pod = &documents[1]["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["image"], PODINFO);
        assert_eq!(pod["containers"][0]["resources"]["requests"]["cpu"], "256m");
        assert_eq!(pod["nodeSelector"]["intent"], "apps");
    }
}
