//! What each interceptor knows, as its admin port tells: requests held and in flight by route, and its metrics.

use anyhow::Context as _;
use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::Value;

use super::site::READY_BOUND;
use crate::{cluster::Cluster, keda, wait};

/// What the label `app.kubernetes.io/component` calls an interceptor.
pub(in crate::cases) const INTERCEPTOR: &str = "interceptor";

/// The names of the ready pods of one of Rouse's components, in order.
pub(in crate::cases) async fn ready_pods(cluster: &Cluster, component: &str) -> anyhow::Result<Vec<String>> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), keda::NAMESPACE);
    let of_the_component = ListParams::default().labels(&format!("app.kubernetes.io/component={component}"));
    let pods = api.list(&of_the_component).await?.items.into_iter();
    let ready = pods.filter_map(|pod| {
        let conditions = pod.status?.conditions.unwrap_or_default();
        let is_ready = conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        pod.metadata.name.filter(|_| is_ready)
    });
    let mut ready: Vec<_> = ready.collect();
    anyhow::ensure!(!ready.is_empty(), "no {component} is ready");
    ready.sort_unstable();
    Ok(ready)
}

/// The counts of one interceptor, by `NAMESPACE/ROUTE`.
pub(in crate::cases) async fn queue(cluster: &Cluster, pod: &str) -> anyhow::Result<Value> {
    Ok(cluster.client().request(to_admin(pod, "/queue")?).await?)
}

/// The counts of each ready interceptor, by `NAMESPACE/ROUTE`.
pub(in crate::cases) async fn queues(cluster: &Cluster) -> anyhow::Result<Vec<Value>> {
    let mut queues = Vec::new();
    for pod in ready_pods(cluster, INTERCEPTOR).await? {
        queues.push(queue(cluster, &pod).await?);
    }
    Ok(queues)
}

/// The sum of a series over the ready interceptors: 0 where none of them has it. `series` is its line in `/metrics` up to the
/// value.
pub(in crate::cases) async fn sum_of(cluster: &Cluster, series: &str) -> anyhow::Result<u64> {
    let mut sum = 0;
    for pod in ready_pods(cluster, INTERCEPTOR).await? {
        let metrics = cluster.client().request_text(to_admin(&pod, "/metrics")?).await?;
        if let Some(value) = metrics.lines().find_map(|line| line.strip_prefix(series)) {
            let value: u64 = value.trim().parse().with_context(|| format!("{series}{value}"))?;
            sum += value;
        }
    }
    Ok(sum)
}

/// A request for a path of an interceptor's admin port.
fn to_admin(pod: &str, path: &str) -> anyhow::Result<Request<Vec<u8>>> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{pod}:9090/proxy{path}",
        keda::NAMESPACE
    );
    Request::get(path).body(Vec::new()).context("make a request")
}

/// Waits until every interceptor serves these routes, which are each `NAMESPACE/ROUTE`.
pub(in crate::cases) async fn wait_until_routed(cluster: &Cluster, routes: &[String]) -> anyhow::Result<()> {
    cluster
        .wait_for("every interceptor has the routes", READY_BOUND, async || {
            for queue in queues(cluster).await? {
                let mut missing = routes.iter().filter(|route| queue.get(route).is_none());
                if let Some(missing) = missing.next() {
                    return wait::not_yet(format!("{missing} is not in {queue}"));
                }
            }
            wait::done(())
        })
        .await
}
