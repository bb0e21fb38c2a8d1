//! Pods that are Ready before they listen, as every pod without a readiness probe is: no request pays for it.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::{FutureExt as _, future::join_all};
use http::{Method, Request, header::HOST};
use http_body_util::Full;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::oneshot,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::addon::{
    interceptors,
    load::failure,
    site::{COLD_BOUND, READY_BOUND, reach_proxy},
};
use crate::{
    case::{Case, Need},
    cluster::{
        Cluster,
        http::{self as client, Answer},
    },
    keda,
    trial::Trial,
    wait,
};

const NAMESPACE: &str = "late-listener";
const APP: &str = "late";
const PORT: u16 = 9898;
/// From the container's start until the application listens. The pod is Ready from that start on, but the kubelet tells of it
/// later, up to seconds on a machine with much to do.
const LATE: Duration = Duration::from_secs(6);
/// For so long the pod is to be seen Ready and to refuse.
const REFUSED_FOR: Duration = Duration::from_secs(3);
/// Held together at the cold start.
const HELD: usize = 20;
/// Requests a second. The route's target is 20 a replica: two replicas.
const RATE: u32 = 30;
const SCALED_OUT_BOUND: Duration = Duration::from_mins(2);
/// No request may take this long while the second pod refuses: those that it would have got first, and that waited for it,
/// would.
const WARM_BOUND: Duration = REFUSED_FOR;
/// So many answers of the second pod's end the traffic.
const SHARE: usize = 50;
const PERIOD: Duration = Duration::from_millis(20);
const CONNECT_BOUND: Duration = Duration::from_secs(1);

pub(super) const POD_THAT_LISTENS_LATE_COSTS_NO_REQUEST: Case = Case {
    name: "pod_that_listens_late_costs_no_request",
    about: "An application without a readiness probe listens 6 s after its container's start, and so more than 3 s after its \
            pod is seen Ready. 20 requests, GET and POST, meet it at zero: each is answered with 200 as soon as it listens. \
            Then 30 requests a second, GET and POST, have the HPA make a second pod, which refuses connections for as long \
            while it is Ready: each request is answered with 200 and none waits for it.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(6),
    run: |trial| pod_that_listens_late_costs_no_request(trial).boxed_local(),
};

async fn pod_that_listens_late_costs_no_request(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    trial.namespace(NAMESPACE).await?;
    let image = image(&cluster).await?;
    trial.apply(&objects(&image)).await?;
    let scaled_object = ("keda.sh/v1alpha1", "ScaledObject");
    cluster
        .wait_for_condition(scaled_object, (NAMESPACE, APP), ("Ready", "True"), READY_BOUND)
        .await?;
    interceptors::wait_until_routed(&cluster, &[format!("{NAMESPACE}/{APP}")]).await?;
    cluster.wait_for_replicas(NAMESPACE, APP, 0, READY_BOUND).await?;
    let proxy = reach_proxy(&cluster).await?;

    let (first, answers) = tokio::try_join!(refusal(&cluster, None), cold(proxy.addr()))?;
    first.check()?;
    let cold = Times::of(&answers)?;
    trial.evidence.note(format_args!(
        "At zero, {HELD} requests at once: all answered with 200, {cold}. {}",
        first.told()
    ));

    let before = refused(&cluster).await?;
    let late = refusal(&cluster, Some(&first.pod)).boxed_local();
    let (second, answers) = while_traffic_flows(proxy.addr(), late).await?;
    second.check()?;
    let refused = refused(&cluster).await? - before;
    let warm = Times::of(&answers)?;
    let by_pod = by_pod(&answers)?;
    trial.evidence.note(format_args!(
        "Then {RATE} requests a second, until the second pod had answered some of them, {} in all: all answered with 200, {warm}. \
         {} It refused {refused} of the interceptors' too: those requests went elsewhere.",
        answers.len(),
        second.told(),
    ));
    let shares = by_pod.iter().map(|(pod, count)| format!("| {pod} | {count} |"));
    let shares: Vec<_> = shares.collect();
    trial.evidence.note(format_args!(
        "| pod | answers |\n|---|---|\n{}",
        shares.join("\n")
    ));
    trial
        .kubectl(&format!("get deployment,hpa,pods --namespace={NAMESPACE}"))
        .await?;
    anyhow::ensure!(
        warm.most < WARM_BOUND,
        "a request waited for a pod that refused: {warm}"
    );
    anyhow::ensure!(
        refused > 0,
        "no request met the pod that refused: nothing was shown"
    );
    Ok(())
}

