//! The HTTP trigger beside two Prometheus triggers, request rate and 95th percentile, in one ScaledObject of the user's own.

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::Api;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    addon::{
        interceptors, load,
        objects::{self, Scaling},
        site::{COLD_BOUND, READY_BOUND, reach_proxy, replicas_stay},
    },
    example::Example,
    triggers,
};
use crate::{
    addons::prometheus::{self, Target},
    case::{Case, Need},
    cluster::{Cluster, Reach, http},
    trial::Trial,
    wait,
};

const NAMESPACE: &str = "task-api";
const NAME: &str = "task-api";
const HOST: &str = "tasks.example.com";
const TASK_API: (&str, &str) = (NAMESPACE, NAME);
/// A second application, whose trigger takes no data for an error.
const STRICT: &str = "strict";
/// Until a rate over 30 s is full, KEDA's poll, the HPA's looks, and new pods.
const SCALED_BOUND: Duration = Duration::from_secs(90);
/// What the case sets.
const COOLDOWN: Duration = Duration::from_secs(20);
/// The rate's 30 s, the cooldown, two polls, and a busy machine.
const ASLEEP_BOUND: Duration = Duration::from_mins(2);
const LOOK_BOUND: Duration = Duration::from_secs(10);

const RATE: &str = r#"sum(rate(http_requests_total{service="task-api"}[30s]))"#;
const P95: &str = r#"histogram_quantile(0.95, sum(rate(http_request_duration_seconds_bucket{service="task-api",path!~"/(healthz|readyz|metrics)"}[30s])) by (le))"#;

pub(super) const HTTP_TRIGGER_BESIDE_PROMETHEUS: Case = Case {
    name: "http_trigger_beside_prometheus",
    about: "One ScaledObject with the HTTP trigger and two Prometheus triggers, request rate and 95th percentile as the \
            application itself measures them: `examples/compose/prometheus.yaml` with shorter times, and the starter app \
            unmodified. At zero only the HTTP trigger can wake. Whichever of the three asks for most has its way, and zero comes when \
            all are idle. A percentile of no requests, which is NaN, keeps nobody awake, unless its trigger has \
            `ignoreNullValues: \"false\"`, as that of a second application has.",
    needs: &[Need::Rouse, Need::OwnNodes, Need::Prometheus],
    smoke: false,
    bound: Duration::from_mins(10),
    run: |trial| http_trigger_beside_prometheus(trial).boxed_local(),
};

async fn http_trigger_beside_prometheus(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    set_up(trial).await?;
    let proxy = reach_proxy(&cluster).await?;
    let queries = cluster
        .reach(prometheus::NAMESPACE, prometheus::NAME, prometheus::PORT)
        .await?;
    cluster
        .wait_for_replicas(NAMESPACE, NAME, 0, ASLEEP_BOUND)
        .await?;
    tell(trial, "Two pods that nobody asks go. At zero:");
    look(trial, &queries).await?;

    http_alone(trial, proxy.addr()).await?;

    // With the probes' nearly 20, of which 5 are for one replica; a busy machine sends fewer.
    let rates_own = async {
        cluster
            .wait_for(
                "the rate's trigger has its way",
                SCALED_BOUND,
                async || match desired(&cluster).await? {
                    replicas if replicas >= 3 => wait::done(()),
                    replicas => wait::not_yet(format!("{replicas} replicas")),
                },
            )
            .await?;
        replicas_stay(&cluster, TASK_API, 3..=4, Duration::from_secs(10)).await
    };
    load::load_while((proxy.addr(), HOST, "/"), 17, rates_own.boxed_local()).await?;
    tell(
        trial,
        "17 quick requests a second, 5 of which are for one replica by the rate's trigger, 50 at a time by HTTP's:",
    );
    look(trial, &queries).await?;

    // Few, but slow: a percentile of nearly 1 s where 0.5 s is the target asks for twice what there is, up to the most.
    let five = cluster.wait_for_replicas(NAMESPACE, NAME, 5, SCALED_BOUND);
    load::clients_while((proxy.addr(), HOST, "/delay/0.9"), 3, five.boxed_local()).await?;
    tell(
        trial,
        "3 requests at a time, of 0.9 s each, where the percentile's trigger has 0.5 s:",
    );
    look(trial, &queries).await?;

    prometheus_alone(trial, &queries).await?;
    asleep(trial, &queries).await?;

    trial
        .kubectl("get scaledobject,deployment --namespace=task-api")
        .await?;
    let strict = cluster
        .dynamic(objects::SCALED_OBJECT.0, objects::SCALED_OBJECT.1, NAMESPACE)
        .get(STRICT)
        .await?;
    trial.evidence.note(format_args!(
        "The second application, whose trigger has `ignoreNullValues: \"false\"`, was never asked: {}",
        strict.data["status"]["conditions"]
    ));
    replicas_stay(&cluster, (NAMESPACE, STRICT), 1..=1, Duration::from_secs(1)).await
}

