//! Where the time of a cold start goes, phase by phase, as the user's two tables divide it.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Node, Pod},
    events::v1::Event,
};
use kube::{Api, api::DynamicObject, runtime::watcher};
use serde_json::json;
use tokio::time::Instant;

use super::{
    addon::interceptors,
    behind_gateway,
    held_for_node::{self, NAME, NAMESPACE},
};
use crate::{
    case::{Case, Need},
    cluster::{
        Cluster,
        http::{self, Answer},
    },
    keda,
    timeline::{Milestone, Milestones},
    trial::Trial,
    wait,
};

const BOUND: Duration = Duration::from_mins(2);
const STANDS_BOUND: Duration = Duration::from_secs(30);
/// What the cloud is told to take for a node: the user's table has 30 to 60 s.
const NODE_DELAY: Duration = Duration::from_secs(30);

const SCALED: &str = "scaled";
const PLACED: &str = "placed";
const PULLED: &str = "pulled";
const STARTED: &str = "started";
const READY: &str = "ready";
const ORDERED: &str = "ordered";
const NODE_READY: &str = "node ready";

const OF_DEPLOYMENT: &[Milestone<Deployment>] = &[(SCALED, |deployment| {
    deployment.spec.as_ref().and_then(|spec| spec.replicas) >= Some(1)
})];
const OF_POD: &[Milestone<Pod>] = &[
    (PLACED, |pod| {
        pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
    }),
    (STARTED, |pod| {
        let containers = pod
            .status
            .as_ref()
            .and_then(|status| status.container_statuses.as_ref());
        containers.is_some_and(|containers| {
            containers.iter().any(|container| {
                container
                    .state
                    .as_ref()
                    .is_some_and(|state| state.running.is_some())
            })
        })
    }),
    (READY, |pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|conditions| {
            conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        })
    }),
];
const OF_EVENT: &[Milestone<Event>] = &[(PULLED, |event| {
    let regards_pod = event
        .regarding
        .as_ref()
        .and_then(|regarding| regarding.kind.as_deref())
        == Some("Pod");
    event.reason.as_deref() == Some("Pulled") && regards_pod
})];
const OF_NODE_CLAIM: &[Milestone<DynamicObject>] = &[(ORDERED, |_| true)];
const OF_NODE: &[Milestone<Node>] = &[(NODE_READY, |node| {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
})];

pub(super) const PHASES_OF_A_COLD_START: Case = Case {
    name: "phases_of_a_cold_start",
    about: "An application with the readiness probe of examples/long-requests.yaml is woken by one request. The time from the \
            request is taken at each phase of the user's table, as watches of the API server see it; that it is held is asked \
            for ten times a second. The image is on the node, the application listens within milliseconds, the probe looks every \
            second.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(5),
    run: |trial| cold_start(trial).boxed_local(),
};

async fn cold_start(trial: &mut Trial) -> anyhow::Result<()> {
    const HOST: &str = "phases.example.com";
    const APP: &str = "phases";
    let cluster = trial.cluster().clone();
    let route = format!("{APP}/{APP}");
    trial.namespace(APP).await?;
    trial.apply(&objects(APP, HOST)).await?;
    let scaled_object = ("keda.sh/v1alpha1", "ScaledObject");
    cluster
        .wait_for_condition(scaled_object, (APP, APP), ("Ready", "True"), BOUND)
        .await?;
    interceptors::wait_until_routed(&cluster, std::slice::from_ref(&route)).await?;
    let proxy = cluster
        .reach(keda::NAMESPACE, "keda-add-ons-http-interceptor-proxy", 8080)
        .await?;

    let watches = workload(&cluster, APP, APP).await?;
    let events = Api::<Event>::namespaced(cluster.client(), APP);
    let events = Milestones::watch(events, watcher::Config::default(), OF_EVENT, STANDS_BOUND).await?;
    let started = Instant::now();
    let (held, answer) = tokio::try_join!(
        is_held(&cluster, &route, started),
        http::get(proxy.addr(), HOST, "/", BOUND)
    )?;
    anyhow::ensure!(answer.status == 200, "the cold request: {}", answer.summary());
    let mut times = Times {
        started,
        seen: Vec::new(),
    };
    for watch in watches.into_iter().chain([events]) {
        times.seen.extend(watch.all(BOUND).await?);
    }
    let rows = [
        (
            "no endpoint: the request is held (seen in `/queue`)",
            "0.1 s",
            held,
        ),
        ("KEDA has heard of it, 0 → 1", "0.2 s", times.of(SCALED)?),
        ("the pod is placed", "2.0 s", times.of(PLACED)?),
        ("the image is there", "5.0 s", times.of(PULLED)?),
        (
            "container and application have started",
            "8.0 s",
            times.of(STARTED)?,
        ),
        ("the readiness probe passes", "12.0 s", times.of(READY)?),
        ("the request is forwarded and answered", "12.5 s", answer.total),
    ];
    trial.evidence.note(table("from the request: typical", &rows));
    let rest = answer
        .total
        .checked_sub(times.of(SCALED)?)
        .context("answered before it was scaled")?;
    trial.evidence.note(format_args!(
        "From `/scale` to the answer: {:.2} s.",
        rest.as_secs_f64()
    ));
    Ok(())
}

pub(super) const PHASES_OF_A_COLD_START_WITH_A_NODE: Case = Case {
    name: "phases_of_a_cold_start_with_a_node",
    about: "The user's sqs-consumer with a route, on no node that is there: the same for the phases of a cold start that has to \
            wait for a node. The cloud takes 30 s from the order to the machine, which is what it was told to take.",
    needs: &[Need::Rouse, Need::OwnNodes, Need::Gateway, Need::Karpenter],
    smoke: false,
    bound: Duration::from_mins(6),
    run: |trial| with_a_node(trial).boxed_local(),
};