/// A pod's Ready time without a listener.
#[derive(Debug)]
struct Refusal {
    pod: String,
    /// From the first look that saw it Ready until it accepted a connection.
    lasted: Duration,
    /// Connections that it refused meanwhile, of those made directly to it.
    refused: usize,
}

impl Refusal {
    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.refused > 0 && self.lasted >= REFUSED_FOR,
            "the pod was to be Ready for {REFUSED_FOR:?} and longer before it listens: {self:?}"
        );
        Ok(())
    }

    fn told(&self) -> String {
        format!(
            "The pod `{}` was seen Ready for {:.1} s before it listened; {} connections made directly to it were refused.",
            self.pod,
            self.lasted.as_secs_f64(),
            self.refused
        )
    }
}

/// Waits for a pod that is Ready, another than `known`, and then until it accepts a connection.
async fn refusal(cluster: &Cluster, known: Option<&str>) -> anyhow::Result<Refusal> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), NAMESPACE);
    let selector = ListParams::default().labels(&format!("app={APP}"));
    let (pod, address) = cluster
        .wait_for("a new pod is Ready", SCALED_OUT_BOUND, async || {
            let mut ready = pods.list(&selector).await?.items.into_iter().filter_map(ready_at);
            match ready.find(|(pod, _)| Some(pod.as_str()) != known) {
                Some(found) => wait::done(found),
                None => wait::not_yet(cluster.pods_in_short(NAMESPACE).await?),
            }
        })
        .await?;
    let address: SocketAddr = format!("{address}:{PORT}").parse().context("the pod's address")?;
    let since = Instant::now();
    let mut refused = 0;
    let mut attempts = interval(PERIOD);
    attempts.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !matches!(
        timeout(CONNECT_BOUND, TcpStream::connect(address)).await,
        Ok(Ok(_))
    ) {
        refused += 1;
        anyhow::ensure!(since.elapsed() < READY_BOUND, "{pod} never listens");
        attempts.tick().await;
    }
    Ok(Refusal {
        pod,
        lasted: since.elapsed(),
        refused,
    })
}

/// The name and the address of a pod that is Ready.
fn ready_at(pod: Pod) -> Option<(String, String)> {
    let status = pod.status?;
    let is_ready = status
        .conditions?
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    is_ready.then_some((pod.metadata.name?, status.pod_ip?))
}

/// GETs and POSTs at once, all answered with 200.
async fn cold(proxy: SocketAddr) -> anyhow::Result<Vec<Answer>> {
    join_all((0..HELD).map(|number| one(proxy, number)))
        .await
        .into_iter()
        .map(answered)
        .collect()
}

/// GETs and POSTs at a steady rate for as long as `work` takes and until the pod that it finds has its
/// share; all answered with 200.
async fn while_traffic_flows(
    proxy: SocketAddr,
    work: impl Future<Output = anyhow::Result<Refusal>>,
) -> anyhow::Result<(Refusal, Vec<Answer>)> {
    let (tell, mut told) = oneshot::channel();
    let work = async {
        let refusal = work.await?;
        // Nobody listens any more where the traffic has failed, which says so itself.
        drop(tell.send(refusal.pod.clone()));
        Ok(refusal)
    };
    let traffic = async {
        let mut ticks = interval(Duration::from_secs(1) / RATE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut requests, mut answers) = (JoinSet::new(), Vec::new());
        let mut awaited: Option<(String, Instant)> = None;
        for number in 0.. {
            ticks.tick().await;
            requests.spawn(one(proxy, number));
            while let Some(answer) = requests.try_join_next() {
                answers.push(answered(answer?)?);
            }
            if let Ok(pod) = told.try_recv() {
                awaited = Some((pod, Instant::now()));
            }
            let Some((pod, since)) = &awaited else { continue };
            if by_pod(&answers)?.get(pod).is_some_and(|count| *count >= SHARE) {
                break;
            }
            anyhow::ensure!(since.elapsed() < READY_BOUND, "{pod} gets no request");
        }
        while let Some(answer) = requests.join_next().await {
            answers.push(answered(answer?)?);
        }
        Ok(answers)
    };
    tokio::try_join!(work, traffic)
}

