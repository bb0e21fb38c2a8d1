//! A held request whose pod fits on no node: it is answered when the node has come, however long that takes.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{behind_gateway, karpenter};
use crate::{
    addons::{NodePool, envoy_gateway},
    case::{Case, Need},
    cluster::{
        Cluster,
        http::{self, Answer},
    },
    trial::Trial,
    wait,
};

const NEEDS: &[Need] = &[Need::Rouse, Need::OwnNodes, Need::Gateway, Need::Karpenter];
pub(super) const HOST: &str = "consumer.example.com";
pub(super) const NAMESPACE: &str = "processing";
pub(super) const NAME: &str = "sqs-consumer";
const BOUND: Duration = Duration::from_mins(2);
/// What a node takes to come: well above the 15 s that a gateway waits by default, as much as the user's tables say.
const NODE_DELAY: Duration = Duration::from_secs(90);
/// Longer than any answer should take.
const ANSWER_BOUND: Duration = Duration::from_mins(4);

pub(super) const HELD_REQUEST_IS_ANSWERED_WHEN_THE_NODE_HAS_COME: Case = Case {
    name: "held_request_is_answered_when_the_node_has_come",
    about: "The user's sqs-consumer (another image) with a Service, an HTTPScaledObject and an HTTPRoute. Its pod fits on no \
            node; Karpenter orders one, which comes after 90 s. The request, sent through Envoy Gateway, is held meanwhile, \
            the route's status says what it waits for, and the answer is the application's. After the pod has gone the \
            empty node goes.",
    needs: NEEDS,
    smoke: true,
    bound: Duration::from_mins(10),
    run: |trial| answered_when_the_node_has_come(trial).boxed_local(),
};

async fn answered_when_the_node_has_come(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let (pool, gateway) = set_up(trial, json!({}), |pool| {
        pool.node_delay(NODE_DELAY)
            .consolidate_after(Duration::from_secs(20))
    })
    .await?;
    let (answer, ()) = tokio::try_join!(send(&cluster, gateway), waits_for_a_node(trial))?;
    trial
        .evidence
        .note(format_args!("Answered: {}", answer.summary()));
    anyhow::ensure!(answer.status == 200, "the held request: {}", answer.summary());
    anyhow::ensure!(
        answer.total >= NODE_DELAY,
        "answered after {:?}, before the node came",
        answer.total
    );
    trial.kubectl("get nodes,nodeclaims").await?;
    trial.kubectl("get pods -n processing -o wide").await?;
    cluster
        .wait_for("the status no longer says that it waits", BOUND, async || {
            let message = condition_message(&cluster).await?;
            if message.is_empty() {
                wait::done(())
            } else {
                wait::not_yet(message)
            }
        })
        .await?;

    let answered = Instant::now();
    cluster.wait_for_replicas(NAMESPACE, NAME, 0, BOUND).await?;
    karpenter::wait_until_gone(&cluster, pool.name(), None).await?;
    trial.evidence.note(format_args!(
        "The node was gone {:.0} s after the answer.",
        answered.elapsed().as_secs_f64()
    ));
    trial.kubectl("get nodes,nodeclaims").await.map(drop)
}

pub(super) const ROLLOUT_DOES_NOT_LOSE_A_REQUEST_THAT_WAITS_FOR_A_NODE: Case = Case {
    name: "rollout_does_not_lose_a_request_that_waits_for_a_node",
    about: "As above, and the interceptor is rolled out while the request waits: the interceptor that holds it stays until \
            it is answered.",
    needs: NEEDS,
    smoke: false,
    bound: Duration::from_mins(10),
    run: |trial| rollout_while_it_waits(trial).boxed_local(),
};

