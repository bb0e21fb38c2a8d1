//! The ground itself: nodes become ready, pods on each of them can be reached, and a node goes without a trace.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use serde_json::json;

use crate::{
    case::{Case, Need},
    images::PODINFO,
    node::NodeSpec,
    trial::Trial,
    wait,
};

pub(super) const FIRST_NODE_IS_READY: Case = Case {
    name: "first_node_is_ready",
    about: "The cluster is up: its nodes are ready, DNS and KEDA run as pods.",
    needs: &[],
    smoke: true,
    bound: Duration::from_mins(1),
    run: |trial| first_node_is_ready(trial).boxed_local(),
};

async fn first_node_is_ready(trial: &mut Trial) -> anyhow::Result<()> {
    let nodes = trial.kubectl("get nodes -o wide").await?;
    anyhow::ensure!(nodes.contains(" Ready "), "no node is ready:\n{nodes}");
    let pods = trial.kubectl("get pods -A -o wide").await?;
    anyhow::ensure!(pods.contains("keda-operator"), "KEDA does not run:\n{pods}");
    trial
        .kubectl("get apiservices v1beta1.external.metrics.k8s.io")
        .await?;
    Ok(())
}

pub(super) const POD_ON_A_SECOND_NODE_ANSWERS: Case = Case {
    name: "pod_on_a_second_node_answers",
    about: "A node is started while the cluster runs; a pod that fits only there answers through its Service; the node is \
            lost without notice and becomes NotReady.",
    needs: &[Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(4),
    run: |trial| pod_on_a_second_node_answers(trial).boxed_local(),
};

async fn pod_on_a_second_node_answers(trial: &mut Trial) -> anyhow::Result<()> {
    const NAMESPACE: &str = "second-node";
    const NODE: &str = "node-2";
    trial.namespace(NAMESPACE).await?;
    trial.apply(&only_on(NODE, NAMESPACE)).await?;
    trial
        .kubectl("wait pod -n second-node --all --for=condition=PodScheduled=False --timeout=30s")
        .await?;

    let own = trial.cluster().as_own().context("a cluster of our own")?.clone();
    let mut spec = NodeSpec::new(NODE, own.images().for_applications());
    spec.labels = vec![("example.com/pool".to_owned(), "second".to_owned())];
    trial.remove_node_at_end(NODE);
    let node = own.start_node(&spec).await?;
    let cluster = trial.cluster().clone();
    cluster.wait_for_node(NODE, true, Duration::from_mins(1)).await?;
    cluster
        .wait_for_replicas(NAMESPACE, "app", 1, Duration::from_mins(1))
        .await?;
    trial.kubectl("get pods -n second-node -o wide").await?;

    let reach = cluster.reach(NAMESPACE, "app", 80).await?;
    let answer = trial
        .get(reach.addr(), "app", "/", Duration::from_secs(10))
        .await?;
    anyhow::ensure!(answer.status == 200, "{}", answer.summary());

    // A pod that is lost with its node would be there until Kubernetes has given up the node.
    trial.kubectl("delete deployment app -n second-node").await?;
    cluster
        .wait_for("the pod is gone", Duration::from_mins(1), async || match cluster
            .pods_in_short(NAMESPACE)
            .await?
        {
            pods if pods.is_empty() => wait::done(()),
            pods => wait::not_yet(pods),
        })
        .await?;
    node.kill().await?;
    cluster.wait_for_node(NODE, false, Duration::from_mins(2)).await?;
    trial.kubectl("get nodes").await?;
    Ok(())
}

fn only_on(node: &str, namespace: &str) -> String {
    let labels = json!({ "app": "app" });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "app", "namespace": namespace },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "nodeSelector": { "kubernetes.io/hostname": node, "example.com/pool": "second" },
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{ "name": "app", "image": PODINFO }],
                },
            },
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "app", "namespace": namespace },
        "spec": { "selector": labels, "ports": [{ "port": 80, "targetPort": 9898 }] },
    });
    format!("{deployment}\n---\n{service}\n")
}
