//! Somebody whom Rouse depends on falls ill while one request is held and others flow: nothing is lost, and nothing that is
//! used goes to zero.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    case::{Case, Need},
    cluster::{Cluster, http},
    control_plane,
    images::PODINFO,
    keda,
    trial::Trial,
};

const NAMESPACE: &str = "sick-neighbours";
const WARM: &str = "warm";
const COLD: &str = "cold";
const BOUND: Duration = Duration::from_mins(2);
/// Longer than the longest fault and a wake after it.
const ANSWER_BOUND: Duration = Duration::from_mins(3);
/// Between two requests of the traffic: each has a connection of its own.
const PERIOD: Duration = Duration::from_millis(50);
/// How long traffic goes on after the held request was answered: two polls of KEDA, in which a wrong scale to zero would show.
const AFTERWARDS: Duration = Duration::from_secs(35);

pub(super) const KILLED_SCALER_AND_CONTROLLER_LOSE_NOTHING: Case = Case {
    name: "killed_scaler_and_controller_lose_nothing",
    about: "Every replica of external scaler and controller is killed (SIGKILL) while a request is held and others flow.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: true,
    bound: Duration::from_mins(6),
    run: |trial| with_fault(trial, kill_scaler_and_controller).boxed_local(),
};

async fn kill_scaler_and_controller(cluster: Cluster) -> anyhow::Result<()> {
    for component in ["external-scaler", "controller-manager"] {
        kill_pods_of(&cluster, &format!("keda-add-ons-http-{component}")).await?;
    }
    Ok(())
}

pub(super) const RESTARTED_KEDA_OPERATOR_LOSES_NOTHING: Case = Case {
    name: "restarted_keda_operator_loses_nothing",
    about: "KEDA's operator is killed (SIGKILL) while a request is held and others flow.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(6),
    run: |trial| with_fault(trial, kill_keda_operator).boxed_local(),
};

async fn kill_keda_operator(cluster: Cluster) -> anyhow::Result<()> {
    kill_pods_of(&cluster, "keda-operator").await
}

pub(super) const KEDA_GONE_FOR_TWO_MINUTES_LOSES_NOTHING: Case = Case {
    name: "keda_gone_for_two_minutes_loses_nothing",
    about: "KEDA's operator is gone for two minutes. A request that comes in that time is answered all the same: Rouse wakes \
            the application itself after 5 s.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(8),
    run: |trial| keda_gone(trial).boxed_local(),
};

async fn keda_gone(trial: &mut Trial) -> anyhow::Result<()> {
    const GONE: Duration = Duration::from_mins(2);
    let cluster = trial.cluster().clone();
    let proxy = set_up(trial).await?;
    trial
        .kubectl("scale deployment keda-operator -n keda --replicas=0")
        .await?;
    let gone = Instant::now();
    let outcome = async {
        cluster
            .wait_for_replicas(keda::NAMESPACE, "keda-operator", 0, BOUND)
            .await?;
        let cold = http::get(proxy, COLD, "/", ANSWER_BOUND).await?;
        anyhow::ensure!(cold.status == 200, "the held request: {}", cold.summary());
        let flow = flow(proxy, GONE.saturating_sub(gone.elapsed())).await;
        anyhow::Ok((cold, flow))
    }
    .await;
    trial
        .kubectl("scale deployment keda-operator -n keda --replicas=1")
        .await?;
    let (cold, flow) = outcome?;
    trial.evidence.note(format_args!(
        "With KEDA gone, the held request: {}",
        cold.summary()
    ));
    flow.check(trial)?;
    cluster.wait_for_keda(BOUND).await?;
    is_awake(&cluster).await
}

pub(super) const API_SERVER_STOPPED_FOR_A_MINUTE_LOSES_NOTHING: Case = Case {
    name: "api_server_stopped_for_a_minute_loses_nothing",
    about: "The API server is stopped (SIGSTOP: connections stay open and nothing answers) for 60 s while a request is held and \
            others flow.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(8),
    run: |trial| with_fault(trial, stop_api_server).boxed_local(),
};

