//! What each interceptor knows, as its admin port tells: requests held and in flight by route, and its metrics.

use anyhow::Context as _;
use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::Value;

use super::site::READY_BOUND;
use crate::{cluster::Cluster, keda, wait};

/// The counts of each ready interceptor, by `NAMESPACE/ROUTE`.
pub(in crate::cases) async fn queues(cluster: &Cluster) -> anyhow::Result<Vec<Value>> {
    let mut queues = Vec::new();
    for request in requests(cluster, "/queue").await? {
        queues.push(cluster.client().request(request).await?);
    }
    Ok(queues)
}

/// The sum of a series over the ready interceptors: 0 where none of them has it. `series` is its line in `/metrics` up to the
/// value.
pub(in crate::cases) async fn sum_of(cluster: &Cluster, series: &str) -> anyhow::Result<u64> {
    let mut sum = 0;
    for request in requests(cluster, "/metrics").await? {
        let metrics = cluster.client().request_text(request).await?;
        if let Some(value) = metrics.lines().find_map(|line| line.strip_prefix(series)) {
            let value: u64 = value.trim().parse().with_context(|| format!("{series}{value}"))?;
            sum += value;
        }
    }
    Ok(sum)
}

/// A request for a path of the admin port of each ready interceptor.
async fn requests(cluster: &Cluster, path: &str) -> anyhow::Result<Vec<Request<Vec<u8>>>> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), keda::NAMESPACE);
    let interceptors = ListParams::default().labels("app.kubernetes.io/component=interceptor");
    let mut requests = Vec::new();
    for pod in api.list(&interceptors).await?.items {
        let conditions = pod
            .status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        let is_ready = conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let (true, Some(name)) = (is_ready, pod.metadata.name) else {
            continue;
        };
        let path = format!(
            "/api/v1/namespaces/{}/pods/{name}:9090/proxy{path}",
            keda::NAMESPACE
        );
        requests.push(Request::get(path).body(Vec::new()).context("make a request")?);
    }
    anyhow::ensure!(!requests.is_empty(), "no interceptor is ready");
    Ok(requests)
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
