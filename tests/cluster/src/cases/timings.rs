//! How long the steps of a cold start take on a cluster, beside a pod that is scaled by hand in the same run.

use std::{net::SocketAddr, pin::pin, time::Duration};

use anyhow::Context as _;
use futures_util::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use tokio::{
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    case::{Case, Need},
    cluster::{Cluster, http},
    images::PODINFO,
    keda,
    trial::Trial,
};

const NAMESPACE: &str = "timings";
const COLD_STARTS: usize = 50;
const BOUND: Duration = Duration::from_mins(2);
const READY_BOUND: Duration = Duration::from_mins(4);
/// Between two looks for a pod's address, and between two attempts to connect to it.
const PERIOD: Duration = Duration::from_millis(5);

pub(super) const FIFTY_COLD_STARTS_ARE_TIMED: Case = Case {
    name: "fifty_cold_starts_are_timed",
    about: "50 applications at zero get one request each. Measured from its arrival: until the Deployment's new replicas are \
            seen by a watch, and until the answer. In between, as many Deployments that nothing looks after are scaled to one \
            by hand: from that write until the pod accepts a connection. No probes; the image is on the node.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(15),
    run: |trial| fifty_cold_starts_are_timed(trial).boxed_local(),
};

async fn fifty_cold_starts_are_timed(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    trial.namespace(NAMESPACE).await?;
    // Not by way of the trial: a hundred lines say nothing.
    let objects: Vec<_> = (0..COLD_STARTS).map(objects).collect();
    cluster.apply(&objects.join("\n---\n")).await?;
    for start in 0..COLD_STARTS {
        let scaled_object = ("keda.sh/v1alpha1", "ScaledObject");
        let name = routed(start);
        cluster
            .wait_for_condition(scaled_object, (NAMESPACE, &name), ("Ready", "True"), READY_BOUND)
            .await?;
    }
    let proxy = cluster
        .reach(keda::NAMESPACE, "keda-add-ons-http-interceptor-proxy", 8080)
        .await?;

    let mut scaled = Vec::new();
    let mut answered = Vec::new();
    let mut alone = Vec::new();
    for start in 0..COLD_STARTS {
        let (write, answer) = Box::pin(cold_start(&cluster, proxy.addr(), &routed(start))).await?;
        scaled.push(write);
        answered.push(answer);
        alone.push(pod_alone(&cluster, &by_hand(start)).await?);
    }
    let table = [
        (
            "request arrives → `/scale` written, as a watch sees it",
            &mut scaled,
        ),
        ("request arrives → first byte of the answer", &mut answered),
        (
            "the pod alone: `/scale` written → accepts connections",
            &mut alone,
        ),
    ];
    let mut lines = vec![
        "| what | p50 | p90 | p99 | most |".to_owned(),
        "|---|---|---|---|---|".to_owned(),
    ];
    for (what, times) in table {
        lines.push(format!("| {what} | {} |", percentiles(times)));
    }
    trial.evidence.note(lines.join("\n"));
    Ok(())
}

/// From the request until the new replicas are seen, and until the first byte of the answer.
async fn cold_start(
    cluster: &Cluster,
    proxy: SocketAddr,
    name: &str,
) -> anyhow::Result<(Duration, Duration)> {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), NAMESPACE);
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut seen = pin!(watcher(deployments, only).default_backoff().applied_objects());
    let asked_for = |deployment: &Deployment| deployment.spec.as_ref().and_then(|spec| spec.replicas);
    // The watch has to stand before the request is sent.
    let first = timeout(BOUND, seen.next()).await.context("watch a Deployment")?;
    let first = first.context("the watch ended")??;
    anyhow::ensure!(asked_for(&first) == Some(0), "{name} is not at zero");
    let started = Instant::now();
    let written = async {
        loop {
            let deployment = seen.next().await.context("the watch ended")??;
            if asked_for(&deployment) >= Some(1) {
                return anyhow::Ok(started.elapsed());
            }
        }
    };
    let written = async { timeout(BOUND, written).await.context("no replicas are seen")? };
    let (written, answer) = tokio::try_join!(written, http::get(proxy, name, "/", BOUND))?;
    anyhow::ensure!(answer.status == 200, "{name}: {}", answer.summary());
    Ok((written, answer.head))
}

/// From the write of a scale until the pod accepts a connection. It is at zero again afterwards.
async fn pod_alone(cluster: &Cluster, name: &str) -> anyhow::Result<Duration> {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), NAMESPACE);
    let pods: Api<Pod> = Api::namespaced(cluster.client(), NAMESPACE);
    let scale = async |replicas: u32| {
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        let scaled = deployments
            .patch_scale(name, &PatchParams::default(), &patch)
            .await;
        scaled.with_context(|| format!("scale {name}")).map(drop)
    };
    let started = Instant::now();
    scale(1).await?;
    let accepted = async {
        let mut looks = interval(PERIOD);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let selector = ListParams::default().labels(&format!("app={name}"));
        loop {
            looks.tick().await;
            let found = pods.list(&selector).await.context("list pods")?;
            let address = found.items.into_iter().find_map(|pod| pod.status?.pod_ip);
            let Some(address) = address else { continue };
            let address: SocketAddr = format!("{address}:9898").parse().context("the pod's address")?;
            if TcpStream::connect(address).await.is_ok() {
                return anyhow::Ok(started.elapsed());
            }
        }
    };
    let accepted = timeout(BOUND, accepted)
        .await
        .with_context(|| format!("{name} accepts no connection"))??;
    scale(0).await?;
    Ok(accepted)
}

/// The middle, the ends, in milliseconds, as cells of a table.
fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |percent: usize| {
        let rank = (times.len() * percent).div_ceil(100).max(1) - 1;
        times
            .get(rank)
            .map_or_else(|| "–".to_owned(), |time| format!("{} ms", time.as_millis()))
    };
    [50, 90, 99, 100].map(at).join(" | ")
}

fn routed(start: usize) -> String {
    format!("routed-{start}")
}

fn by_hand(start: usize) -> String {
    format!("by-hand-{start}")
}

/// An application behind a route, and one that nothing looks after, both at zero.
fn objects(start: usize) -> String {
    let name = routed(start);
    let metadata = json!({ "name": name, "namespace": NAMESPACE });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": { "selector": { "app": name }, "ports": [{ "port": 8000, "targetPort": 9898 }] },
    });
    let route = json!({
        "apiVersion": "http.keda.sh/v1alpha1",
        "kind": "HTTPScaledObject",
        "metadata": metadata,
        "spec": {
            "hosts": [name],
            "scaleTargetRef": {
                "name": name, "kind": "Deployment", "apiVersion": "apps/v1", "service": name, "port": 8000,
            },
            "replicas": { "min": 0, "max": 1 },
            "scaledownPeriod": 5,
        },
    });
    [
        deployment(&name),
        service.to_string(),
        route.to_string(),
        deployment(&by_hand(start)),
    ]
    .join("\n---\n")
}

fn deployment(name: &str) -> String {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{ "name": "podinfo", "image": PODINFO }],
                },
            },
        },
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let mut times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentiles(&mut times), "50 ms | 90 ms | 99 ms | 100 ms");
        assert_eq!(
            percentiles(&mut [Duration::from_millis(7)]),
            "7 ms | 7 ms | 7 ms | 7 ms"
        );
    }
}
