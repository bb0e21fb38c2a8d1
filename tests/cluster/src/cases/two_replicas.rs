//! Two interceptors and two external scalers, as the chart has them: what each interceptor counts adds up in each scaler, and
//! what is held at both wakes once.

mod kedas_metric;
mod scaler;
mod writes;

use std::{ops::Range, time::Duration};

use anyhow::Context as _;
use futures_util::{
    FutureExt as _,
    future::{join_all, try_join_all},
};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::{scaler::ScalerClient, writes::Writes};
use super::addon::{
    interceptors, load,
    objects::{self, Scaling},
    site::{ASLEEP_BOUND, READY_BOUND, Site, replicas_stay},
};
use crate::{
    case::{Case, Need},
    cluster::{Cluster, Reach, http as client},
    keda,
    trial::Trial,
    wait,
};

const APP: &str = "app";
/// The proxy's port of an interceptor's pod.
const PROXY_PORT: u16 = 8080;
/// How many requests are in flight at each of two interceptors. With a target of 5 the sum asks for 3 replicas, while either
/// count, or their mean, would ask for 2, and a sum of sums for 6.
const IN_FLIGHT: [u64; 2] = [7, 8];
const SUM: f64 = 15.0;
const REPLICAS: i32 = 3;
/// How long requests in flight take, and the time they may take with the wake before them.
const LONG: Duration = Duration::from_secs(100);
const LONG_BOUND: Duration = Duration::from_mins(4);
const SCALED_BOUND: Duration = Duration::from_mins(1);

pub(super) const COUNTS_OF_TWO_INTERCEPTORS_ADD_UP: Case = Case {
    name: "counts_of_two_interceptors_add_up",
    about: "7 requests are in flight at one interceptor and 8 at another, with a target of 5 for one replica. Each interceptor's \
            `/queue` has its own, both external scalers and KEDA's metric have 15, and the HPA makes the 3 replicas that the \
            sum calls for.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(7),
    run: |trial| counts_of_two_interceptors_add_up(trial).boxed_local(),
};

pub(super) const REQUEST_HELD_AT_TWO_INTERCEPTORS_WAKES_ONCE: Case = Case {
    name: "request_held_at_two_interceptors_wakes_once",
    about: "A request is held at each of two interceptors at once, for longer than the 5 s after which Rouse would wake the \
            application itself. In each of three rounds the API server counts one write of a scale, the Deployment's generation grows \
            by one, and both requests are answered.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(8),
    run: |trial| request_held_at_two_interceptors_wakes_once(trial).boxed_local(),
};

pub(super) const COUNTS_GO_ON_WITHOUT_ONE_SCALER: Case = Case {
    name: "counts_go_on_without_one_scaler",
    about: "While requests are in flight at two interceptors, first one external scaler is killed (SIGKILL) and then the \
            other. The one that is left says the same as before throughout, KEDA's metric is the sum whenever it answers, the \
            replicas stay, and the one that was killed says the same when it is back.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(7),
    run: |trial| counts_go_on_without_one_scaler(trial).boxed_local(),
};

async fn counts_of_two_interceptors_add_up(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "two-replicas-sum").await?;
    let (host, cluster) = (serve(&mut site).await?, site.cluster.clone());
    let interceptors = two_interceptors(&cluster).await?;
    let scalers = ScalerClient::all(&cluster).await?;
    let requests = in_flight(&interceptors, &host);
    let meanwhile = async {
        wait_until_counted(&mut site, &interceptors).await?;
        site.replicas(APP, REPLICAS, SCALED_BOUND).await?;
        for scaler in &scalers {
            let told = scaler.concurrency(&site.namespace, APP).await?;
            site.trial.evidence.note(format_args!(
                "`GetMetrics` of {}: {} is {}.",
                scaler.pod(),
                told.metric_name,
                told.metric_value_float
            ));
            is_the_sum(told.metric_value_float)?;
        }
        let (path, metric) = kedas_metric::ask(&cluster, (&site.namespace, APP)).await?;
        site.trial
            .evidence
            .command(format_args!("kubectl get --raw '{path}'"), &metric.to_string());
        is_the_sum(kedas_metric::value(&metric)?)?;
        let command = format!("get deployment,hpa --namespace={}", site.namespace);
        site.trial.kubectl(&command).await?;
        replicas_stay(
            &cluster,
            (&site.namespace, APP),
            REPLICAS..=REPLICAS,
            Duration::from_secs(15),
        )
        .await
    };
    tokio::try_join!(requests, meanwhile)?;
    all_answered(&mut site);
    Ok(())
}

