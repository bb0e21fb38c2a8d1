//! Traffic to applications that are awake, by the name of the interceptors' Service, and a look at whether they stay awake.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::SocketAddr,
    time::Duration,
};

use futures_util::future::{LocalBoxFuture, join_all};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::{
    cases::addon::site,
    cluster::{Cluster, http},
    keda,
};

/// Between two requests of one application's: each has a connection of its own.
const PERIOD: Duration = Duration::from_millis(100);
/// Between two looks at the Deployments.
const LOOK_PERIOD: Duration = Duration::from_millis(250);
const PROXY: &str = "keda-add-ons-http-interceptor-proxy";
const PORT: u16 = 8080;

/// An application in use.
#[derive(Debug, Clone)]
pub(super) struct Used {
    pub(super) namespace: String,
    pub(super) deployment: String,
    pub(super) host: String,
    /// Its route's `scaledownPeriod`.
    pub(super) scaledown: Duration,
}

/// What became of the traffic.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) sent: usize,
    /// What was not answered with 200, by what came instead.
    pub(super) lost: Vec<String>,
    /// From the start of the first request that was lost to the end of the first after the last of them that was answered.
    pub(super) interruption: Duration,
    /// Applications that were seen scaled to zero, with their `scaledownPeriod`.
    pub(super) slept: BTreeMap<String, Duration>,
}

/// Traffic to every one of these for as long as `work` takes. A request that is not answered within `patience` is lost.
pub(super) async fn during<T>(
    cluster: &Cluster,
    used: &[Used],
    patience: Duration,
    work: LocalBoxFuture<'_, T>,
) -> (Flow, T) {
    let is_over = Cell::new(false);
    let flow = RefCell::new(Flow::default());
    let interruption = RefCell::new(None::<(Instant, Instant)>);
    let clients = used.iter().map(async |used| {
        let mut proxy = None;
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_failing = false;
        while !is_over.get() {
            ticks.tick().await;
            let started = Instant::now();
            let outcome = one(cluster, &mut proxy, used, patience).await;
            flow.borrow_mut().sent += 1;
            if let Err(said) = &outcome {
                proxy = None;
                flow.borrow_mut().lost.push(said.clone());
            }
            if outcome.is_err() || is_failing {
                let mut interruption = interruption.borrow_mut();
                let first = interruption.map_or(started, |(first, _)| first);
                *interruption = Some((first, Instant::now()));
            }
            is_failing = outcome.is_err();
        }
    });
    let watch = async {
        while !is_over.get() {
            for used in used {
                if is_asleep(cluster, used).await {
                    let name = used.deployment.clone();
                    flow.borrow_mut().slept.insert(name, used.scaledown);
                }
            }
            sleep(LOOK_PERIOD).await;
        }
    };
    let work = async {
        let result = work.await;
        is_over.set(true);
        result
    };
    let (result, _, ()) = tokio::join!(work, join_all(clients), watch);
    let mut flow = flow.into_inner();
    flow.interruption = interruption
        .into_inner()
        .map_or(Duration::ZERO, |(first, last)| last - first);
    (flow, result)
}

/// One request, to where the name leads now: a Service that is made anew has another address.
async fn one(
    cluster: &Cluster,
    proxy: &mut Option<SocketAddr>,
    used: &Used,
    patience: Duration,
) -> Result<(), String> {
    let addr = match *proxy {
        Some(addr) => addr,
        None => match cluster.cluster_ip(keda::NAMESPACE, PROXY).await {
            Ok(ip) => *proxy.insert(SocketAddr::new(ip, PORT)),
            Err(error) => return Err(format!("{error:#}")),
        },
    };
    match http::get(addr, &used.host, "/", patience).await {
        Ok(answer) if answer.status == 200 && !site::is_no_route(&answer) => Ok(()),
        Ok(answer) => Err(answer.summary()),
        Err(error) => Err(format!("{error:#}")),
    }
}

async fn is_asleep(cluster: &Cluster, used: &Used) -> bool {
    let api: Api<Deployment> = Api::namespaced(cluster.client(), &used.namespace);
    let deployment = api.get(&used.deployment).await.ok();
    let replicas = deployment.and_then(|deployment| deployment.spec?.replicas);
    replicas == Some(0)
}
