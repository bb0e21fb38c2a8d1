//! A node loses power while traffic flows to its pods: nothing comes from it any more, not even the end of a connection. It
//! takes Kubernetes some 40 s to notice, and until then its pods count as ready.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use serde_json::json;
use tokio::time::Instant;

use super::{
    application_nodes::{self, Application},
    mixed_traffic::{self, Fate, Report, Tenant},
};
use crate::{
    case::{Case, Need},
    cluster::http,
    trial::Trial,
};

const BOUND: Duration = Duration::from_mins(3);
const ANSWER_BOUND: Duration = Duration::from_mins(4);
const NAMESPACE: &str = "lost-node";
const FIRST: &str = "apps-1";
const SECOND: &str = "apps-2";
const WARM: &str = "warm";
const COLD: &str = "cold";
const WARM_DEPLOYMENT: (&str, &str) = (NAMESPACE, WARM);
const COLD_DEPLOYMENT: (&str, &str) = (NAMESPACE, COLD);
/// Until the held request's pod is ready: not before its node is lost.
const COLD_READY_AFTER: u32 = 30;
/// What was sent to the pod before its node was lost, or on a connection that had been in use up to then, and may not be
/// repeated: a few seconds of POSTs.
const MOST_TOLD: usize = 25;
/// A connection that was idle for less is taken for a request that may not be repeated, and the slow requests' time.
const SENT_BEFORE: Duration = Duration::from_secs(6);
const SENT_AFTER: Duration = Duration::from_secs(3);

pub(super) const LOST_NODE_WITH_THE_ONLY_POD_LOSES_NOTHING: Case = Case {
    name: "lost_node_with_the_only_pod_loses_nothing",
    about: "A node loses power. The only pod of one application is on it, under traffic of GETs and POSTs, and the starting pod \
            of another, for which a request is held. Kubernetes notices after some 40 s and evicts the pods 5 s later (their \
            tolerations say so; the default is 300 s); new ones start on another node. Every request is answered by the \
            application, except POSTs that had been sent to the lost pod: they may have been executed and get the documented \
            502.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(8),
    run: |trial| with_the_only_pod(trial).boxed_local(),
};

async fn with_the_only_pod(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let node = application_nodes::start(trial, FIRST).await?;
    let warm = evicted_soon(Application::new(NAMESPACE, WARM));
    let cold = evicted_soon(Application::new(NAMESPACE, COLD).ready_after(COLD_READY_AFTER));
    let tenant = set_up(trial, &[warm, cold]).await?;
    application_nodes::start(trial, SECOND).await?;
    // The held request's pod is to be on the node that is lost.
    trial.kubectl(&format!("cordon {SECOND}")).await?;

    let began = Instant::now();
    let work = async {
        let held = http::get(tenant.proxy, COLD, "/", ANSWER_BOUND);
        let loss = async {
            application_nodes::wait_until_on(&cluster, COLD_DEPLOYMENT, &[FIRST]).await?;
            trial.kubectl(&format!("uncordon {SECOND}")).await?;
            trial.kubectl("get pods -n lost-node -o wide").await?;
            node.kill().await?;
            let lost = began.elapsed();
            cluster.wait_for_node(FIRST, false, BOUND).await?;
            trial.evidence.note(format_args!(
                "Kubernetes called the node not ready {:.0} s after it was lost.",
                began.elapsed().saturating_sub(lost).as_secs_f64()
            ));
            for deployment in [WARM_DEPLOYMENT, COLD_DEPLOYMENT] {
                application_nodes::wait_until_on(&cluster, deployment, &[SECOND]).await?;
                cluster
                    .wait_for_available(deployment.0, deployment.1, BOUND)
                    .await?;
            }
            trial.kubectl("get nodes").await?;
            trial.kubectl("get pods -n lost-node -o wide").await?;
            Ok(lost)
        };
        tokio::try_join!(held, loss)
    };
    let ([report], (held, lost)) = Box::pin(mixed_traffic::during(&cluster, [tenant], work)).await?;
    trial
        .evidence
        .note(format_args!("The held request: {}", held.summary()));
    report.check(trial, WARM, MOST_TOLD)?;
    anyhow::ensure!(held.status == 200, "the held request: {}", held.summary());
    told_only_of_what_was_sent(&report, lost)
}

pub(super) const LOST_NODE_WITH_ONE_OF_TWO_PODS_IS_AVOIDED: Case = Case {
    name: "lost_node_with_one_of_two_pods_is_avoided",
    about: "Of an application's two pods, each on a node of its own, one loses its node. Until Kubernetes notices, some 40 s \
            later, it counts as ready: Rouse finds out by itself, and new requests go to the other one. Nothing is lost but \
            POSTs that had been sent to the lost pod, which get the documented 502; a few seconds after the loss requests are \
            as quick as before, but for the few that look whether the pod is back and go to the other one after the connect \
            timeout of 0.5 s.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(7),
    run: |trial| with_one_of_two_pods(trial).boxed_local(),
};

