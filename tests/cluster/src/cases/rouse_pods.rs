//! What Rouse's own pods say of themselves: restarts, `/readyz`, logs. For cases that take something away which they need.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api,
    api::{ListParams, LogParams},
};

use crate::{
    cluster::{Cluster, http},
    keda,
    rouse::DEPLOYMENTS,
    trial::Trial,
    wait,
};

const LOOK_BOUND: Duration = Duration::from_secs(5);

/// The controllers' Deployment.
pub(super) const CONTROLLER: &str = "keda-add-ons-http-controller-manager";
/// Until a rollout is done, and until a process has noticed what is gone or there again.
pub(super) const NOTICED_BOUND: Duration = Duration::from_mins(2);

/// How often the container of each of Rouse's pods has been started again, by the pod's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Restarts(BTreeMap<String, i32>);

impl Restarts {
    /// As they are now.
    pub(super) async fn now(cluster: &Cluster) -> anyhow::Result<Self> {
        let mut counts = BTreeMap::new();
        for pod in pods(cluster, &DEPLOYMENTS).await? {
            let statuses = pod.status.and_then(|status| status.container_statuses);
            let count = statuses.into_iter().flatten().map(|status| status.restart_count);
            counts.insert(pod.metadata.name.unwrap_or_default(), count.sum());
        }
        anyhow::ensure!(!counts.is_empty(), "Rouse has no pods");
        Ok(Self(counts))
    }

    /// Has no container been started again since. Pods that came meanwhile have never been.
    pub(super) async fn none_since(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let Self(counts) = Self::now(cluster).await?;
        for (pod, count) in &counts {
            let before = self.0.get(pod).copied().unwrap_or(0);
            anyhow::ensure!(*count == before, "{pod} was restarted {} times", count - before);
        }
        Ok(())
    }
}

/// Starts the controllers anew and gives their pods' names.
pub(super) async fn restart_controllers(trial: &mut Trial) -> anyhow::Result<Vec<String>> {
    let cluster = trial.cluster().clone();
    let before = names(pods(&cluster, &[CONTROLLER]).await?);
    trial
        .kubectl(&format!(
            "rollout restart deployment {CONTROLLER} --namespace=keda"
        ))
        .await?;
    cluster
        .wait_for_available(keda::NAMESPACE, CONTROLLER, NOTICED_BOUND)
        .await?;
    cluster
        .wait_for("the old controllers are gone", NOTICED_BOUND, async || {
            let now = names(pods(&cluster, &[CONTROLLER]).await?);
            if now.iter().any(|pod| before.contains(pod)) {
                wait::not_yet(now.join(", "))
            } else {
                wait::done(now)
            }
        })
        .await
}

/// The names of the pods of all of Rouse's Deployments that are not going.
pub(super) async fn all(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let mut found = pods(cluster, &DEPLOYMENTS).await?;
    found.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(names(found))
}

/// What a pod's `/readyz` says, ready or not, asked at the pod itself: nothing in between keeps an answer of 503 back.
async fn readyz(cluster: &Cluster, name: &str) -> anyhow::Result<String> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), keda::NAMESPACE);
    let address = api.get(name).await?.status.and_then(|status| status.pod_ip);
    let address: IpAddr = address
        .context("the pod has no address yet")?
        .parse()
        .context("the pod's address")?;
    let addr = SocketAddr::new(address, admin_port(name));
    let answer = http::get(addr, "rouse", "/readyz", LOOK_BOUND).await?;
    Ok(String::from_utf8_lossy(&answer.body).trim_end().to_owned())
}

fn admin_port(pod: &str) -> u16 {
    if pod.starts_with(CONTROLLER) { 8081 } else { 9090 }
}

/// Waits until the `/readyz` of each of these pods has, or no longer has, a text in it; what the first says goes into the evidence.
pub(super) async fn wait_for_readyz(
    trial: &mut Trial,
    pods: &[String],
    text: &str,
    is_there: bool,
) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let what = format!("/readyz of {} says «{text}»: {is_there}", pods.join(", "));
    let said = cluster
        .wait_for(&what, NOTICED_BOUND, async || {
            let mut first = String::new();
            for pod in pods {
                let said = readyz(&cluster, pod).await?;
                if said.contains(text) != is_there {
                    return wait::not_yet(format!("{pod}: {said}"));
                }
                if first.is_empty() {
                    first = said;
                }
            }
            wait::done(first)
        })
        .await?;
    trial.evidence.note(format_args!(
        "`/readyz` of each of {} pods, of which this is the first's:",
        pods.len()
    ));
    trial.evidence.command(
        format_args!("curl http://{}/readyz", pods.first().map_or("", String::as_str)),
        &said,
    );
    Ok(())
}

/// The messages of a pod's log since a moment that have a text in them.
pub(super) async fn logged(
    cluster: &Cluster,
    pod: &str,
    since: Timestamp,
    text: &str,
) -> anyhow::Result<Vec<String>> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), keda::NAMESPACE);
    let parameters = LogParams {
        since_time: Some(since),
        ..LogParams::default()
    };
    let log = api.logs(pod, &parameters).await.context("read a log")?;
    let lines = log.lines().filter(|line| line.contains(text));
    Ok(lines.map(message).collect())
}

/// Has each of these pods say a text in its log exactly once since a moment; the first's line goes into the evidence.
pub(super) async fn told_once(
    trial: &mut Trial,
    pods: &[String],
    since: Timestamp,
    text: &str,
) -> anyhow::Result<()> {
    for (index, pod) in pods.iter().enumerate() {
        let lines = logged(trial.cluster(), pod, since, text).await?;
        anyhow::ensure!(
            lines.len() == 1,
            "{pod} says «{text}» {} times: {lines:?}",
            lines.len()
        );
        if index == 0 {
            let command = format!("kubectl logs --namespace=keda {pod} | grep '{text}'");
            trial.evidence.command(command, &lines.join("\n"));
        }
    }
    Ok(())
}

/// Level, message and the field that says what is wrong, of a line of the log.
fn message(line: &str) -> String {
    let Ok(parsed) = serde_json::from_str::<serde_json::Value>(line) else {
        return line.to_owned();
    };
    let shown = ["level", "kind", "message", "trouble", "problem"];
    let shown = shown.into_iter().filter_map(|field| parsed.get(field)?.as_str());
    shown.collect::<Vec<_>>().join("  ")
}

async fn pods(cluster: &Cluster, deployments: &[&str]) -> anyhow::Result<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), keda::NAMESPACE);
    let mut found = api.list(&ListParams::default()).await?.items;
    found.retain(|pod| {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        deployments.iter().any(|deployment| {
            name.strip_prefix(deployment)
                .is_some_and(|rest| rest.starts_with('-'))
        })
    });
    Ok(found)
}

fn names(pods: Vec<Pod>) -> Vec<String> {
    pods.into_iter().filter_map(|pod| pod.metadata.name).collect()
}
