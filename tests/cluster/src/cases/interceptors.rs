//! The interceptors one by one, for cases in which something happens to one of them.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::Value;

use crate::{
    cluster::{Cluster, http},
    keda, wait,
};

const PROXY_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9090;
const LOOK: Duration = Duration::from_secs(5);

/// A pod of the interceptor.
#[derive(Debug, Clone)]
pub(super) struct Interceptor {
    pub(super) pod: String,
    address: IpAddr,
}

/// The two that are ready.
pub(super) async fn both(cluster: &Cluster, bound: Duration) -> anyhow::Result<[Interceptor; 2]> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), keda::NAMESPACE);
    let selector = ListParams::default().labels("app.kubernetes.io/component=interceptor");
    wait::until("two interceptors are ready", bound, async || {
        let found = pods.list(&selector).await?.items;
        let ready: Vec<Interceptor> = found.iter().filter_map(ready).collect();
        match <[Interceptor; 2]>::try_from(ready) {
            Ok(both) => wait::done(both),
            Err(ready) => wait::not_yet(format!("{} ready of {} pods", ready.len(), found.len())),
        }
    })
    .await
}

fn ready(pod: &Pod) -> Option<Interceptor> {
    let status = pod.status.as_ref()?;
    let is_ready = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    if !is_ready || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    Some(Interceptor {
        pod: pod.metadata.name.clone()?,
        address: status.pod_ip.as_ref()?.parse().ok()?,
    })
}

impl Interceptor {
    /// Where it takes requests.
    pub(super) fn proxy(&self) -> SocketAddr {
        SocketAddr::new(self.address, PROXY_PORT)
    }

    /// Where it tells of itself.
    pub(super) fn admin(&self) -> SocketAddr {
        SocketAddr::new(self.address, ADMIN_PORT)
    }

    /// How many requests of a route (`namespace/name`) it holds or has in flight.
    pub(super) async fn concurrency(&self, route: &str) -> anyhow::Result<u64> {
        Ok(self.queue().await?[route]["Concurrency"].as_u64().unwrap_or(0))
    }

    /// Whether it serves a route.
    pub(super) async fn knows(&self, route: &str) -> anyhow::Result<bool> {
        Ok(self.queue().await?.get(route).is_some())
    }

    async fn queue(&self) -> anyhow::Result<Value> {
        let answer = http::get(self.admin(), "localhost", "/queue", LOOK).await?;
        serde_json::from_slice(&answer.body).context("understand /queue")
    }

    /// Waits until it has this many requests of a route.
    pub(super) async fn has(&self, route: &str, count: u64, bound: Duration) -> anyhow::Result<()> {
        let what = format!("{} has {count} requests of {route}", self.pod);
        wait::until(&what, bound, async || {
            let found = self.concurrency(route).await?;
            if found == count {
                wait::done(())
            } else {
                wait::not_yet(found.to_string())
            }
        })
        .await
    }
}