async fn with_one_of_two_pods(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let node = application_nodes::start(trial, FIRST).await?;
    application_nodes::start(trial, SECOND).await?;
    let mut warm = evicted_soon(Application::new(NAMESPACE, WARM));
    warm.route["spec"]["replicas"] = json!({ "min": 2, "max": 2 });
    warm.pod()["topologySpreadConstraints"] = json!([{
        "topologyKey": "kubernetes.io/hostname",
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "nodeTaintsPolicy": "Honor",
        "labelSelector": { "matchLabels": { "app": WARM } },
    }]);
    let tenant = set_up(trial, &[warm]).await?;
    application_nodes::wait_until_on(&cluster, WARM_DEPLOYMENT, &[FIRST, SECOND]).await?;
    cluster.wait_for_available(NAMESPACE, WARM, BOUND).await?;

    let began = Instant::now();
    let work = async {
        trial.kubectl("get pods -n lost-node -o wide").await?;
        tokio::time::sleep(BEFORE).await; // to see how quick requests are
        node.kill().await?;
        let lost = began.elapsed();
        cluster.wait_for_node(FIRST, false, BOUND).await?;
        let noticed = began.elapsed();
        trial.evidence.note(format_args!(
            "Kubernetes called the node not ready {:.0} s after it was lost.",
            noticed.saturating_sub(lost).as_secs_f64()
        ));
        trial.kubectl("get pods -n lost-node -o wide").await?;
        Ok((lost, noticed))
    };
    let ([report], (lost, noticed)) = Box::pin(mixed_traffic::during(&cluster, [tenant], work)).await?;
    report.check(trial, WARM, MOST_TOLD)?;
    told_only_of_what_was_sent(&report, lost)?;
    soon_quick_again(trial, &report, lost, noticed)
}

/// Traffic before the loss.
const BEFORE: Duration = Duration::from_secs(15);
/// From when on a pod that is gone, and is said to be ready, is avoided.
const FOUND_OUT: Duration = Duration::from_secs(5);
/// Most of a look whether it is back: the connect timeout.
const LOOK: Duration = Duration::from_millis(450);

/// Between the time when Rouse must have found out and the time when Kubernetes has: few pay for looks, the others nothing.
fn soon_quick_again(
    trial: &mut Trial,
    report: &Report,
    lost: Duration,
    noticed: Duration,
) -> anyhow::Result<()> {
    let between = |from: Duration, until: Duration| {
        let mut times: Vec<_> = report
            .sent()
            .iter()
            .filter(|sent| !sent.kind.is_slow() && (from..until).contains(&sent.at))
            .map(|sent| sent.took)
            .collect();
        times.sort_unstable();
        times
    };
    let before = between(Duration::ZERO, lost.saturating_sub(Duration::from_secs(1)));
    let after = between(lost + FOUND_OUT, noticed);
    let median = |times: &[Duration]| times.get(times.len() / 2).copied();
    let (usual, now) = (median(&before), median(&after));
    let (usual, now) = usual.zip(now).context("there was traffic before and after")?;
    let looks = after.iter().filter(|took| **took >= LOOK).count();
    trial.evidence.note(format_args!(
        "Quick requests took {:.1} ms in the median before the loss. From {} s after it until Kubernetes noticed they took \
         {:.1} ms, and {looks} of {} took {} ms or longer.",
        usual.as_secs_f64() * 1_000.0,
        FOUND_OUT.as_secs(),
        now.as_secs_f64() * 1_000.0,
        after.len(),
        LOOK.as_millis()
    ));
    anyhow::ensure!(
        now < LOOK / 2,
        "the median is {now:?} after the loss, {usual:?} before"
    );
    anyhow::ensure!(
        looks * 10 <= after.len(),
        "{looks} of {} requests paid for the lost pod",
        after.len()
    );
    Ok(())
}

/// Only requests that can have been on their way to the pod when it was lost, or went by a connection that was in use up to
/// then, have got a 502.
fn told_only_of_what_was_sent(report: &Report, lost: Duration) -> anyhow::Result<()> {
    let window = lost.saturating_sub(SENT_BEFORE)..lost + SENT_AFTER;
    let other = report
        .sent()
        .iter()
        .find(|sent| sent.fate == Fate::Told && !window.contains(&sent.at));
    anyhow::ensure!(
        other.is_none(),
        "the node was lost at {lost:?}; a request that was not sent to it got a 502: {other:?}"
    );
    Ok(())
}

/// Namespace and applications, the one with traffic awake.
async fn set_up(trial: &mut Trial, applications: &[Application]) -> anyhow::Result<Tenant> {
    let cluster = trial.cluster().clone();
    trial.namespace(NAMESPACE).await?;
    for application in applications {
        trial.apply(&application.manifests()).await?;
        let name = application.deployment["metadata"]["name"]
            .as_str()
            .unwrap_or_default();
        application_nodes::wait_until_scaled(&cluster, &[(NAMESPACE, name)]).await?;
    }
    let tenant = Tenant {
        proxy: application_nodes::proxy(&cluster).await?,
        host: WARM,
        namespace: NAMESPACE,
        deployment: WARM,
    };
    mixed_traffic::wake(&cluster, tenant).await?;
    Ok(tenant)
}

/// On the nodes of these cases, and given up 5 s after its node.
fn evicted_soon(mut application: Application) -> Application {
    const SECONDS: u32 = 5;
    application.pod()["tolerations"] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
        .map(|key| json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS }))
        .into();
    application.placed()
}