async fn rollout_while_it_waits(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let (_, gateway) = set_up(trial, json!({}), |pool| pool.node_delay(NODE_DELAY)).await?;
    let rollout = async {
        waits_for_a_node(trial).await?;
        trial
            .kubectl("rollout restart deployment -n keda keda-add-ons-http-interceptor")
            .await?;
        trial.kubectl("get pods -n keda").await
    };
    let (answer, _) = tokio::try_join!(send(&cluster, gateway), rollout)?;
    trial.kubectl("get pods -n keda").await?;
    anyhow::ensure!(answer.status == 200, "the held request: {}", answer.summary());
    trial
        .evidence
        .note(format_args!("Answered: {}", answer.summary()));
    let status = "rollout status deployment -n keda keda-add-ons-http-interceptor --timeout=120s";
    trial.kubectl(status).await.map(drop)
}

pub(super) const IMPATIENT_CLIENT_CAUSES_ONE_WAKE_AND_ONE_NODE: Case = Case {
    name: "impatient_client_causes_one_wake_and_one_node",
    about: "A client gives up after 10 s and comes again every 20 s; scaledownPeriod is 60. The wake that it began is not \
            given up with it: one wake, one node, and then 200.",
    needs: NEEDS,
    smoke: false,
    bound: Duration::from_mins(10),
    run: |trial| impatient_client(trial).boxed_local(),
};

async fn impatient_client(trial: &mut Trial) -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    const PERIOD: Duration = Duration::from_secs(20);
    let cluster = trial.cluster().clone();
    let (pool, gateway) = set_up(trial, json!({ "scaledownPeriod": 60 }), |pool| {
        pool.node_delay(NODE_DELAY)
    })
    .await?;
    let started = Instant::now();
    let mut attempts = tokio::time::interval(PERIOD);
    let answer = loop {
        attempts.tick().await;
        anyhow::ensure!(started.elapsed() < ANSWER_BOUND, "never answered");
        if let Ok(answer) = http::get(gateway, HOST, "/", PATIENCE).await {
            break answer;
        }
        let seconds = started.elapsed().as_secs();
        trial
            .evidence
            .note(format_args!("{seconds} s: the client has given up."));
        anyhow::ensure!(
            replicas_asked_for(&cluster).await? >= 1,
            "the wake was given up after {seconds} s"
        );
    };
    let seconds = started.elapsed().as_secs();
    trial
        .evidence
        .note(format_args!("{seconds} s: {}", answer.summary()));
    anyhow::ensure!(answer.status == 200, "{}", answer.summary());
    let claims = crate::addons::karpenter::claims(&cluster, pool.name()).await?;
    anyhow::ensure!(claims.len() == 1, "nodes were ordered: {claims:?}");
    trial.kubectl("get pods -n processing -o wide").await?;
    trial.kubectl("get events -n processing").await.map(drop)
}

pub(super) const NODEPOOL_LIMIT_IS_TOLD_AND_ENDS_THE_HOLD: Case = Case {
    name: "nodepool_limit_is_told_and_ends_the_hold",
    about: "The NodePool may have less than the smallest node. The pod stays Pending, the route's status names the limit, and \
            the held request gets its answer at the end of its hold, 30 s here.",
    needs: NEEDS,
    smoke: false,
    bound: Duration::from_mins(6),
    run: |trial| told_at_the_limit(trial).boxed_local(),
};

async fn told_at_the_limit(trial: &mut Trial) -> anyhow::Result<()> {
    const HOLD: Duration = Duration::from_secs(30);
    let cluster = trial.cluster().clone();
    let timeouts = json!({ "timeouts": { "conditionWait": "30s" } });
    let (_, gateway) = set_up(trial, timeouts, |pool| pool.limit("cpu", "500m")).await?;
    let told = async {
        waits_for_a_node(trial).await?;
        cluster
            .wait_for("the status names the limit", BOUND, async || {
                let message = condition_message(&cluster).await?;
                if message.contains("exceed limits for nodepool") {
                    wait::done(message)
                } else {
                    wait::not_yet(message)
                }
            })
            .await
    };
    let (answer, message) = tokio::try_join!(send(&cluster, gateway), told)?;
    trial.evidence.note(format_args!("WaitingForNode: {message}"));
    trial
        .evidence
        .note(format_args!("Answered: {}", answer.summary()));
    let at_the_end = answer.status == 504 && answer.total >= HOLD && answer.total < HOLD * 2;
    anyhow::ensure!(at_the_end, "the held request: {}", answer.summary());
    Ok(())
}

