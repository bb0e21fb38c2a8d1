//! The faults that later cases are made of do what they say, on an application that nothing but Kubernetes looks after.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use rustix::process::Signal;

use crate::{
    case::{Case, Need},
    cluster::{Cluster, Reach, http},
    control_plane,
    trial::Trial,
    wait,
};

const BOUND: Duration = Duration::from_mins(1);
const ANSWER_BOUND: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(2);

pub(super) const KILLED_CONTAINER_IS_STARTED_AGAIN: Case = Case {
    name: "killed_container_is_started_again",
    about: "An application's process is killed on its node, and its container is started again; its pod is cut off from the \
            network, answers nobody, and answers again when it is restored.",
    needs: &[Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(3),
    run: |trial| killed_container_is_started_again(trial).boxed_local(),
};

async fn killed_container_is_started_again(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let reach = start_chatbot(trial).await?;
    let pod = cluster
        .kubectl(["get", "pods", "--selector=app=chatbot", "--output=name"])
        .await?;
    let pod = pod.trim().strip_prefix("pod/").context("there is one pod")?;

    cluster.signal_pod("default", pod, Signal::KILL).await?;
    let restarts = "--output=jsonpath={.status.containerStatuses[0].restartCount}";
    cluster
        .wait_for("the container is started again", BOUND, async || {
            let restarts = cluster.kubectl(["get", "pod", pod, restarts]).await?;
            if restarts == "1" {
                wait::done(())
            } else {
                wait::not_yet(restarts)
            }
        })
        .await?;
    wait_for_answer(&cluster, &reach).await?;
    trial.kubectl("get pods").await?;

    let cut = cluster.cut_off("default", pod).await?;
    let silent = http::get(reach.addr(), "chatbot", "/", SILENCE).await;
    let restored = cut.restore().await;
    anyhow::ensure!(silent.is_err(), "a pod that is cut off answered");
    restored?;
    wait_for_answer(&cluster, &reach).await
}

pub(super) const PODS_ANSWER_WHILE_THE_API_SERVER_IS_AWAY: Case = Case {
    name: "pods_answer_while_the_api_server_is_away",
    about: "API server and etcd are killed; a pod goes on answering through its Service; both are started again and the \
            cluster goes on as it was.",
    needs: &[Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(4),
    run: |trial| pods_answer_while_the_api_server_is_away(trial).boxed_local(),
};

async fn pods_answer_while_the_api_server_is_away(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let own = cluster.as_own().context("a cluster of our own")?;
    let control = own.control();
    let reach = start_chatbot(trial).await?;

    for service in ["kube-apiserver", "etcd"] {
        control.stop(service, Signal::KILL, BOUND).await?;
    }
    let answer = trial.get(reach.addr(), "chatbot", "/", ANSWER_BOUND).await;
    for service in ["etcd", "kube-apiserver"] {
        control.start_again(service)?;
    }
    control_plane::wait_until_ready(own.parts(), &control, &own.pki()).await?;
    anyhow::ensure!(answer?.status == 200, "the pod went with the API server");
    // These end themselves when they cannot reach it for long.
    for service in ["kube-controller-manager", "kube-scheduler"] {
        if !control.runs(service) {
            control.start_again(service)?;
        }
    }
    trial.kubectl("scale deployment chatbot --replicas=2").await?;
    cluster.wait_for_replicas("default", "chatbot", 2, BOUND).await?;
    cluster.wait_for_keda(Duration::from_mins(2)).await
}

async fn start_chatbot(trial: &mut Trial) -> anyhow::Result<Reach> {
    let cluster = trial.cluster().clone();
    trial.apply_file("examples/chatbot.yaml").await?;
    trial.kubectl("scale deployment chatbot --replicas=1").await?;
    cluster.wait_for_replicas("default", "chatbot", 1, BOUND).await?;
    let reach = cluster.reach("default", "chatbot", 8000).await?;
    wait_for_answer(&cluster, &reach).await?;
    Ok(reach)
}

async fn wait_for_answer(cluster: &Cluster, reach: &Reach) -> anyhow::Result<()> {
    cluster
        .wait_for("the application answers", BOUND, async || {
            let answer = http::get(reach.addr(), "chatbot", "/", SILENCE).await?;
            if answer.status == 200 {
                wait::done(())
            } else {
                wait::not_yet(answer.summary())
            }
        })
        .await
}