async fn counts_go_on_without_one_scaler(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "two-replicas-scaler").await?;
    let (host, cluster) = (serve(&mut site).await?, site.cluster.clone());
    let interceptors = two_interceptors(&cluster).await?;
    let scalers = ScalerClient::all(&cluster).await?;
    anyhow::ensure!(scalers.len() > 1, "there is one scaler only");
    let requests = in_flight(&interceptors, &host);
    let meanwhile = async {
        wait_until_counted(&mut site, &interceptors).await?;
        site.replicas(APP, REPLICAS, SCALED_BOUND).await?;
        for killed in &scalers {
            let restarts_before = restarts(&cluster, killed.pod()).await?;
            cluster
                .signal_pod(keda::NAMESPACE, killed.pod(), Signal::KILL)
                .await?;
            let left = scalers.iter().filter(|scaler| scaler.pod() != killed.pod());
            let (looks, silent) = look_on(&site, &left.collect::<Vec<_>>()).await?;
            site.trial.evidence.note(format_args!(
                "{} was killed. In the 15 s after that KEDA's metric was asked for {looks} times: it was {SUM} each time but {silent}, \
                 when there was no answer. The other scaler said {SUM} each time.",
                killed.pod()
            ));
            cluster
                .wait_for("the killed scaler says the same", READY_BOUND, async || {
                    let told = killed.concurrency(&site.namespace, APP).await?;
                    is_the_sum(told.metric_value_float)?;
                    anyhow::ensure!(
                        restarts(&cluster, killed.pod()).await? > restarts_before,
                        "it was not started again"
                    );
                    wait::done(())
                })
                .await?;
        }
        site.trial
            .kubectl("get pods --namespace=keda --selector=app.kubernetes.io/component=scaler")
            .await
            .map(drop)
    };
    tokio::try_join!(requests, meanwhile)?;
    all_answered(&mut site);
    Ok(())
}

/// For 15 s after a kill: the scalers that are left answer each time, KEDA may miss some looks in a row, nobody says other than
/// the sum, and the replicas stay. Gives how often KEDA was asked, and how often it had no answer.
async fn look_on(site: &Site<'_>, left: &[&ScalerClient]) -> anyhow::Result<(u32, u32)> {
    const WATCHED: Duration = Duration::from_secs(15);
    /// KEDA's connection breaks, and the next goes to the scaler that is left.
    const LONGEST_SILENCE: Duration = Duration::from_secs(10);
    let (mut looks, mut silent) = (0, 0);
    let started = Instant::now();
    let mut answered = started;
    let mut ticks = interval(Duration::from_millis(250));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while started.elapsed() < WATCHED {
        ticks.tick().await;
        for scaler in left {
            is_the_sum(scaler.concurrency(&site.namespace, APP).await?.metric_value_float)?;
        }
        looks += 1;
        match kedas_metric::ask(&site.cluster, (&site.namespace, APP)).await {
            Ok((_, metric)) => {
                is_the_sum(kedas_metric::value(&metric)?)?;
                answered = Instant::now();
            }
            Err(error) => {
                silent += 1;
                anyhow::ensure!(
                    answered.elapsed() < LONGEST_SILENCE,
                    "KEDA has no metric for {LONGEST_SILENCE:?}: {error:#}"
                );
            }
        }
        let app = (site.namespace.as_str(), APP);
        replicas_stay(&site.cluster, app, REPLICAS..=REPLICAS, Duration::from_millis(1)).await?;
    }
    anyhow::ensure!(silent < looks, "KEDA never answered");
    Ok((looks, silent))
}

async fn request_held_at_two_interceptors_wakes_once(trial: &mut Trial) -> anyhow::Result<()> {
    const ROUNDS: Range<u32> = 1..4;
    /// Longer than Rouse leaves the wake to KEDA, and than a late second write would take.
    const READY_AFTER: u32 = 10;
    let mut site = Site::open(trial, "two-replicas-wake").await?;
    let (host, namespace, cluster) = (site.host(APP), site.namespace.clone(), site.cluster.clone());
    let scaling = Scaling::default();
    let mut items = objects::app(&namespace, APP).to_vec();
    if let Some(probe) = items
        .first_mut()
        .and_then(|deployment| deployment.pointer_mut("/spec/template/spec/containers/0/readinessProbe"))
    {
        probe["initialDelaySeconds"] = json!(READY_AFTER);
    }
    items.push(objects::route(
        &namespace,
        APP,
        &json!([{ "hosts": [host] }]),
        &scaling,
    ));
    items.push(objects::scaled_object(&namespace, APP, APP, &scaling));
    site.apply(items).await?;
    site.ready(objects::ROUTE, APP).await?;
    site.ready(objects::SCALED_OBJECT, APP).await?;
    let interceptors = two_interceptors(&cluster).await?;
    for round in ROUNDS {
        site.replicas(APP, 0, ASLEEP_BOUND).await?;
        let before = Writes::now(&cluster, (&namespace, APP)).await?;
        let requests = join_all(
            interceptors
                .iter()
                .map(|(_, reach)| client::get(reach.addr(), &host, "/", LONG_BOUND)),
        );
        let held = cluster.wait_for("a request is held at each", READY_BOUND, async || {
            let counts = counts(&cluster, &interceptors, &namespace).await?;
            if counts == [1, 1] {
                return wait::done(());
            }
            wait::not_yet(format!("{counts:?}"))
        });
        let (answers, held) = tokio::join!(requests, held);
        held?;
        for answer in &answers {
            if let Some(failure) = load::failure(answer) {
                anyhow::bail!("round {round}: {failure}");
            }
        }
        // A second write may come late.
        replicas_stay(&cluster, (&namespace, APP), 1..=1, Duration::from_secs(6)).await?;
        let after = Writes::now(&cluster, (&namespace, APP)).await?;
        let answers: Vec<_> = answers
            .into_iter()
            .flatten()
            .map(|answer| answer.summary())
            .collect();
        site.trial.evidence.note(format_args!(
            "Round {round}: answered at each interceptor: {}. Writes of a scale, as the API server counts them: {}. The Deployment's \
             generation: {} → {}.",
            answers.join("; "),
            after.scales() - before.scales(),
            before.generation(),
            after.generation()
        ));
        after.are_one_more_than(&before)?;
    }
    site.trial
        .kubectl(&format!(
            "get events --namespace={namespace} --field-selector=involvedObject.kind=ScaledObject"
        ))
        .await
        .map(drop)
}

