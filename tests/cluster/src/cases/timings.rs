//! How long the steps of a cold start take on a cluster, beside a pod that is scaled by hand in the same run.

mod activation;
mod clock;

use std::{fs, net::SocketAddr, pin::pin, time::Duration};

use anyhow::Context as _;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::Pod,
    discovery::v1::{Endpoint, EndpointSlice},
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    net::TcpStream,
    time::{MissedTickBehavior, interval, timeout},
};

use self::{
    activation::Activation,
    clock::{Percentiles, monotonic_ns},
};
use crate::{
    case::{Case, Need},
    cluster::{Cluster, http},
    images::PODINFO,
    keda,
    trial::Trial,
};

const NAMESPACE: &str = "timings";
const COLD_STARTS: usize = 50;
const APPLIED_AT_ONCE: usize = 10;
const BOUND: Duration = Duration::from_mins(2);
const READY_BOUND: Duration = Duration::from_mins(4);
/// Between two looks for a pod's address, and between two attempts to connect to it.
const PERIOD: Duration = Duration::from_millis(5);
/// After this long Rouse wakes a workload itself.
const FALLBACK: Duration = Duration::from_secs(5);
/// What the interceptor's own part in the middle of cold starts may be: many times what it is, for machines with much to do.
const OWN_SHARE: Duration = Duration::from_millis(250);

pub(super) const FIFTY_COLD_STARTS_ARE_TIMED: Case = Case {
    name: "fifty_cold_starts_are_timed",
    about: "50 applications at zero get one request each. In between, as many Deployments that nothing looks after are scaled to \
            one by hand. All moments are on one clock, that of the machine: the applications say when they listened and when \
            the first byte of their first request was there. That `/scale` was written, or an endpoint published, is when a \
            watch showed it; by hand it is when the API server had answered. No probes; the image is on the node.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(15),
    run: |trial| fifty_cold_starts_are_timed(trial).boxed_local(),
};

async fn fifty_cold_starts_are_timed(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    trial.namespace(NAMESPACE).await?;
    // Not by way of the trial: a hundred lines say nothing.
    let objects: Vec<_> = (0..COLD_STARTS).map(objects).collect();
    // All at once would take a busy machine longer than one kubectl may take.
    for some in objects.chunks(APPLIED_AT_ONCE) {
        cluster.apply(&some.join("\n---\n")).await?;
    }
    for start in 0..COLD_STARTS {
        let scaled_object = ("keda.sh/v1alpha1", "ScaledObject");
        let name = routed(start);
        cluster
            .wait_for_condition(scaled_object, (NAMESPACE, &name), ("Ready", "True"), READY_BOUND)
            .await?;
    }
    let proxy = cluster
        .reach(keda::NAMESPACE, "keda-add-ons-http-interceptor-proxy", 8080)
        .await?;
    let scaler = cluster
        .reach(keda::NAMESPACE, "keda-add-ons-http-external-scaler", 9090)
        .await?;
    let addresses = Addresses {
        proxy: proxy.addr(),
        scaler: scaler.addr(),
    };

    let (mut cold, mut alone) = (Vec::new(), Vec::new());
    for start in 0..COLD_STARTS {
        // Each kind comes second as often as first: the other's pod may still be ending.
        if start.is_multiple_of(2) {
            cold.push(Box::pin(cold_start(&cluster, addresses, &routed(start))).await?);
            alone.push(pod_alone(&cluster, &by_hand(start)).await?);
        } else {
            alone.push(pod_alone(&cluster, &by_hand(start)).await?);
            cold.push(Box::pin(cold_start(&cluster, addresses, &routed(start))).await?);
        }
    }
    report(trial, &cold, &alone)
}

/// Where interceptors and external scalers are reached.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    proxy: SocketAddr,
    scaler: SocketAddr,
}

/// The moments of a cold start, in nanoseconds of the machine's monotonic clock.
#[derive(Debug, Clone, Copy)]
struct ColdStart {
    /// Just before the client connected.
    arrived: u64,
    /// The external scaler's stream had told that the route is active.
    told: u64,
    scaled: u64,
    listened: u64,
    /// A watch showed its endpoint as ready.
    published: u64,
    /// The application had read the request's first byte.
    forwarded: u64,
    /// The client had the head of the answer.
    answered: u64,
}

