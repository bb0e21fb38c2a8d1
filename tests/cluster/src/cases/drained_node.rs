//! A node goes with notice while traffic flows and a request is held: its pods are evicted, others come, and nothing is lost.

use std::{fs, time::Duration};

use anyhow::Context as _;
use futures_util::{FutureExt as _, future::try_join_all};

use super::{
    addon::interceptors,
    application_nodes::{self, Application},
    karpenter,
    mixed_traffic::{self, Tenant},
};
use crate::{
    addons,
    case::{Case, Need},
    cluster::{Cluster, FIRST_NODE, http},
    keda,
    node::NodeSpec,
    trial::Trial,
    wait,
};

const BOUND: Duration = Duration::from_mins(2);
const ANSWER_BOUND: Duration = Duration::from_mins(3);
const NAMESPACE: &str = "drained-node";
const COLD: &str = "cold";
/// Until the held request's pod is ready: not before the node is drained.
const COLD_READY_AFTER: u32 = 30;
/// A pod without preStop ends while somebody still sends to it. What was on its way then and may not be repeated gets a 502.
const MOST_TOLD: usize = 6;

pub(super) const DRAINED_NODE_LOSES_NOTHING: Case = Case {
    name: "drained_node_loses_nothing",
    about: "A node with the only pods of two applications is drained (kubectl drain) under traffic: GETs and POSTs, on kept and \
            on new connections, some of 3 s. One application is examples/long-requests.yaml (preStop, 90 s of grace, a \
            PodDisruptionBudget), the other the user's chatbot, which has none of it; both have one replica at most, so that \
            there is a time without a pod. A request for a third, whose pod is not ready yet, is held. All pods start anew on \
            another node. No request of the first is answered by anything but the application; of the second, a POST that was \
            being sent to the pod as it ended may get the documented 502.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(7),
    run: |trial| drained_node(trial).boxed_local(),
};

async fn drained_node(trial: &mut Trial) -> anyhow::Result<()> {
    const FIRST: &str = "apps-1";
    const SECOND: &str = "apps-2";
    const PODS: [(&str, &str); 3] = [("reports", "reports"), ("default", "chatbot"), (NAMESPACE, COLD)];
    let cluster = trial.cluster().clone();
    application_nodes::start(trial, FIRST).await?;
    for path in ["long-requests.yaml", "chatbot.yaml", "chatbot-http-scaler.yaml"] {
        let path = cluster.workspace().join("examples").join(path);
        let manifest = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        trial.apply(&application_nodes::placed(&manifest)?).await?;
    }
    trial.namespace(NAMESPACE).await?;
    let cold = Application::new(NAMESPACE, COLD)
        .ready_after(COLD_READY_AFTER)
        .placed();
    trial.apply(&cold.manifests()).await?;
    application_nodes::wait_until_scaled(&cluster, &PODS).await?;
    let proxy = application_nodes::proxy(&cluster).await?;
    let tenants = [("reports.example.com", PODS[0]), ("chatbot.example.com", PODS[1])].map(
        |(host, (namespace, deployment))| Tenant {
            proxy,
            host,
            namespace,
            deployment,
        },
    );
    for tenant in tenants {
        mixed_traffic::wake(&cluster, tenant).await?;
    }
    application_nodes::start(trial, SECOND).await?;
    // The held request's pod is to be on the node that goes.
    trial.kubectl(&format!("cordon {SECOND}")).await?;

    let work = async {
        let held = http::get(proxy, COLD, "/", ANSWER_BOUND).map(|answer| answer.context("the held request"));
        let drain = async {
            application_nodes::wait_until_on(&cluster, PODS[2], &[FIRST]).await?;
            trial.kubectl(&format!("uncordon {SECOND}")).await?;
            trial.kubectl("get pods -A -o wide -l app").await?;
            trial
                .kubectl(&format!("drain {FIRST} --ignore-daemonsets --timeout=120s"))
                .await?;
            for pod in PODS {
                application_nodes::wait_until_on(&cluster, pod, &[SECOND]).await?;
                cluster.wait_for_available(pod.0, pod.1, BOUND).await?;
            }
            trial.kubectl("get pods -A -o wide -l app").await
        };
        let (held, _) = tokio::try_join!(held, drain)?;
        Ok(held)
    };
    let ([reports, chatbot], held) = Box::pin(mixed_traffic::during(&cluster, tenants, work)).await?;
    trial
        .evidence
        .note(format_args!("The held request: {}", held.summary()));
    let [with_grace, plain] = tenants.map(|tenant| tenant.host);
    let reports = reports.check(trial, with_grace, 0);
    chatbot.check(trial, plain, MOST_TOLD)?;
    reports?;
    anyhow::ensure!(held.status == 200, "the held request: {}", held.summary());
    Ok(())
}