/// Both applications; Prometheus scrapes the user's. The second is awake, and nobody asks it.
async fn set_up(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    trial.apply_file("examples/starter-app.yaml").await?;
    let services: Api<Service> = Api::namespaced(cluster.client(), NAMESPACE);
    let service = services
        .get(NAME)
        .await
        .context("get the application's Service")?;
    prometheus::install(&cluster, &[Target::new(service)]).await?;
    Example::read(&cluster, "examples/compose/prometheus.yaml")?
        .with("pollingInterval: 15", &triggers::QUICK)?
        .with(
            "cooldownPeriod: 300",
            &[&format!("cooldownPeriod: {}", COOLDOWN.as_secs())],
        )?
        .with("maxReplicaCount: 20", &["maxReplicaCount: 5"])?
        .with("threshold: \"50\"", &["threshold: \"5\""])?
        .with(&RATE.replace("30s", "1m"), &[RATE])?
        .with(&P95.replace("30s", "5m"), &[P95])?
        .apply(trial)
        .await?;
    let strict: Vec<_> = strict().iter().map(ToString::to_string).collect();
    trial.apply(&strict.join("\n---\n")).await?;
    let ready = ("Ready", "True");
    cluster
        .wait_for_condition(objects::SCALED_OBJECT, TASK_API, ready, READY_BOUND)
        .await?;
    cluster
        .wait_for_condition(objects::ROUTE, TASK_API, ready, READY_BOUND)
        .await?;
    interceptors::wait_until_routed(&cluster, &[format!("{NAMESPACE}/{NAME}")]).await
}

/// An application with one pod and a ScaledObject with both kinds of trigger, the percentile's without a default for no data.
fn strict() -> Vec<Value> {
    let scaling = Scaling::default();
    let [mut deployment, service] = objects::app(NAMESPACE, STRICT);
    deployment["spec"]["replicas"] = json!(1);
    let rules = json!([{ "hosts": ["strict.example.com"] }]);
    let route = objects::route(NAMESPACE, STRICT, &rules, &scaling);
    let mut scaled_object = objects::scaled_object(NAMESPACE, STRICT, STRICT, &scaling);
    let percentile = json!({
        "type": "prometheus",
        "metadata": {
            "serverAddress": "http://prometheus.monitoring.svc.cluster.local:9090",
            "query": P95.replace(NAME, STRICT),
            "threshold": "0.5",
            "activationThreshold": "0.5",
            "ignoreNullValues": "false",
        },
    });
    if let Some(triggers) = scaled_object["spec"]["triggers"].as_array_mut() {
        triggers.push(percentile);
    }
    vec![deployment, service, route, scaled_object]
}

/// A cold request, and one that takes longer than the cooldown: the application's own metrics know of it only when it ends.
async fn http_alone(trial: &mut Trial, proxy: SocketAddr) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let cold = trial.get(proxy, HOST, "/", COLD_BOUND).await?;
    anyhow::ensure!(cold.status == 200, "the cold request: {}", cold.summary());
    let kept = COOLDOWN + Duration::from_secs(12);
    let path = format!("/delay/{}", kept.as_secs());
    let meanwhile = async {
        replicas_stay(&cluster, TASK_API, 1..=1, kept.saturating_sub(LOOK_BOUND)).await?;
        triggers::active(&cluster, NAMESPACE, NAME).await
    };
    let (answer, active) = tokio::join!(trial.get(proxy, HOST, &path, COLD_BOUND), meanwhile);
    let (answer, active) = (answer?, active?);
    anyhow::ensure!(answer.status == 200, "the long request: {}", answer.summary());
    trial
        .evidence
        .note(format_args!("While it was in flight, active: {active:?}"));
    let (http, others) = split(&active)?;
    anyhow::ensure!(
        http && !others,
        "the HTTP trigger alone was to be active: {active:?}"
    );
    Ok(())
}

/// Neighbours who call the Service itself are seen by the application's metrics only.
async fn prometheus_alone(trial: &mut Trial, queries: &Reach) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let service = cluster.reach(NAMESPACE, NAME, 8000).await?;
    let kept = async {
        cluster
            .wait_for("the rate's trigger alone is active", SCALED_BOUND, async || {
                let active = triggers::active(&cluster, NAMESPACE, NAME).await?;
                match split(&active)? {
                    (false, true) => wait::done(()),
                    _ => wait::not_yet(format!("{active:?}")),
                }
            })
            .await?;
        let long = COOLDOWN + Duration::from_secs(10);
        replicas_stay(&cluster, TASK_API, 1..=5, long).await?;
        triggers::active(&cluster, NAMESPACE, NAME).await
    };
    let active = tokio::select! {
        active = kept => active?,
        () = neighbours(service.addr()) => anyhow::bail!("the neighbours never end"),
    };
    anyhow::ensure!(
        matches!(split(&active)?, (false, true)),
        "the Prometheus triggers alone were to be active: {active:?}"
    );
    tell(
        trial,
        "6 requests a second to the Service itself, past the interceptor, for longer than the cooldown:",
    );
    look(trial, queries).await
}