/// The moments of a pod that was scaled by hand.
#[derive(Debug, Clone, Copy)]
struct Alone {
    scaled: u64,
    listened: u64,
    /// It accepted a connection from one who looks for its address and then connects, over and over.
    accepted: u64,
}

fn report(trial: &mut Trial, cold: &[ColdStart], alone: &[Alone]) -> anyhow::Result<()> {
    let cold = |from: fn(&ColdStart) -> u64, to: fn(&ColdStart) -> u64| {
        Percentiles::of(cold.iter().map(|start| (from(start), to(start))))
    };
    let alone = |to: fn(&Alone) -> u64| Percentiles::of(alone.iter().map(|pod| (pod.scaled, to(pod))));
    let scaled = cold(|start| start.arrived, |start| start.scaled)?;
    let forwarded = cold(|start| start.arrived, |start| start.forwarded)?;
    let own = cold(
        |start| start.listened.max(start.published),
        |start| start.forwarded,
    )?;
    let accepted = alone(|pod| pod.accepted)?;
    let rows = [
        (
            "request arrives → the external scaler has told it (`StreamIsActive: true`)",
            cold(|start| start.arrived, |start| start.told)?,
        ),
        ("request arrives → `/scale` written", scaled),
        ("request arrives → first byte forwarded", forwarded),
        (
            "request arrives → first byte of the answer",
            cold(|start| start.arrived, |start| start.answered)?,
        ),
        ("the pod alone: `/scale` written → accepts connections", accepted),
        (
            "of a cold start: `/scale` written → the application listens",
            cold(|start| start.scaled, |start| start.listened)?,
        ),
        (
            "of a cold start: the application listens → a ready endpoint is published",
            cold(|start| start.listened, |start| start.published)?,
        ),
        ("of a cold start: both → first byte forwarded", own),
        (
            "of the pod alone: `/scale` written → the application listens",
            alone(|pod| pod.listened)?,
        ),
    ];
    let mut lines = vec![
        "| what | p50 | p90 | p99 | most |".to_owned(),
        "|---|---|---|---|---|".to_owned(),
    ];
    lines.extend(rows.iter().map(|(what, times)| format!("| {what} | {times} |")));
    trial.evidence.note(lines.join("\n"));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").context("read the machine's load")?;
    trial.evidence.note(format_args!(
        "The whole cluster and this harness ran on one machine of {cores} cores; its load averages at the end were {}.",
        load.split_whitespace().take(3).collect::<Vec<_>>().join(", ")
    ));
    anyhow::ensure!(
        scaled.p90 < FALLBACK,
        "one wake in ten came no sooner than Rouse itself would have written it: {scaled}"
    );
    anyhow::ensure!(
        own.p50 < OWN_SHARE,
        "the interceptor takes longer than {OWN_SHARE:?} from a pod that can be reached to the request's first byte there: {own}"
    );
    anyhow::ensure!(
        forwarded.p50 < scaled.p50 + accepted.p50 + OWN_SHARE,
        "a cold start takes more than {OWN_SHARE:?} beyond its wake ({scaled}) and a pod ({accepted}): {forwarded}"
    );
    Ok(())
}

/// Sends a request to an application at zero, and asks it afterwards when it got it.
async fn cold_start(
    cluster: &Cluster,
    Addresses { proxy, scaler }: Addresses,
    name: &str,
) -> anyhow::Result<ColdStart> {
    let by_name = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let of_service = watcher::Config::default().labels(&format!("kubernetes.io/service-name={name}"));
    let deployments = watcher(
        Api::<Deployment>::namespaced(cluster.client(), NAMESPACE),
        by_name,
    );
    let slices = watcher(
        Api::<EndpointSlice>::namespaced(cluster.client(), NAMESPACE),
        of_service,
    );
    let mut deployments = pin!(deployments.default_backoff().applied_objects());
    let mut slices = pin!(slices.default_backoff().applied_objects());
    // The watches have to stand before the request is sent.
    let at_zero = |deployment: &Deployment| !is_asked_for(deployment);
    when(&mut deployments, at_zero)
        .await
        .with_context(|| format!("{name} is at zero"))?;
    when(&mut slices, |slice| !has_endpoint(slice))
        .await
        .with_context(|| format!("{name} has no endpoint"))?;
    let request = async {
        let arrived = monotonic_ns();
        anyhow::Ok((arrived, http::get(proxy, name, "/", BOUND).await?))
    };
    let activation = Activation::open(scaler, NAMESPACE, name).await?;
    let ((arrived, answer), told, scaled, published) = tokio::try_join!(
        request,
        activation.told(),
        when(&mut deployments, is_asked_for),
        when(&mut slices, has_endpoint)
    )?;
    anyhow::ensure!(answer.status == 200, "{name}: {}", answer.summary());
    let moments = moments(proxy, name).await?;
    Ok(ColdStart {
        arrived,
        told,
        scaled,
        listened: moments.listened_ns,
        published,
        forwarded: moments.first_byte_ns.context("it has got no request")?,
        answered: arrived + u64::try_from(answer.head.as_nanos())?,
    })
}