async fn with_a_node(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let (pool, gateway) = held_for_node::set_up(trial, json!({}), |pool| {
        pool.node_delay(NODE_DELAY)
            .consolidate_after(Duration::from_secs(20))
    })
    .await?;
    let mut watches = Vec::from(workload(&cluster, NAMESPACE, NAME).await?);
    let of_pool = watcher::Config::default().labels(&format!("karpenter.sh/nodepool={}", pool.name()));
    let claims = cluster.dynamic("karpenter.sh/v1", "NodeClaim", "");
    watches.push(Milestones::watch(claims, of_pool.clone(), OF_NODE_CLAIM, STANDS_BOUND).await?);
    let nodes = Api::<Node>::all(cluster.client());
    watches.push(Milestones::watch(nodes, of_pool, OF_NODE, STANDS_BOUND).await?);

    let started = Instant::now();
    let answer = held_answer(&cluster, gateway).await?;
    let answered = started.elapsed();
    anyhow::ensure!(answer.status == 200, "the held request: {}", answer.summary());
    let mut times = Times {
        started,
        seen: Vec::new(),
    };
    for watch in watches {
        times.seen.extend(watch.all(BOUND).await?);
    }
    let scaled = times.of(SCALED)?;
    let [ordered, node_ready] = [times.of(ORDERED)?, times.of(NODE_READY)?];
    let rows = [
        ("the engine detects the event", "15–30 s", scaled),
        (
            "the node is ordered (Karpenter gathers Pending pods first)",
            "",
            ordered.saturating_sub(scaled),
        ),
        (
            "it is provisioned, joins and is Ready",
            "40–80 s",
            node_ready.saturating_sub(ordered),
        ),
        (
            "the image is pulled, the pod starts",
            "5–30 s",
            times.of(READY)?.saturating_sub(node_ready),
        ),
        (
            "the request is forwarded and answered",
            "",
            answered.saturating_sub(times.of(READY)?),
        ),
        ("in all", "60–140 s", answered),
    ];
    trial.evidence.note(table("typical", &rows));
    trial.kubectl("get nodes,nodeclaims").await.map(drop)
}

async fn held_answer(cluster: &Cluster, gateway: SocketAddr) -> anyhow::Result<Answer> {
    behind_gateway::first_answer(cluster, gateway, held_for_node::HOST, "/", BOUND).await
}

/// Watches of a Deployment and of its pods.
async fn workload(cluster: &Cluster, namespace: &str, app: &str) -> anyhow::Result<[Milestones; 2]> {
    let named = watcher::Config::default().fields(&format!("metadata.name={app}"));
    let deployments = Api::<Deployment>::namespaced(cluster.client(), namespace);
    let labelled = watcher::Config::default().labels(&format!("app={app}"));
    let pods = Api::<Pod>::namespaced(cluster.client(), namespace);
    Ok([
        Milestones::watch(deployments, named, OF_DEPLOYMENT, STANDS_BOUND).await?,
        Milestones::watch(pods, labelled, OF_POD, STANDS_BOUND).await?,
    ])
}

/// When an interceptor was first seen to hold a request of a route.
async fn is_held(cluster: &Cluster, route: &str, started: Instant) -> anyhow::Result<Duration> {
    cluster
        .wait_for("an interceptor holds the request", BOUND, async || {
            let queues = interceptors::queues(cluster).await?;
            let held = queues
                .iter()
                .any(|queue| queue[route]["Concurrency"].as_u64() > Some(0));
            if held {
                wait::done(started.elapsed())
            } else {
                wait::not_yet(format!("{queues:?}"))
            }
        })
        .await
}

/// What was seen, against the request's sending.
struct Times {
    started: Instant,
    seen: Vec<(&'static str, Instant)>,
}

impl Times {
    fn of(&self, milestone: &str) -> anyhow::Result<Duration> {
        let seen = self.seen.iter().find(|(name, _)| *name == milestone);
        let (_, at) = seen.with_context(|| format!("{milestone} was not seen"))?;
        Ok(at.saturating_duration_since(self.started))
    }
}

fn table(typical: &str, rows: &[(&str, &str, Duration)]) -> String {
    let mut lines = vec![
        format!("| phase | {typical} | measured |"),
        "|---|---|---|".to_owned(),
    ];
    lines.extend(rows.iter().map(|(phase, typical, measured)| {
        format!("| {phase} | {typical} | {:.2} s |", measured.as_secs_f64())
    }));
    lines.join("\n")
}

/// An application with a probe, at zero, and its route.
fn objects(app: &str, host: &str) -> String {
    let metadata = json!({ "name": app, "namespace": app });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "app": app } },
            "template": {
                "metadata": { "labels": { "app": app } },
                "spec": { "containers": [{
                    "name": "podinfo",
                    "image": crate::images::PODINFO,
                    "readinessProbe": { "httpGet": { "path": "/readyz", "port": 9898 }, "periodSeconds": 1 },
                }] },
            },
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": { "selector": { "app": app }, "ports": [{ "port": 8000, "targetPort": 9898 }] },
    });
    let route = json!({
        "apiVersion": "http.keda.sh/v1alpha1",
        "kind": "HTTPScaledObject",
        "metadata": metadata,
        "spec": {
            "hosts": [host],
            "scaleTargetRef": {
                "name": app, "kind": "Deployment", "apiVersion": "apps/v1", "service": app, "port": 8000,
            },
            "replicas": { "min": 0, "max": 1 },
        },
    });
    [deployment, service, route]
        .map(|object| object.to_string())
        .join("\n---\n")
}