async fn stop_api_server(cluster: Cluster) -> anyhow::Result<()> {
    const STOPPED: Duration = Duration::from_mins(1);
    let own = cluster.as_own().context("a cluster of our own")?;
    let control = own.control();
    control.signal("kube-apiserver", Signal::STOP)?;
    tokio::time::sleep(STOPPED).await; // the fault itself, not a wait for anything
    control.signal("kube-apiserver", Signal::CONT)?;
    control_plane::wait_until_ready(own.parts(), &control, &own.pki()).await?;
    // These end themselves when they cannot reach it for long.
    for service in ["kube-controller-manager", "kube-scheduler"] {
        if !control.runs(service) {
            control.start_again(service)?;
        }
    }
    Ok(())
}

pub(super) const RESTARTED_ETCD_LOSES_NOTHING: Case = Case {
    name: "restarted_etcd_loses_nothing",
    about: "etcd is killed and started again while a request is held and others flow.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(6),
    run: |trial| with_fault(trial, restart_etcd).boxed_local(),
};

async fn restart_etcd(cluster: Cluster) -> anyhow::Result<()> {
    let own = cluster.as_own().context("a cluster of our own")?;
    let control = own.control();
    control.stop("etcd", Signal::KILL, BOUND).await?;
    control.start_again("etcd")?;
    control_plane::wait_until_ready(own.parts(), &control, &own.pki()).await
}

/// Traffic flows to one application, a request is held for another that takes a while to be ready, and then the fault comes.
async fn with_fault<F>(trial: &mut Trial, fault: impl FnOnce(Cluster) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let cluster = trial.cluster().clone();
    let proxy = set_up(trial).await?;
    let held = async {
        let answer = http::get(proxy, COLD, "/", ANSWER_BOUND).await?;
        anyhow::ensure!(answer.status == 200, "the held request: {}", answer.summary());
        Ok(answer)
    };
    let ill = async {
        cluster
            .wait_for_desired_replicas(NAMESPACE, COLD, 1, BOUND)
            .await?;
        fault(cluster.clone()).await
    };
    let both = async { tokio::try_join!(held, ill) };
    let (flow, outcome) = flow_during(proxy, both).await;
    let (answer, ()) = outcome?;
    trial
        .evidence
        .note(format_args!("The held request: {}", answer.summary()));
    flow.check(trial)?;
    is_awake(&cluster).await?;
    trial.kubectl("get pods -n keda").await?;
    cluster.wait_for_keda(BOUND).await
}

/// What became of the traffic.
#[derive(Debug, Default)]
struct Flow {
    sent: usize,
    /// What was not answered with 200, by what came instead.
    lost: Vec<String>,
}

impl Flow {
    fn check(&self, trial: &mut Trial) -> anyhow::Result<()> {
        trial.evidence.note(format_args!(
            "Traffic meanwhile: {} requests, {} lost.",
            self.sent,
            self.lost.len()
        ));
        anyhow::ensure!(
            self.sent > 0 && self.lost.is_empty(),
            "of {} requests {} were lost, the first: {:?}",
            self.sent,
            self.lost.len(),
            self.lost.first()
        );
        Ok(())
    }
}

/// Traffic for as long as `work` takes and a while longer.
async fn flow_during<T>(proxy: SocketAddr, work: impl Future<Output = T>) -> (Flow, T) {
    let (done, mut ended) = tokio::sync::oneshot::channel::<()>();
    let work = async {
        let result = work.await;
        tokio::time::sleep(AFTERWARDS).await; // traffic is to go on
        drop(done);
        result
    };
    let traffic = async {
        let mut flow = Flow::default();
        let mut ticks = ticks();
        while matches!(
            ended.try_recv(),
            Err(tokio::sync::oneshot::error::TryRecvError::Empty)
        ) {
            ticks.tick().await;
            one(proxy, &mut flow).await;
        }
        flow
    };
    tokio::join!(traffic, work)
}