pub(super) const DRAINED_NODE_WITH_AN_INTERCEPTOR_LOSES_NOTHING: Case = Case {
    name: "drained_node_with_an_interceptor_loses_nothing",
    about: "One of two interceptors is on a node of its own, which is drained (kubectl drain) while requests are held by both \
            and traffic goes through the Service, on kept and on new connections. The drain waits until the interceptor has \
            answered what it holds. Nothing is lost, and no answer is another than the application's.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(7),
    run: |trial| drained_with_an_interceptor(trial).boxed_local(),
};

const INTERCEPTOR: &str = "keda-add-ons-http-interceptor";
const INTERCEPTORS_NODE: &str = "proxies";

async fn drained_with_an_interceptor(trial: &mut Trial) -> anyhow::Result<()> {
    const WARM: &str = "warm";
    /// Behind a Service that deals connections out at random, enough for each interceptor to hold some.
    const HELD: usize = 12;
    let cluster = trial.cluster().clone();
    let own = cluster.as_own().context("a cluster of our own")?;
    trial.remove_node_at_end(INTERCEPTORS_NODE);
    let spec = NodeSpec::new(INTERCEPTORS_NODE, own.images().for_applications());
    own.start_node(&spec).await?;
    cluster.wait_for_node(INTERCEPTORS_NODE, true, BOUND).await?;
    // Whatever comes of it, later cases need the first node.
    trial.kubectl(&format!("cordon {FIRST_NODE}")).await?;
    let moved = move_an_interceptor(&cluster).await;
    trial.kubectl(&format!("uncordon {FIRST_NODE}")).await?;
    moved?;

    trial.namespace(NAMESPACE).await?;
    for mut application in [
        Application::new(NAMESPACE, WARM),
        Application::new(NAMESPACE, COLD).ready_after(COLD_READY_AFTER),
    ] {
        application.pod()["nodeSelector"] = serde_json::json!({ "kubernetes.io/hostname": FIRST_NODE });
        trial.apply(&application.manifests()).await?;
    }
    application_nodes::wait_until_scaled(&cluster, &[(NAMESPACE, WARM), (NAMESPACE, COLD)]).await?;
    let proxy = application_nodes::proxy(&cluster).await?;
    let tenant = Tenant {
        proxy,
        host: WARM,
        namespace: NAMESPACE,
        deployment: WARM,
    };
    mixed_traffic::wake(&cluster, tenant).await?;

    let work = async {
        let held = try_join_all((0..HELD).map(|_| http::get(proxy, COLD, "/", ANSWER_BOUND)));
        let drain = async {
            held_by_both(&cluster, HELD).await?;
            trial
                .kubectl("get pods -n keda -o wide -l app.kubernetes.io/component=interceptor")
                .await?;
            trial
                .kubectl(&format!(
                    "drain {INTERCEPTORS_NODE} --ignore-daemonsets --delete-emptydir-data --timeout=150s"
                ))
                .await?;
            cluster
                .wait_for_available(keda::NAMESPACE, INTERCEPTOR, BOUND)
                .await?;
            trial
                .kubectl("get pods -n keda -o wide -l app.kubernetes.io/component=interceptor")
                .await
        };
        let (held, _) = tokio::try_join!(held, drain)?;
        Ok(held)
    };
    let ([warm], held) = Box::pin(mixed_traffic::during(&cluster, [tenant], work)).await?;
    warm.check(trial, WARM, 0)?;
    for answer in &held {
        anyhow::ensure!(answer.status == 200, "a held request: {}", answer.summary());
    }
    let longest = held.iter().map(|answer| answer.total).max().unwrap_or_default();
    trial.evidence.note(format_args!(
        "The {HELD} held requests were answered with 200, the last after {:.1} s.",
        longest.as_secs_f64()
    ));
    Ok(())
}