/// Every second request is one that may not be repeated.
async fn one(proxy: SocketAddr, number: usize) -> anyhow::Result<Answer> {
    let (method, body) = if number.is_multiple_of(2) {
        (Method::GET, Bytes::new())
    } else {
        (Method::POST, Bytes::from_static(b"{}"))
    };
    let request = Request::builder()
        .method(method)
        .uri("/")
        .header(HOST, APP)
        .body(Full::new(body))
        .context("make a request")?;
    client::send(proxy, request, COLD_BOUND).await
}

fn answered(answer: anyhow::Result<Answer>) -> anyhow::Result<Answer> {
    match failure(&answer) {
        None => answer,
        Some(failure) => anyhow::bail!("a request was lost: {failure}"),
    }
}

/// How many requests each pod has answered, by its name.
fn by_pod(answers: &[Answer]) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut pods = BTreeMap::new();
    for answer in answers {
        let told: Value = serde_json::from_slice(&answer.body).context("read an answer")?;
        let pod = told["hostname"].as_str().context("an answer has no hostname")?;
        *pods.entry(pod.to_owned()).or_default() += 1;
    }
    Ok(pods)
}

/// How many connections of the interceptors' were refused, by whatever pod: nobody else's listens late.
async fn refused(cluster: &Cluster) -> anyhow::Result<u64> {
    let series = "rouse_interceptor_upstream_connects_total{outcome=\"refused\"} ";
    interceptors::sum_of(cluster, series).await
}

/// What answers took.
#[derive(Debug, Clone, Copy)]
struct Times {
    least: Duration,
    median: Duration,
    most: Duration,
}

impl Times {
    fn of(answers: &[Answer]) -> anyhow::Result<Self> {
        let mut times: Vec<_> = answers.iter().map(|answer| answer.total).collect();
        times.sort_unstable();
        let (&[least, ..], &[.., most]) = (times.as_slice(), times.as_slice()) else {
            anyhow::bail!("there are no answers");
        };
        let median = times.get(times.len() / 2).copied().unwrap_or(most);
        Ok(Self { least, median, most })
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [least, median, most] = [self.least, self.median, self.most].map(|time| time.as_secs_f64());
        write!(
            f,
            "after {least:.3} s at least, {median:.3} s in the middle and {most:.3} s at most"
        )
    }
}

/// Rouse's own image: podinfo's own program could not be told to listen late.
async fn image(cluster: &Cluster) -> anyhow::Result<String> {
    let interceptors = cluster
        .kubectl([
            "get",
            "deployment",
            "keda-add-ons-http-interceptor",
            "--namespace",
            keda::NAMESPACE,
            "--output=jsonpath={.spec.template.spec.containers[0].image}",
        ])
        .await?;
    Ok(interceptors.trim().to_owned())
}

/// The application without a probe, its Service and its route; the host is its name.
fn objects(image: &str) -> String {
    let labels = json!({ "app": APP });
    let metadata = json!({ "name": APP, "namespace": NAMESPACE });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "containers": [{
                        "name": "app",
                        "image": image,
                        "args": [
                            "demo-app",
                            "--host=0.0.0.0",
                            format!("--port={PORT}"),
                            format!("--listen-delay={}s", LATE.as_secs()),
                        ],
                    }],
                },
            },
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": { "selector": labels, "ports": [{ "port": 8000, "targetPort": PORT }] },
    });
    let route = json!({
        "apiVersion": "http.keda.sh/v1alpha1",
        "kind": "HTTPScaledObject",
        "metadata": metadata,
        "spec": {
            "hosts": [APP],
            "scaleTargetRef": {
                "name": APP, "kind": "Deployment", "apiVersion": "apps/v1", "service": APP, "port": 8000,
            },
            "replicas": { "min": 0, "max": 2 },
            "scaledownPeriod": 60,
            "scalingMetric": { "requestRate": { "targetValue": 20, "window": "10s", "granularity": "1s" } },
        },
    });
    [deployment, service, route]
        .map(|object| object.to_string())
        .join("\n---\n")
}