async fn flow(proxy: SocketAddr, period: Duration) -> Flow {
    let mut flow = Flow::default();
    let started = Instant::now();
    let mut ticks = ticks();
    while started.elapsed() < period {
        ticks.tick().await;
        one(proxy, &mut flow).await;
    }
    flow
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn one(proxy: SocketAddr, flow: &mut Flow) {
    flow.sent += 1;
    match http::get(proxy, WARM, "/", Duration::from_secs(20)).await {
        Ok(answer) if answer.status == 200 => {}
        Ok(answer) => flow.lost.push(answer.summary()),
        Err(error) => flow.lost.push(format!("{error:#}")),
    }
}

/// Both applications, at zero, and the traffic's one woken; gives the interceptors' address.
async fn set_up(trial: &mut Trial) -> anyhow::Result<SocketAddr> {
    let cluster = trial.cluster().clone();
    trial.namespace(NAMESPACE).await?;
    trial.apply(&objects(WARM, 0)).await?;
    trial.apply(&objects(COLD, 8)).await?;
    for name in [WARM, COLD] {
        let scaled_object = ("keda.sh/v1alpha1", "ScaledObject");
        cluster
            .wait_for_condition(scaled_object, (NAMESPACE, name), ("Ready", "True"), BOUND)
            .await?;
    }
    let proxy = cluster
        .reach(keda::NAMESPACE, "keda-add-ons-http-interceptor-proxy", 8080)
        .await?
        .addr();
    let answer = http::get(proxy, WARM, "/", BOUND).await?;
    anyhow::ensure!(answer.status == 200, "the first request: {}", answer.summary());
    Ok(proxy)
}

async fn is_awake(cluster: &Cluster) -> anyhow::Result<()> {
    let replicas = cluster
        .kubectl([
            "get",
            "deployment",
            WARM,
            "--namespace",
            NAMESPACE,
            "--output",
            "jsonpath={.spec.replicas}",
        ])
        .await?;
    anyhow::ensure!(replicas.trim() != "0", "an application in use was scaled to zero");
    Ok(())
}

/// A Deployment that is ready this many seconds after its start, its Service and its route; the host is its name.
fn objects(name: &str, ready_after: u32) -> String {
    let labels = json!({ "app": name });
    let metadata = json!({ "name": name, "namespace": NAMESPACE });
    let mut container: Value = json!({ "name": "podinfo", "image": PODINFO });
    if ready_after > 0 {
        container["readinessProbe"] = json!({
            "httpGet": { "path": "/readyz", "port": 9898 },
            "initialDelaySeconds": ready_after,
            "periodSeconds": 1,
        });
    }
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "terminationGracePeriodSeconds": 5, "containers": [container] },
            },
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": { "selector": labels, "ports": [{ "port": 8000, "targetPort": 9898 }] },
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
            "replicas": { "min": 0, "max": 2 },
            "scaledownPeriod": 5,
        },
    });
    [deployment, service, route]
        .map(|object| object.to_string())
        .join("\n---\n")
}

/// Kills the processes of every pod of one of the namespace's Deployments.
async fn kill_pods_of(cluster: &Cluster, deployment: &str) -> anyhow::Result<()> {
    let pods = cluster
        .kubectl(["get", "pods", "--namespace", keda::NAMESPACE, "--output=name"])
        .await?;
    let prefix = format!("pod/{deployment}-");
    let mut killed = 0;
    for pod in pods.lines().filter(|pod| pod.starts_with(&prefix)) {
        let name = pod.trim_start_matches("pod/");
        cluster.signal_pod(keda::NAMESPACE, name, Signal::KILL).await?;
        killed += 1;
    }
    anyhow::ensure!(killed > 0, "{deployment} has no pods among:\n{pods}");
    Ok(())
}