/// Deletes one interceptor, whose successor finds no room but on the node of its own.
async fn move_an_interceptor(cluster: &Cluster) -> anyhow::Result<()> {
    let pods = "get pods -n keda -l app.kubernetes.io/component=interceptor -o name";
    let pods = cluster.kubectl(pods.split_whitespace()).await?;
    let first = pods.lines().next().context("there is an interceptor")?;
    cluster
        .kubectl(["delete", first, "--namespace", keda::NAMESPACE])
        .await?;
    cluster
        .wait_for_available(keda::NAMESPACE, INTERCEPTOR, BOUND)
        .await?;
    let there = format!("--field-selector=spec.nodeName={INTERCEPTORS_NODE}");
    let there = cluster
        .kubectl([
            "get",
            "pods",
            "--namespace",
            keda::NAMESPACE,
            &there,
            "--output=name",
        ])
        .await?;
    anyhow::ensure!(there.contains(INTERCEPTOR), "no interceptor has moved: {there}");
    Ok(())
}

/// Waits until these requests are held, by two interceptors.
async fn held_by_both(cluster: &Cluster, held: usize) -> anyhow::Result<()> {
    cluster
        .wait_for("both interceptors hold requests", BOUND, async || {
            let queues = interceptors::queues(cluster).await?;
            let route = format!("{NAMESPACE}/{COLD}");
            let counts: Vec<_> = queues
                .iter()
                .map(|queue| queue[&route]["Concurrency"].as_u64().unwrap_or(0))
                .collect();
            let both = counts.len() == 2 && counts.iter().all(|count| *count > 0);
            if both && counts.iter().sum::<u64>() == held as u64 {
                wait::done(())
            } else {
                wait::not_yet(format!("{counts:?}"))
            }
        })
        .await
}

pub(super) const RECLAIMED_NODE_UNDER_TRAFFIC_LOSES_NOTHING: Case = Case {
    name: "reclaimed_node_under_traffic_loses_nothing",
    about: "The cloud takes the spot machine back on which the only pod of the user's sqs-consumer (another image, behind a \
            Service) runs, with two minutes' notice and under traffic. Karpenter drains it and orders another, which comes \
            after 20 s. Requests wait for it. A POST that was being sent to the pod as it ended may get the documented 502: \
            the pod has no preStop.",
    needs: &[Need::Rouse, Need::OwnNodes, Need::Karpenter],
    smoke: false,
    bound: Duration::from_mins(8),
    run: |trial| reclaimed_node(trial).boxed_local(),
};

async fn reclaimed_node(trial: &mut Trial) -> anyhow::Result<()> {
    const NODE_DELAY: Duration = Duration::from_secs(20);
    const NOTICE: Duration = Duration::from_mins(2);
    const CONSUMER: (&str, &str) = ("processing", "sqs-consumer");
    let cluster = trial.cluster().clone();
    let pool = karpenter::set_up(trial, |pool| pool.node_delay(NODE_DELAY)).await?;
    let way = Application::new(CONSUMER.0, CONSUMER.1);
    trial
        .apply(&format!("{}\n---\n{}", way.service, way.route))
        .await?;
    application_nodes::wait_until_scaled(&cluster, &[CONSUMER]).await?;
    let tenant = Tenant {
        proxy: application_nodes::proxy(&cluster).await?,
        host: CONSUMER.1,
        namespace: CONSUMER.0,
        deployment: CONSUMER.1,
    };
    mixed_traffic::wake(&cluster, tenant).await?;
    let before = application_nodes::nodes_of(&cluster, CONSUMER.0, CONSUMER.1).await?;
    let claims = addons::karpenter::claims(&cluster, pool.name()).await?;
    let [claim] = claims.as_slice() else {
        anyhow::bail!("one node was ordered, not {claims:?}");
    };
    trial
        .kubectl("get nodes,nodeclaims,pods -n processing -o wide")
        .await?;

    let work = async {
        addons::karpenter::reclaim(&cluster, claim, NOTICE).await?;
        cluster.wait_for_available(CONSUMER.0, CONSUMER.1, BOUND).await
    };
    let ([report], ()) = Box::pin(mixed_traffic::during(&cluster, [tenant], work)).await?;
    report.check(trial, CONSUMER.1, MOST_TOLD)?;
    trial
        .kubectl("get nodes,nodeclaims,pods -n processing -o wide")
        .await?;
    let after = application_nodes::nodes_of(&cluster, CONSUMER.0, CONSUMER.1).await?;
    anyhow::ensure!(
        after.len() == 1 && before != after,
        "the pod was on {before:?} and is on {after:?}"
    );
    let waited = report
        .sent()
        .iter()
        .map(|sent| sent.took)
        .max()
        .unwrap_or_default();
    anyhow::ensure!(waited >= NODE_DELAY, "no request waited for the node: {waited:?}");
    Ok(())
}