/// The application with its route, asleep; gives its host.
async fn serve(site: &mut Site<'_>) -> anyhow::Result<String> {
    let host = site.host(APP);
    let scaling = Scaling {
        metric: json!({ "concurrency": { "targetValue": 5 } }),
        max: 10,
    };
    let rules = json!([{ "hosts": [host] }]);
    site.serve_scaled(&[(APP, rules, scaling)]).await?;
    Ok(host)
}

/// The first two interceptors that are ready, and the ways to them.
async fn two_interceptors(cluster: &Cluster) -> anyhow::Result<Vec<(String, Reach)>> {
    let pods = interceptors::ready_pods(cluster, interceptors::INTERCEPTOR).await?;
    anyhow::ensure!(pods.len() > 1, "there is one interceptor only: {pods:?}");
    let ways = pods.into_iter().take(2).map(async |pod| {
        let reach = cluster.reach_pod(keda::NAMESPACE, &pod, PROXY_PORT).await?;
        anyhow::Ok((pod, reach))
    });
    try_join_all(ways).await
}

/// Sends the requests, each interceptor's to itself, and has all of them answered.
async fn in_flight(interceptors: &[(String, Reach)], host: &str) -> anyhow::Result<()> {
    let path = format!("/delay/{}", LONG.as_secs());
    let shares = interceptors.iter().zip(IN_FLIGHT);
    let requests = shares.flat_map(|((_, reach), share)| {
        (0..share).map(|_| client::get(reach.addr(), host, &path, LONG_BOUND))
    });
    for answer in join_all(requests).await {
        if let Some(failure) = load::failure(&answer) {
            anyhow::bail!("in flight: {failure}");
        }
    }
    Ok(())
}

/// How often the containers of one of Rouse's pods were started again.
async fn restarts(cluster: &Cluster, pod: &str) -> anyhow::Result<i32> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), keda::NAMESPACE);
    let status = api
        .get(pod)
        .await
        .with_context(|| format!("get Pod {pod}"))?
        .status;
    let containers = status.and_then(|status| status.container_statuses);
    Ok(containers
        .into_iter()
        .flatten()
        .map(|container| container.restart_count)
        .sum())
}

fn all_answered(site: &mut Site<'_>) {
    site.trial.evidence.note(format_args!(
        "{SUM} requests of {} s each, all answered with 200.",
        LONG.as_secs()
    ));
}

/// The concurrency that each of these interceptors counts.
async fn counts(
    cluster: &Cluster,
    interceptors: &[(String, Reach)],
    namespace: &str,
) -> anyhow::Result<Vec<u64>> {
    let counts = interceptors.iter().map(async |(pod, _)| {
        let queue = interceptors::queue(cluster, pod).await?;
        let count = &queue[format!("{namespace}/{APP}")]["Concurrency"];
        count.as_u64().with_context(|| format!("{pod} counts {count}"))
    });
    try_join_all(counts).await
}

async fn wait_until_counted(site: &mut Site<'_>, interceptors: &[(String, Reach)]) -> anyhow::Result<()> {
    let (cluster, namespace) = (site.cluster.clone(), site.namespace.clone());
    cluster
        .wait_for("each interceptor counts its own", READY_BOUND, async || {
            let counts = counts(&cluster, interceptors, &namespace).await?;
            if counts == IN_FLIGHT {
                return wait::done(());
            }
            wait::not_yet(format!("{counts:?}"))
        })
        .await?;
    for (pod, _) in interceptors {
        let queue = interceptors::queue(&cluster, pod).await?;
        site.trial.evidence.command(
            format_args!("kubectl get --raw /api/v1/namespaces/keda/pods/{pod}:9090/proxy/queue"),
            &queue.to_string(),
        );
    }
    Ok(())
}

fn is_the_sum(told: f64) -> anyhow::Result<()> {
    anyhow::ensure!((told - SUM).abs() < 1e-6, "it is {told}, and not the sum, {SUM}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sum_asks_for_the_replicas() {
        let asked = |count: f64| (count / 5.0).ceil() as i32;
        assert_eq!(asked(SUM), REPLICAS);
        for other in [7.0, 8.0, 7.5, 2.0 * SUM] {
            assert_ne!(asked(other), REPLICAS, "{other}");
        }
        is_the_sum(IN_FLIGHT.iter().sum::<u64>() as f64).unwrap();
    }
}
