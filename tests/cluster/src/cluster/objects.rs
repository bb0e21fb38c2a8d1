//! Waiting for objects of the cluster.

use std::{net::IpAddr, time::Duration};

use anyhow::Context as _;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Node, Pod, Service},
};
use kube::{
    Api,
    api::{DynamicObject, ListParams},
    core::{ApiResource, GroupVersionKind},
};

use super::Cluster;
use crate::wait::{self, Look};

impl Cluster {
    /// Looks at a condition every 100 ms until it holds; the failure says what was last seen.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        bound: Duration,
        look: impl AsyncFnMut() -> anyhow::Result<Look<T>>,
    ) -> anyhow::Result<T> {
        wait::until(what, bound, look).await
    }

    /// Waits until a Deployment has exactly this many pods and all of them are ready.
    pub async fn wait_for_replicas(
        &self,
        namespace: &str,
        deployment: &str,
        replicas: i32,
        bound: Duration,
    ) -> anyhow::Result<()> {
        let api: Api<Deployment> = Api::namespaced(self.client(), namespace);
        let what = format!("{namespace}/{deployment} has {replicas} ready replicas");
        wait::until(&what, bound, async || {
            let found = api.get(deployment).await?;
            let status = found.status.unwrap_or_default();
            let seen = (
                status.observed_generation == found.metadata.generation,
                status.replicas.unwrap_or(0),
                status.updated_replicas.unwrap_or(0),
                status.ready_replicas.unwrap_or(0),
            );
            if seen == (true, replicas, replicas, replicas) {
                return wait::done(());
            }
            let (_, all, updated, ready) = seen;
            let pods = self.pods_in_short(namespace).await?;
            wait::not_yet(format!(
                "{all} replicas, {updated} updated, {ready} ready; pods: {pods}"
            ))
        })
        .await
    }

    /// Waits until a Deployment is asked for exactly this many pods, ready or not.
    pub async fn wait_for_desired_replicas(
        &self,
        namespace: &str,
        deployment: &str,
        replicas: i32,
        bound: Duration,
    ) -> anyhow::Result<()> {
        let api: Api<Deployment> = Api::namespaced(self.client(), namespace);
        let what = format!("{namespace}/{deployment} is scaled to {replicas}");
        wait::until(&what, bound, async || {
            let asked_for = api.get(deployment).await?.spec.and_then(|spec| spec.replicas);
            if asked_for == Some(replicas) {
                wait::done(())
            } else {
                wait::not_yet(format!("{asked_for:?}"))
            }
        })
        .await
    }

    /// Waits until a Deployment, as it is now, has every pod that it asks for, ready.
    pub async fn wait_for_available(
        &self,
        namespace: &str,
        deployment: &str,
        bound: Duration,
    ) -> anyhow::Result<()> {
        let api: Api<Deployment> = Api::namespaced(self.client(), namespace);
        wait::until(
            &format!("{namespace}/{deployment} is available"),
            bound,
            async || {
                let found = api.get(deployment).await?;
                let wanted = found.spec.and_then(|spec| spec.replicas).unwrap_or(1);
                let status = found.status.unwrap_or_default();
                let is_current = status.observed_generation == found.metadata.generation;
                let updated = status.updated_replicas.unwrap_or(0);
                let available = status.available_replicas.unwrap_or(0);
                if is_current && updated == wanted && available == wanted {
                    return wait::done(());
                }
                let pods = self.pods_in_short(namespace).await?;
                wait::not_yet(format!(
                    "{available} of {wanted} available, {updated} updated; pods: {pods}"
                ))
            },
        )
        .await
    }

    /// Waits until a Node is ready, or is not.
    pub async fn wait_for_node(&self, name: &str, ready: bool, bound: Duration) -> anyhow::Result<()> {
        let api: Api<Node> = Api::all(self.client());
        wait::until(&format!("node {name} is ready: {ready}"), bound, async || {
            let Some(node) = api.get_opt(name).await? else {
                // Its kubelet makes the Node, and may have ended: its last words say why.
                if let Some(Ok(machine)) = self.as_own().map(|own| own.node(name)) {
                    machine.room().check("kubelet")?;
                }
                return wait::not_yet("there is no such Node");
            };
            let conditions = node
                .status
                .and_then(|status| status.conditions)
                .unwrap_or_default();
            let condition = conditions
                .into_iter()
                .find(|condition| condition.type_ == "Ready");
            match condition {
                Some(condition) if (condition.status == "True") == ready => wait::done(()),
                Some(condition) => wait::not_yet(condition.message.unwrap_or_default()),
                None => wait::not_yet("no condition"),
            }
        })
        .await
    }

    /// Waits until a condition of an object of any kind has a status: `("keda.sh/v1alpha1", "ScaledObject")`.
    pub async fn wait_for_condition(
        &self,
        (api_version, kind): (&str, &str),
        (namespace, name): (&str, &str),
        (condition, status): (&str, &str),
        bound: Duration,
    ) -> anyhow::Result<()> {
        let api = self.dynamic(api_version, kind, namespace);
        let what = format!("{kind} {namespace}/{name} is {condition}={status}");
        wait::until(&what, bound, async || {
            let object = api.get(name).await?;
            let conditions = object.data.pointer("/status/conditions");
            let found = conditions
                .and_then(serde_json::Value::as_array)
                .and_then(|conditions| conditions.iter().find(|found| found["type"] == condition));
            match found {
                Some(found) if found["status"] == status => wait::done(()),
                Some(found) => wait::not_yet(found.to_string()),
                None => wait::not_yet(format!("status: {}", object.data["status"])),
            }
        })
        .await
    }

    /// Objects of any kind in a namespace; of a kind that has none, in `""`.
    pub fn dynamic(&self, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        if namespace.is_empty() {
            return Api::all_with(self.client(), &resource);
        }
        Api::namespaced_with(self.client(), namespace, &resource)
    }

    /// The cluster IP of a Service.
    pub async fn cluster_ip(&self, namespace: &str, service: &str) -> anyhow::Result<IpAddr> {
        let api: Api<Service> = Api::namespaced(self.client(), namespace);
        let found = api
            .get(service)
            .await
            .with_context(|| format!("get Service {namespace}/{service}"))?;
        let address = found.spec.and_then(|spec| spec.cluster_ip);
        address
            .and_then(|address| address.parse().ok())
            .with_context(|| format!("Service {namespace}/{service} has no cluster IP"))
    }

    /// The address of a pod.
    pub async fn pod_ip(&self, namespace: &str, pod: &str) -> anyhow::Result<IpAddr> {
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        let found = api
            .get(pod)
            .await
            .with_context(|| format!("get Pod {namespace}/{pod}"))?;
        let address = found.status.and_then(|status| status.pod_ip);
        address
            .and_then(|address| address.parse().ok())
            .with_context(|| format!("Pod {namespace}/{pod} has no address"))
    }

    /// The pods of a namespace with their phases, in a line.
    pub async fn pods_in_short(&self, namespace: &str) -> anyhow::Result<String> {
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        let pods = api.list(&ListParams::default()).await?;
        let pods = pods.items.into_iter().map(|pod| {
            let status = pod.status.unwrap_or_default();
            let waiting = status
                .container_statuses
                .unwrap_or_default()
                .into_iter()
                .find_map(|container| {
                    let waiting = container.state?.waiting?;
                    Some(format!(
                        " ({}: {})",
                        waiting.reason?,
                        waiting.message.unwrap_or_default()
                    ))
                });
            format!(
                "{} {}{}",
                pod.metadata.name.unwrap_or_default(),
                status.phase.unwrap_or_default(),
                waiting.unwrap_or_default()
            )
        });
        Ok(pods.collect::<Vec<_>>().join(", "))
    }
}