/// NodePool, workload and route, and the Gateway's address; the route is known to all.
pub(super) async fn set_up(
    trial: &mut Trial,
    settings: Value,
    change: impl FnOnce(NodePool) -> NodePool,
) -> anyhow::Result<(NodePool, SocketAddr)> {
    let cluster = trial.cluster().clone();
    let pool = karpenter::set_up(trial, change).await?;
    trial.apply_file("examples/gateway.yaml").await?;
    trial.apply(&objects(settings)).await?;
    let gateway = envoy_gateway::address(&cluster, "envoy-gateway-system", "main-gateway", 80).await?;
    let scaled_object = ("keda.sh/v1alpha1", "ScaledObject");
    cluster
        .wait_for_condition(scaled_object, (NAMESPACE, NAME), ("Ready", "True"), BOUND)
        .await?;
    behind_gateway::is_routed(&cluster, NAMESPACE, NAME).await?;
    Ok((pool, gateway))
}

/// The way to the workload. `settings` are further fields of the HTTPScaledObject's spec.
fn objects(settings: Value) -> String {
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": NAME, "namespace": NAMESPACE },
        "spec": { "selector": { "app": NAME }, "ports": [{ "port": 8000, "targetPort": 9898 }] },
    });
    let mut route = json!({
        "apiVersion": "http.keda.sh/v1alpha1",
        "kind": "HTTPScaledObject",
        "metadata": { "name": NAME, "namespace": NAMESPACE },
        "spec": {
            "hosts": [HOST],
            "scaleTargetRef": {
                "name": NAME, "kind": "Deployment", "apiVersion": "apps/v1", "service": NAME, "port": 8000,
            },
            "replicas": { "min": 0, "max": 3 },
            "scaledownPeriod": 10,
        },
    });
    if let (Some(spec), Value::Object(settings)) = (route["spec"].as_object_mut(), settings) {
        spec.extend(settings);
    }
    let http_route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": NAME, "namespace": NAMESPACE },
        "spec": {
            "parentRefs": [{ "name": "main-gateway", "namespace": "envoy-gateway-system" }],
            "hostnames": [HOST],
            "rules": [{ "backendRefs": [{
                "name": "keda-add-ons-http-interceptor-proxy", "namespace": "keda", "port": 8080,
            }] }],
        },
    });
    [service, route, http_route]
        .map(|object| object.to_string())
        .join("\n---\n")
}

/// Sends the request that is held.
async fn send(cluster: &Cluster, gateway: SocketAddr) -> anyhow::Result<Answer> {
    behind_gateway::first_answer(cluster, gateway, HOST, "/", ANSWER_BOUND).await
}

/// Waits until the route's status says that its pod waits for a node.
async fn waits_for_a_node(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let kind = ("http.keda.sh/v1alpha1", "HTTPScaledObject");
    cluster
        .wait_for_condition(kind, (NAMESPACE, NAME), ("WaitingForNode", "True"), BOUND)
        .await?;
    let message = condition_message(&cluster).await?;
    trial.evidence.note(format_args!("WaitingForNode: {message}"));
    trial
        .kubectl("get pods,nodeclaims -n processing -o wide")
        .await
        .map(drop)
}

async fn condition_message(cluster: &Cluster) -> anyhow::Result<String> {
    const MESSAGE: &str = "jsonpath={.status.conditions[?(@.type==\"WaitingForNode\")].message}";
    let arguments = [
        "get",
        "httpscaledobject",
        NAME,
        "--namespace",
        NAMESPACE,
        "--output",
        MESSAGE,
    ];
    cluster.kubectl(arguments).await
}

async fn replicas_asked_for(cluster: &Cluster) -> anyhow::Result<u32> {
    let arguments = [
        "get",
        "deployment",
        NAME,
        "--namespace",
        NAMESPACE,
        "--output",
        "jsonpath={.spec.replicas}",
    ];
    let replicas = cluster.kubectl(arguments).await?;
    replicas
        .trim()
        .parse()
        .with_context(|| format!("the replicas of {NAME}: {replicas:?}"))
}
