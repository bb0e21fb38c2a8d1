//! From one replica to as many as the load needs: the HPA that KEDA makes, fed by KEDA's metrics adapter, fed by the external
//! scaler.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use kube::Api;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::addon::{load::load_while, site::reach_proxy};
use crate::{
    case::{Case, Need},
    cluster::Cluster,
    trial::Trial,
};

const NAMESPACE: &str = "default";
const CHATBOT: &str = "chatbot";
const HPA: &str = "keda-hpa-chatbot";
/// Requests a second. The user's target is 10 a replica: three replicas, and more than the tenth that the HPA overlooks away
/// from two and from four.
const RATE: u32 = 27;
const REPLICAS: i32 = 3;
const READY_BOUND: Duration = Duration::from_mins(1);
/// The rate's window of 30 s, and two of the HPA's looks.
const SCALED_OUT_BOUND: Duration = Duration::from_mins(2);
/// How long the replicas are to be as many as the load needs, and no more: four of the HPA's looks.
const SETTLED: Duration = Duration::from_secs(20);
/// The manifest's `scaledownPeriod` and two polling intervals of 15 s, and then the pods have to end.
const SCALED_DOWN: Duration = Duration::from_secs(60 + 2 * 15 + 15);
const LOOK_PERIOD: Duration = Duration::from_millis(250);

pub(super) const CHATBOT_SCALES_OUT_BY_THE_HPA: Case = Case {
    name: "chatbot_scales_out_by_the_hpa",
    about: "The user's chatbot, unmodified: its target is a request rate of 10 a second and replica. 27 requests a second from \
            zero on: Rouse wakes one replica, and the HPA, which asks KEDA's metrics adapter, makes three of it and no more. \
            Every request is answered with 200. When the load has ended KEDA sets the Deployment to zero after \
            `scaledownPeriod`, without waiting for the 300 s for which the HPA would keep them.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(8),
    run: |trial| chatbot_scales_out_by_the_hpa(trial).boxed_local(),
};

async fn chatbot_scales_out_by_the_hpa(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    trial.apply_file("examples/chatbot.yaml").await?;
    trial.apply_file("examples/chatbot-http-scaler.yaml").await?;
    for kind in [
        ("keda.sh/v1alpha1", "ScaledObject"),
        ("http.keda.sh/v1alpha1", "HTTPScaledObject"),
    ] {
        cluster
            .wait_for_condition(kind, (NAMESPACE, CHATBOT), ("Ready", "True"), READY_BOUND)
            .await?;
    }
    cluster
        .wait_for_replicas(NAMESPACE, CHATBOT, 0, READY_BOUND)
        .await?;
    trial.kubectl("get deployment,hpa").await?;

    let proxy = reach_proxy(&cluster).await?;
    let from = (proxy.addr(), "chatbot.example.com", "/");
    let under_load = async {
        let steps = until_scaled_out(&cluster).await?;
        look(trial, &steps).await?;
        anyhow::Ok(())
    };
    load_while(from, RATE, under_load.boxed_local()).await?;
    let ended = Instant::now();
    trial
        .evidence
        .note("The load has ended: every request was answered with 200.");
    cluster
        .wait_for_replicas(NAMESPACE, CHATBOT, 0, SCALED_DOWN)
        .await?;
    trial.evidence.note(format_args!(
        "At zero {} s after the last request:",
        ended.elapsed().as_secs()
    ));
    trial.kubectl("get deployment,hpa").await.map(drop)
}

/// What was seen at a moment: the Deployment's wish, its ready pods, and what the HPA measured.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    wanted: i32,
    ready: i32,
    measured: String,
}

/// Looks until the replicas have been as many as the load needs for a while; gives what changed meanwhile, with its moment.
async fn until_scaled_out(cluster: &Cluster) -> anyhow::Result<Vec<(Duration, Seen)>> {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), NAMESPACE);
    let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(cluster.client(), NAMESPACE);
    let started = Instant::now();
    let mut steps: Vec<(Duration, Seen)> = Vec::new();
    let mut settled: Option<Instant> = None;
    let mut looks = interval(LOOK_PERIOD);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let seen = seen(
            &deployments.get(CHATBOT).await.context("get the Deployment")?,
            &hpas.get(HPA).await.context("get the HPA")?,
        );
        let is_as_wanted = (seen.wanted, seen.ready) == (REPLICAS, REPLICAS);
        anyhow::ensure!(
            seen.wanted <= REPLICAS && (settled.is_none() || seen.wanted == REPLICAS),
            "{RATE} requests a second need {REPLICAS} replicas: {seen:?} after {steps:?}"
        );
        if steps.last().is_none_or(|(_, last)| *last != seen) {
            steps.push((started.elapsed(), seen));
        }
        if is_as_wanted {
            let since = *settled.get_or_insert_with(Instant::now);
            if since.elapsed() >= SETTLED {
                return Ok(steps);
            }
        }
        anyhow::ensure!(
            settled.is_some() || started.elapsed() < SCALED_OUT_BOUND,
            "no {REPLICAS} replicas after {SCALED_OUT_BOUND:?}: {steps:?}"
        );
    }
}

fn seen(deployment: &Deployment, hpa: &HorizontalPodAutoscaler) -> Seen {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let ready = deployment
        .status
        .as_ref()
        .and_then(|status| status.ready_replicas);
    let measured = hpa
        .status
        .as_ref()
        .and_then(|status| status.current_metrics.as_ref()?.first()?.external.as_ref())
        .and_then(|metric| Some(metric.current.average_value.as_ref()?.0.clone()));
    Seen {
        wanted: wanted.unwrap_or(1),
        ready: ready.unwrap_or(0),
        measured: measured.unwrap_or_else(|| "–".to_owned()),
    }
}

/// Writes down how the replicas came, and what HPA and metrics adapter say while the load is still there.
async fn look(trial: &mut Trial, steps: &[(Duration, Seen)]) -> anyhow::Result<()> {
    let mut lines = vec![
        format!("{RATE} requests a second. What changed, from the first of them on:\n"),
        "| after | replicas wanted | ready | the HPA's metric, for each replica (target 10) |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    lines.extend(steps.iter().map(|(after, seen)| {
        let Seen {
            wanted,
            ready,
            measured,
        } = seen;
        format!(
            "| {:.1} s | {wanted} | {ready} | {measured} |",
            after.as_secs_f64()
        )
    }));
    trial.evidence.note(lines.join("\n"));
    trial.kubectl("get deployment,hpa").await?;
    let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(trial.cluster().client(), NAMESPACE);
    let hpa = hpas.get(HPA).await.context("get the HPA")?;
    let metric = hpa
        .spec
        .and_then(|spec| Some(spec.metrics?.into_iter().next()?.external?.metric.name))
        .context("the HPA has no external metric")?;
    // Events outlive what they are about: one of this name may have been there before.
    let uid = hpa.metadata.uid.context("the HPA has no uid")?;
    let adapter = format!(
        "get --raw /apis/external.metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/{metric}?labelSelector=scaledobject.keda.sh/name={CHATBOT}"
    );
    trial.kubectl(&adapter).await?;
    let rescaled = trial
        .kubectl(&format!(
            "get events --field-selector involvedObject.uid={uid},reason=SuccessfulRescale"
        ))
        .await?;
    anyhow::ensure!(
        rescaled.contains(&format!("New size: {REPLICAS}")) && rescaled.contains(&metric),
        "the HPA says nothing of having made {REPLICAS} replicas for {metric}: {rescaled}"
    );
    Ok(())
}