/// Up to 6 requests a second. That some are refused is in order: the Service leads to pods that are going, too, for a moment, and
/// here no interceptor tries again.
async fn neighbours(service: SocketAddr) {
    let mut ticks = interval(Duration::from_secs(1) / 6);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        drop(http::get(service, HOST, "/", LOOK_BOUND).await);
    }
}

/// Nobody asks. Until the pods go, the percentile is one of nothing.
async fn asleep(trial: &mut Trial, queries: &Reach) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let idle = Instant::now();
    let mut not_a_number = false;
    let (api_version, kind) = objects::SCALED_OBJECT;
    let scaled_object = cluster.dynamic(api_version, kind, NAMESPACE);
    cluster
        .wait_for("zero when all are idle", ASLEEP_BOUND, async || {
            let replicas = desired(&cluster).await?;
            if replicas == 0 {
                return wait::done(());
            }
            let percentile = query(queries, P95).await?;
            not_a_number |= percentile.as_deref() == Some("NaN");
            let conditions = scaled_object.get(NAME).await?.data["status"]["conditions"].clone();
            let mut conditions = conditions.as_array().into_iter().flatten();
            let ready = conditions.find(|condition| condition["type"] == "Ready");
            wait::not_yet(format!(
                "{replicas} replicas, the percentile {percentile:?}, {ready:?}"
            ))
        })
        .await?;
    let idle = idle.elapsed();
    tell(trial, "All are idle:");
    look(trial, queries).await?;
    trial.evidence.note(format_args!(
        "Scaled to zero {:.0} s after the last request: first the rate over 30 s has to fall, and then `cooldownPeriod`, {} s, to \
         pass. Before the pods went, the percentile was NaN.",
        idle.as_secs_f64(),
        COOLDOWN.as_secs()
    ));
    anyhow::ensure!(not_a_number, "the percentile was never NaN");
    anyhow::ensure!(
        idle + Duration::from_secs(1) >= COOLDOWN,
        "it was scaled to zero {idle:?} after the last request, before the cooldown was over"
    );
    cluster
        .wait_for_condition(objects::SCALED_OBJECT, TASK_API, ("Ready", "True"), LOOK_BOUND)
        .await
}

/// How many replicas are asked for.
async fn desired(cluster: &Cluster) -> anyhow::Result<i32> {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), NAMESPACE);
    let deployment = deployments.get(NAME).await.context("get the Deployment")?;
    let replicas = deployment.spec.and_then(|spec| spec.replicas);
    replicas.context("the Deployment asks for no number of replicas")
}

/// Whether the HTTP trigger is active, and whether any other is.
fn split(active: &BTreeMap<String, bool>) -> anyhow::Result<(bool, bool)> {
    let is_http = |metric: &str| metric.contains("http_task-api");
    anyhow::ensure!(
        active.len() == 3 && active.keys().filter(|metric| is_http(metric)).count() == 1,
        "these are not the three triggers: {active:?}"
    );
    let any = |http: bool| {
        active
            .iter()
            .any(|(metric, active)| is_http(metric) == http && *active)
    };
    Ok((any(true), any(false)))
}

/// What Prometheus, KEDA and the HPA say.
async fn look(trial: &mut Trial, queries: &Reach) -> anyhow::Result<()> {
    for asked in [RATE, P95] {
        let value = query(queries, asked).await?;
        trial.evidence.command(
            format_args!("promtool query instant http://prometheus.monitoring:9090 '{asked}'"),
            &value.unwrap_or_else(|| "(no data)".to_owned()),
        );
    }
    triggers::show(trial, NAMESPACE, NAME).await
}

/// The value of a query, as Prometheus writes it; none where it has no data.
async fn query(queries: &Reach, query: &str) -> anyhow::Result<Option<String>> {
    let mut encoded = String::new();
    for byte in query.bytes() {
        // Writing to a String does not fail.
        let _infallible = write!(encoded, "%{byte:02X}");
    }
    let path = format!("/api/v1/query?query={encoded}");
    let answer = http::get(queries.addr(), prometheus::NAME, &path, LOOK_BOUND).await?;
    let found: Value = serde_json::from_slice(&answer.body).context("read Prometheus' answer")?;
    anyhow::ensure!(found["status"] == "success", "Prometheus: {found}");
    let value = found.pointer("/data/result/0/value/1");
    Ok(value.and_then(Value::as_str).map(str::to_owned))
}

fn tell(trial: &mut Trial, what: &str) {
    trial.step(what);
    trial.evidence.note(what);
}