fn is_asked_for(deployment: &Deployment) -> bool {
    deployment.spec.as_ref().and_then(|spec| spec.replicas) >= Some(1)
}

fn has_endpoint(slice: &EndpointSlice) -> bool {
    let is_ready = |endpoint: &Endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.and_then(|conditions| conditions.ready).unwrap_or(true)
    };
    slice.endpoints.iter().any(is_ready)
}

/// The moment at which a watch shows an object of which this is true.
async fn when<T>(
    seen: &mut (impl Stream<Item = Result<T, watcher::Error>> + Unpin),
    is_so: impl Fn(&T) -> bool,
) -> anyhow::Result<u64> {
    let seen = async {
        loop {
            if is_so(&seen.next().await.context("the watch ended")??) {
                return anyhow::Ok(monotonic_ns());
            }
        }
    };
    timeout(BOUND, seen).await.context("a watch does not show it")?
}

/// From the write of a scale until the pod accepts a connection. It is at zero again afterwards.
async fn pod_alone(cluster: &Cluster, name: &str) -> anyhow::Result<Alone> {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), NAMESPACE);
    let pods: Api<Pod> = Api::namespaced(cluster.client(), NAMESPACE);
    let scale = async |replicas: u32| {
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        let scaled = deployments
            .patch_scale(name, &PatchParams::default(), &patch)
            .await;
        scaled.with_context(|| format!("scale {name}")).map(drop)
    };
    scale(1).await?;
    let scaled = monotonic_ns();
    let accepted = async {
        let mut looks = interval(PERIOD);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let selector = ListParams::default().labels(&format!("app={name}"));
        loop {
            looks.tick().await;
            let found = pods.list(&selector).await.context("list pods")?;
            let address = found.items.into_iter().find_map(|pod| pod.status?.pod_ip);
            let Some(address) = address else { continue };
            let address: SocketAddr = format!("{address}:9898").parse().context("the pod's address")?;
            if TcpStream::connect(address).await.is_ok() {
                return anyhow::Ok((monotonic_ns(), address));
            }
        }
    };
    let (accepted, address) = timeout(BOUND, accepted)
        .await
        .with_context(|| format!("{name} accepts no connection"))??;
    let listened = moments(address, name).await?.listened_ns;
    scale(0).await?;
    Ok(Alone {
        scaled,
        listened,
        accepted,
    })
}

/// What the demo application tells at `/timing`.
#[derive(Debug, Deserialize)]
struct Moments {
    listened_ns: u64,
    first_byte_ns: Option<u64>,
}

async fn moments(addr: SocketAddr, host: &str) -> anyhow::Result<Moments> {
    let answer = http::get(addr, host, "/timing", BOUND).await?;
    serde_json::from_slice(&answer.body)
        .with_context(|| format!("the moments of {host}: {}", answer.summary()))
}

fn routed(start: usize) -> String {
    format!("routed-{start}")
}

fn by_hand(start: usize) -> String {
    format!("by-hand-{start}")
}

/// An application behind a route, and one that nothing looks after, both at zero.
fn objects(start: usize) -> String {
    let name = routed(start);
    let metadata = json!({ "name": name, "namespace": NAMESPACE });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": { "selector": { "app": name }, "ports": [{ "port": 8000, "targetPort": 9898 }] },
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
            "replicas": { "min": 0, "max": 1 },
            "scaledownPeriod": 5,
        },
    });
    [
        deployment(&name),
        service.to_string(),
        route.to_string(),
        deployment(&by_hand(start)),
    ]
    .join("\n---\n")
}

fn deployment(name: &str) -> String {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{ "name": "podinfo", "image": PODINFO }],
                },
            },
        },
    })
    .to_string()
}
