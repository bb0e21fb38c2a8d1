//! Traffic of the kinds that clients send, for cases whose fault concerns the pods of the application itself: GETs and POSTs,
//! on kept and on new connections, quick ones and such that take seconds; and what became of each.
//!
//! Cases call [`during`]. The traffic lasts as long as their fault and two polls of KEDA longer, and each request is waited
//! for at most [`ANSWER_BOUND`]. Requests on new connections come at their times whether or not the earlier ones are answered,
//! some ten a second; a kept connection has one at a time.

mod lane;
mod report;

use std::{net::SocketAddr, time::Duration};

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(super) use self::report::{Fate, Report, Sent};
use crate::{
    cluster::{Cluster, http},
    wait,
};

/// Longer than the longest fault, a wake after it, and a request of some seconds.
const ANSWER_BOUND: Duration = Duration::from_mins(4);
/// How long traffic goes on after the fault is over: two polls of KEDA, in which a wrong scale to zero would show.
const AFTERWARDS: Duration = Duration::from_secs(35);
/// Between two looks at the Deployment that must not be at zero.
const LOOK_PERIOD: Duration = Duration::from_millis(500);

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Get,
    KeptGet,
    SlowGet,
    Post,
    KeptPost,
    SlowPost,
}

impl Kind {
    pub(super) const ALL: [Self; 6] = [
        Self::Get,
        Self::KeptGet,
        Self::SlowGet,
        Self::Post,
        Self::KeptPost,
        Self::SlowPost,
    ];

    /// Whether Rouse may send it a second time.
    pub(super) fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::KeptGet | Self::SlowGet)
    }

    /// Whether the application takes its time with it.
    pub(super) fn is_slow(self) -> bool {
        matches!(self, Self::SlowGet | Self::SlowPost)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET, new connection",
            Self::KeptGet => "GET, kept connection",
            Self::SlowGet => "GET of 3 s, new connection",
            Self::Post => "POST, new connection",
            Self::KeptPost => "POST, kept connection",
            Self::SlowPost => "POST of 3 s, new connection",
        }
    }
}

/// Whose traffic it is: a host behind the interceptors, and the Deployment that serves it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tenant {
    pub(super) proxy: SocketAddr,
    pub(super) host: &'static str,
    pub(super) namespace: &'static str,
    pub(super) deployment: &'static str,
}

/// Traffic to each tenant while `work` is done and a while longer. Fails when a tenant's Deployment is seen at zero.
pub(super) async fn during<T, const N: usize>(
    cluster: &Cluster,
    tenants: [Tenant; N],
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<([Report; N], T)> {
    let stop = CancellationToken::new();
    // Dropped with this future, which ends the traffic.
    let mut lanes: [JoinSet<Vec<Sent>>; N] = tenants.map(|tenant| lane::spawn(tenant, &stop));
    let used = tenants.map(|tenant| (tenant.namespace, tenant.deployment));
    let result = tokio::select! {
        result = work => result?,
        error = seen_at_zero(cluster, &used) => return Err(error),
    };
    tokio::select! {
        () = tokio::time::sleep(AFTERWARDS) => {} // traffic is to go on
        error = seen_at_zero(cluster, &used) => return Err(error),
    }
    stop.cancel();
    let mut reports = [const { Report::new() }; N];
    for (lanes, report) in lanes.iter_mut().zip(&mut reports) {
        while let Some(sent) = lanes.join_next().await {
            report.add(sent?);
        }
    }
    Ok((reports, result))
}

/// Ends when one of these Deployments, each a namespace and a name, asks for no pod.
pub(super) async fn seen_at_zero(cluster: &Cluster, deployments: &[(&str, &str)]) -> anyhow::Error {
    loop {
        for (namespace, name) in deployments {
            // While the API server is busy nothing is seen; the next look will.
            if matches!(desired(cluster, namespace, name).await, Ok(0)) {
                return anyhow::anyhow!("{namespace}/{name}, which is in use, was scaled to zero");
            }
        }
        tokio::time::sleep(LOOK_PERIOD).await;
    }
}

/// How many pods a Deployment asks for.
async fn desired(cluster: &Cluster, namespace: &str, deployment: &str) -> anyhow::Result<i32> {
    let api: Api<Deployment> = Api::namespaced(cluster.client(), namespace);
    let found = api.get(deployment).await?;
    Ok(found.spec.and_then(|spec| spec.replicas).unwrap_or(1))
}

/// Waits until the tenant answers: its application is awake.
pub(super) async fn wake(cluster: &Cluster, tenant: Tenant) -> anyhow::Result<()> {
    const BOUND: Duration = Duration::from_mins(2);
    cluster
        .wait_for("the application is awake", BOUND, async || {
            let answer = http::get(tenant.proxy, tenant.host, "/", BOUND).await?;
            if answer.status == 200 {
                wait::done(())
            } else {
                wait::not_yet(answer.summary())
            }
        })
        .await
}
