//! The cluster as a place: a namespace, the way to the interceptors, and a look at each Deployment's replicas.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use super::manifests::App;
use crate::{
    cases::addon::{
        interceptors, objects,
        site::{READY_BOUND, Site, reach_proxy},
    },
    cluster::{Cluster, Reach},
    trial::Trial,
};

/// Far shorter than any number of replicas stands.
const LOOK_PERIOD: Duration = Duration::from_millis(200);

/// The numbers of replicas that each application was scaled to.
pub(super) type Scaled = Arc<Mutex<BTreeMap<String, Vec<u32>>>>;

/// The numbers with which the applications begin.
pub(super) fn as_written(apps: &[App]) -> Scaled {
    let written = apps.iter().map(|app| (app.name.to_owned(), vec![app.replicas]));
    Arc::new(Mutex::new(written.collect()))
}

/// Notes that an application is scaled to a number, if it is another than before.
pub(super) fn note(scaled: &Scaled, app: &str, replicas: u32) {
    let mut scaled = scaled.lock();
    if let Some(numbers) = scaled.get_mut(app)
        && numbers.last() != Some(&replicas)
    {
        numbers.push(replicas);
    }
}

/// What an application was scaled to so far.
pub(super) fn noted(scaled: &Scaled, app: &str) -> Vec<u32> {
    let scaled = scaled.lock();
    scaled.get(app).cloned().unwrap_or_default()
}

pub(super) struct OnCluster {
    cluster: Cluster,
    namespace: String,
    proxy: Reach,
    scaled: Scaled,
    _looking: AbortOnDropHandle<()>,
}

impl OnCluster {
    /// Applies the manifests in a namespace of their own and waits until the routes are served and all else is as written.
    pub(super) async fn open(
        trial: &mut Trial,
        namespace: &str,
        apps: &[App],
        manifests: &[Value],
    ) -> anyhow::Result<Self> {
        let cluster = trial.cluster().clone();
        let mut site = Site::open(trial, namespace).await?;
        let scaled = as_written(apps);
        let looking = tokio::spawn(look(cluster.clone(), namespace.to_owned(), scaled.clone()));
        site.apply(manifests.to_vec()).await?;
        for app in apps.iter().filter(|app| app.is_routed()) {
            site.ready(objects::HTTP_SCALED_OBJECT, app.name).await?;
            site.ready(objects::SCALED_OBJECT, app.name).await?;
        }
        for app in apps.iter().filter(|app| app.replicas > 0) {
            let replicas = i32::try_from(app.replicas).context("a number of replicas")?;
            site.replicas(app.name, replicas, READY_BOUND).await?;
        }
        Ok(Self {
            proxy: reach_proxy(&cluster).await?,
            namespace: namespace.to_owned(),
            cluster,
            scaled,
            _looking: AbortOnDropHandle::new(looking),
        })
    }

    pub(super) fn proxy(&self) -> SocketAddr {
        self.proxy.addr()
    }

    pub(super) async fn queues(&self) -> anyhow::Result<Vec<Value>> {
        interceptors::queues(&self.cluster).await
    }

    pub(super) fn scaled(&self, app: &str) -> Vec<u32> {
        noted(&self.scaled, app)
    }

    /// The names of an application's pods, also of those that end.
    pub(super) async fn replicas(&self, app: &str) -> anyhow::Result<Vec<String>> {
        let of_app = ListParams::default().labels(&format!("app={app}"));
        let pods = self.pods().list(&of_app).await?.items;
        Ok(pods.into_iter().filter_map(|pod| pod.metadata.name).collect())
    }

    pub(super) async fn end_replicas(&self, app: &str) -> anyhow::Result<()> {
        for name in self.replicas(app).await? {
            self.pods().delete(&name, &DeleteParams::default()).await?;
        }
        Ok(())
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client(), &self.namespace)
    }
}

/// Notes what every Deployment of the namespace is scaled to. A look that fails is made good by the next.
async fn look(cluster: Cluster, namespace: String, scaled: Scaled) {
    let api: Api<Deployment> = Api::namespaced(cluster.client(), &namespace);
    let mut ticks = interval(LOOK_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(found) = api.list(&ListParams::default()).await else {
            continue;
        };
        for deployment in found.items {
            let replicas = deployment.spec.and_then(|spec| spec.replicas);
            let replicas = replicas.and_then(|replicas| u32::try_from(replicas).ok());
            if let (Some(name), Some(replicas)) = (deployment.metadata.name, replicas) {
                note(&scaled, &name, replicas);
            }
        }
    }
}
