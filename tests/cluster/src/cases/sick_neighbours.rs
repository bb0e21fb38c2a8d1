//! Somebody whom Rouse depends on falls ill while one request is held and others flow: nothing is lost, and nothing that is
//! used goes to zero.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use rustix::process::Signal;
use tokio::time::Instant;

use super::{
    applications::{self, Application, Up},
    interceptors,
    traffic::{self, Stream},
};
use crate::{
    case::{Case, Need},
    cluster::{Cluster, http},
    control_plane, keda,
    trial::Trial,
};

const NAMESPACE: &str = "sick-neighbours";
const WARM: &str = "warm";
const COLD: &str = "cold";
const APPLICATIONS: [Application; 2] = [
    Application {
        name: WARM,
        ready_after: 0,
    },
    Application {
        name: COLD,
        ready_after: 8,
    },
];
const BOUND: Duration = Duration::from_mins(2);
/// Longer than the longest fault and a wake after it.
const ANSWER_BOUND: Duration = Duration::from_mins(3);
/// How long traffic goes on after the held request was answered: two polls of KEDA, in which a wrong scale to zero would show.
const AFTERWARDS: Duration = Duration::from_secs(35);

pub(super) const KILLED_SCALER_AND_CONTROLLER_LOSE_NOTHING: Case = Case {
    name: "killed_scaler_and_controller_lose_nothing",
    about: "Every replica of external scaler and controller is killed (SIGKILL) while a request is held and others flow.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: true,
    bound: Duration::from_mins(6),
    run: |trial| with_fault(trial, To::Service, kill_scaler_and_controller).boxed_local(),
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
    run: |trial| with_fault(trial, To::Service, kill_keda_operator).boxed_local(),
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
    let warm = Up::note(&cluster, NAMESPACE, WARM).await?;
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
        let rest = tokio::time::sleep(GONE.saturating_sub(gone.elapsed())); // the fault itself
        let (flows, ()) = traffic::during(&[traffic(proxy)], Duration::ZERO, rest).await;
        anyhow::Ok((cold, flows))
    }
    .await;
    trial
        .kubectl("scale deployment keda-operator -n keda --replicas=1")
        .await?;
    let (cold, flows) = outcome?;
    trial.evidence.note(format_args!(
        "With KEDA gone, the held request: {}",
        cold.summary()
    ));
    for flow in flows {
        flow.check(trial)?;
    }
    cluster.wait_for_keda(BOUND).await?;
    warm.is_unchanged(&cluster).await
}

pub(super) const API_SERVER_STOPPED_FOR_A_MINUTE_LOSES_NOTHING: Case = Case {
    name: "api_server_stopped_for_a_minute_loses_nothing",
    about: "The API server is stopped (SIGSTOP: connections stay open and nothing answers) for 60 s while a request is held and \
            others flow. Those go to the interceptors' pods: when it goes on, Kubernetes takes the node for lost until its next \
            heartbeat, no pod on it counts as ready, and a Service refuses connections.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(8),
    run: |trial| with_fault(trial, To::Pods, stop_api_server).boxed_local(),
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
    run: |trial| with_fault(trial, To::Service, restart_etcd).boxed_local(),
};

async fn restart_etcd(cluster: Cluster) -> anyhow::Result<()> {
    let own = cluster.as_own().context("a cluster of our own")?;
    let control = own.control();
    control.stop("etcd", Signal::KILL, BOUND).await?;
    control.start_again("etcd")?;
    control_plane::wait_until_ready(own.parts(), &control, &own.pki()).await
}

/// Where the traffic goes.
#[derive(Clone, Copy)]
enum To {
    /// To the interceptors' Service.
    Service,
    /// To each of the interceptors.
    Pods,
}

/// Traffic flows to one application, a request is held for another that takes a while to be ready, and then the fault comes.
async fn with_fault<F>(trial: &mut Trial, to: To, fault: impl FnOnce(Cluster) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let cluster = trial.cluster().clone();
    let proxy = set_up(trial).await?;
    let warm = Up::note(&cluster, NAMESPACE, WARM).await?;
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
    let streams = match to {
        To::Service => vec![traffic(proxy)],
        To::Pods => {
            let interceptors = interceptors::both(&cluster, BOUND).await?;
            // A pod that does not count as ready is waited for until it does.
            Vec::from(interceptors.map(|one| traffic(one.proxy()).with_patience(BOUND)))
        }
    };
    let (flows, outcome) = traffic::during(&streams, AFTERWARDS, both).await;
    let (answer, ()) = outcome?;
    trial
        .evidence
        .note(format_args!("The held request: {}", answer.summary()));
    for flow in flows {
        flow.check(trial)?;
    }
    match to {
        To::Service => warm.is_unchanged(&cluster).await?,
        To::Pods => warm.has_not_fallen(&cluster).await?,
    }
    trial.kubectl("get pods -n keda").await?;
    cluster.wait_for_keda(BOUND).await
}

/// Both applications, at zero, and the traffic's one woken; gives the interceptors' address.
async fn set_up(trial: &mut Trial) -> anyhow::Result<SocketAddr> {
    let proxy = applications::set_up(trial, NAMESPACE, &APPLICATIONS).await?;
    applications::wake(proxy, WARM).await?;
    Ok(proxy)
}

fn traffic(proxy: SocketAddr) -> Stream {
    Stream::new("Traffic meanwhile", proxy, WARM)
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
