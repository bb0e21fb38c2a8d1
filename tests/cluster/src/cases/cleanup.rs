//! The user cleans up, in the order of the guide and in others. Nothing may stay Terminating, and nothing may be left behind
//! that goes on scaling.

use std::time::Duration;

use futures_util::FutureExt as _;
use kube::api::ListParams;

use super::addon::{
    objects::{self, Scaling},
    site::Site,
};
use crate::{
    case::{Case, Need},
    cluster::Cluster,
    rouse::DEPLOYMENTS,
    trial::Trial,
    wait,
};

/// Cases that uninstall the release install it again with the values that a cluster of our own has: hence `Need::OwnNodes`.
const OURS: &[Need] = &[Need::OwnNodes, Need::Rouse];
/// The application of each of them.
pub(super) const APP: &str = "app";
/// Until what was deleted is gone. KEDA takes its finalizer off each ScaledObject, the pods end.
pub(super) const GONE_BOUND: Duration = Duration::from_mins(2);
const RELEASE_BOUND: Duration = Duration::from_mins(3);

pub(super) const CLEANUP_OBJECTS_FIRST: Case = Case {
    name: "cleanup_objects_first",
    about: "The user's cleanup in its order: HTTPScaledObjects, then Deployments and Services, namespaces, then `helm uninstall` \
            of the release. Nothing stays Terminating, no ScaledObject and no HPA is left. The release is installed again.",
    needs: OURS,
    smoke: false,
    bound: Duration::from_mins(14),
    run: |trial| cleanup_objects_first(trial).boxed_local(),
};

pub(super) const CLEANUP_RELEASE_FIRST: Case = Case {
    name: "cleanup_release_first",
    about: "The user's cleanup in the wrong order: `helm uninstall` of the release while an application is awake, and then the \
            objects, with nobody there who could take a finalizer off. Nothing stays Terminating, no ScaledObject and no HPA is \
            left. The release is installed again.",
    needs: OURS,
    smoke: false,
    bound: Duration::from_mins(14),
    run: |trial| cleanup_release_first(trial).boxed_local(),
};

pub(super) const CLEANUP_NAMESPACE_FIRST: Case = Case {
    name: "cleanup_tenant_namespace_first",
    about: "A tenant's namespace is deleted with all that is in it while the application is awake, and without deleting any \
            object before. It goes, and no ScaledObject is left.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(6),
    run: |trial| cleanup_namespace_first(trial).boxed_local(),
};

async fn cleanup_objects_first(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = awake(trial, "cleanup-objects-first").await?;
    let namespace = site.namespace.clone();
    let cleaned = async {
        delete(
            &mut site,
            &format!("httpscaledobject {APP} --namespace={namespace}"),
        )
        .await?;
        wait_until_nothing_scales(&site.cluster, &namespace).await?;
        delete(
            &mut site,
            &format!("deployment,service {APP} --namespace={namespace}"),
        )
        .await?;
        delete(&mut site, &format!("namespace {namespace}")).await?;
        uninstall(&mut site).await
    }
    .await;
    put_back(&site.cluster, cleaned).await
}

async fn cleanup_release_first(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = awake(trial, "cleanup-release-first").await?;
    let namespace = site.namespace.clone();
    let cleaned = async {
        uninstall(&mut site).await?;
        // The definitions stay, and the user's objects with them.
        let kept = format!("get httpscaledobject {APP} --namespace={namespace} --output=name");
        site.trial.kubectl(&kept).await?;
        delete(
            &mut site,
            &format!("httpscaledobject {APP} --namespace={namespace}"),
        )
        .await?;
        wait_until_nothing_scales(&site.cluster, &namespace).await?;
        delete(&mut site, &format!("namespace {namespace}")).await
    }
    .await;
    put_back(&site.cluster, cleaned).await
}

async fn cleanup_namespace_first(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = awake(trial, "cleanup-namespace-first").await?;
    let namespace = site.namespace.clone();
    delete(&mut site, &format!("namespace {namespace}")).await?;
    wait_until_nothing_scales(&site.cluster, &namespace).await
}

/// An application with an HTTPScaledObject, woken by a request.
pub(super) async fn awake<'t>(trial: &'t mut Trial, namespace: &str) -> anyhow::Result<Site<'t>> {
    let mut site = Site::open(trial, namespace).await?;
    let host = site.host(APP);
    let mut items = objects::app(namespace, APP).to_vec();
    items.push(objects::http_scaled_object(
        namespace,
        APP,
        &[&host],
        &Scaling::default(),
    ));
    site.apply(items).await?;
    site.ready(objects::HTTP_SCALED_OBJECT, APP).await?;
    site.ready(objects::SCALED_OBJECT, APP).await?;
    site.answered_by(APP, &host, "/", &[]).await?;
    Ok(site)
}

/// Deletes, and has that be done in time: kubectl waits until the objects are gone.
pub(super) async fn delete(site: &mut Site<'_>, what: &str) -> anyhow::Result<()> {
    let seconds = GONE_BOUND.as_secs();
    let command = format!("delete {what} --timeout={seconds}s");
    site.trial.kubectl(&command).await?;
    Ok(())
}

/// Uninstalls Rouse and waits until its pods are gone.
async fn uninstall(site: &mut Site<'_>) -> anyhow::Result<()> {
    let output = site.cluster.uninstall_rouse().await?;
    site.trial
        .evidence
        .command("helm uninstall keda-http --namespace keda", &output);
    let (api_version, kind) = objects::SCALED_OBJECT;
    let scaled_objects = site.cluster.dynamic(api_version, kind, crate::keda::NAMESPACE);
    let deployments = site
        .cluster
        .dynamic("apps/v1", "Deployment", crate::keda::NAMESPACE);
    site.cluster
        .wait_for("the release is gone", RELEASE_BOUND, async || {
            let all = deployments.list(&ListParams::default()).await?.items;
            let names = all.into_iter().filter_map(|one| one.metadata.name);
            let mut left: Vec<_> = names
                .filter(|name| DEPLOYMENTS.contains(&name.as_str()))
                .collect();
            let scaled = scaled_objects.list(&ListParams::default()).await?.items;
            left.extend(scaled.into_iter().filter_map(|one| one.metadata.name));
            if left.is_empty() {
                wait::done(())
            } else {
                wait::not_yet(left.join(", "))
            }
        })
        .await
}

/// Waits until a namespace has no route, no ScaledObject and no HPA; a namespace that is gone has none.
pub(super) async fn wait_until_nothing_scales(cluster: &Cluster, namespace: &str) -> anyhow::Result<()> {
    cluster
        .wait_for("nothing is left that scales", GONE_BOUND, async || {
            let mut left = Vec::new();
            for (api_version, kind) in [
                objects::HTTP_SCALED_OBJECT,
                objects::SCALED_OBJECT,
                ("autoscaling/v2", "HorizontalPodAutoscaler"),
            ] {
                let api = cluster.dynamic(api_version, kind, namespace);
                let found = api.list(&ListParams::default()).await?.items;
                let found = found.into_iter().filter_map(|one| one.metadata.name);
                left.extend(found.map(|name| format!("{kind} {name}")));
            }
            if left.is_empty() {
                wait::done(())
            } else {
                wait::not_yet(left.join(", "))
            }
        })
        .await
}

/// Installs Rouse again, whatever came of the case: the next ones want it.
async fn put_back(cluster: &Cluster, cleaned: anyhow::Result<()>) -> anyhow::Result<()> {
    let installed = cluster.install_rouse(&[], RELEASE_BOUND).await;
    cleaned?;
    installed.map(drop)
}
