//! A cluster without KEDA: Rouse starts, says so, and answers requests all the same; it goes on as usual when KEDA comes.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use k8s_openapi::jiff::Timestamp;
use tokio::time::{Instant, interval};

use super::{
    addon::{
        interceptors::wait_until_routed,
        objects::{self, Scaling},
        site::{ASLEEP_BOUND, Site},
    },
    rouse_pods::{self, Restarts, restart_controllers, told_once},
};
use crate::{
    case::{Case, Need},
    keda,
    trial::{Shared, Trial},
};

/// One that was there before KEDA went.
const EARLY: &str = "early";
/// One that comes while KEDA is away.
const LATE: &str = "late";
const BOUND: Duration = Duration::from_mins(2);
/// How long the same things are looked at while KEDA is away: Rouse looks for it every 5 s, and tries its watch every 10 s.
const MEANWHILE: Duration = Duration::from_secs(25);
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// What is said of it.
const MISSING: &str = "KEDA is not installed";
const RESOURCE: &str = "scaledobjects.keda.sh/v1alpha1";

pub(super) const WITHOUT_KEDA_IT_IS_TOLD_AND_REQUESTS_ARE_ANSWERED: Case = Case {
    name: "without_keda_it_is_told_and_requests_are_answered",
    about: "KEDA is taken away with its definitions, and the controllers are started anew. They become ready; status, log and \
            `/readyz` name what is missing, the log once. An application that comes while KEDA is away is woken by Rouse itself. \
            Then KEDA is installed: both routes become ready with no restart of anything, KEDA scales to zero, and a request \
            wakes again.",
    needs: &[Need::OwnNodes, Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(10),
    run: |trial| without_keda(trial).boxed_local(),
};

async fn without_keda(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "without-keda").await?;
    let cluster = site.cluster.clone();
    let (namespace, early_host, late_host) = (site.namespace.clone(), site.host(EARLY), site.host(LATE));
    add(&mut site, EARLY, &early_host).await?;
    site.ready(objects::HTTP_SCALED_OBJECT, EARLY).await?;
    site.ready(objects::SCALED_OBJECT, EARLY).await?;
    site.answered_by(EARLY, &early_host, "/", &[]).await?;

    site.trial.step("KEDA is taken away");
    site.trial
        .evidence
        .note("KEDA is deleted: its definitions first, then everything else.");
    site.trial.put_back_at_end(Shared::Keda);
    // Its chart has a ScaledObject for the interceptors, which goes with the definition.
    site.trial.put_back_at_end(Shared::Rouse);
    keda::remove(&cluster, BOUND).await?;
    let restarts = Restarts::now(&cluster).await?;
    let since = Timestamp::now();
    let controllers = restart_controllers(site.trial).await?;
    is_missing(&site, EARLY).await?;
    rouse_pods::wait_for_readyz(site.trial, &controllers, RESOURCE, true).await?;

    add(&mut site, LATE, &late_host).await?;
    is_missing(&site, LATE).await?;
    site.trial
        .kubectl(&format!("get httpscaledobject --namespace={namespace}"))
        .await?;
    let condition = "jsonpath={.status.conditions[?(@.type==\"ScalerReady\")].message}";
    site.trial
        .kubectl(&format!(
            "get httpscaledobject {LATE} --namespace={namespace} -o {condition}"
        ))
        .await?;
    wait_until_routed(&cluster, &[format!("{namespace}/{LATE}")]).await?;
    site.replicas(LATE, 0, BOUND).await?;
    site.answered_by(LATE, &late_host, "/", &[]).await?;
    let events = site
        .trial
        .kubectl(&format!(
            "get events --namespace={namespace} --field-selector=reason=WokenByRouse"
        ))
        .await?;
    anyhow::ensure!(
        events.contains("has scaled Deployment late from 0 to 1"),
        "{events}"
    );

    site.trial.step("KEDA stays away for a while");
    let started = Instant::now();
    let mut period = interval(LOOK_PERIOD);
    while started.elapsed() < MEANWHILE {
        period.tick().await;
        restarts.none_since(&cluster).await?;
        for controller in &controllers {
            let told = rouse_pods::logged(&cluster, controller, since, MISSING).await?;
            anyhow::ensure!(
                told.len() == 1,
                "{controller} says it {} times: {told:?}",
                told.len()
            );
        }
    }
    told_once(site.trial, &controllers, since, MISSING).await?;
    site.trial.kubectl("get pods --namespace=keda").await?;

    site.trial.step("KEDA is installed");
    site.trial.evidence.note("KEDA is installed.");
    keda::put_back(&cluster, BOUND).await?;
    for name in [EARLY, LATE] {
        site.ready(objects::HTTP_SCALED_OBJECT, name).await?;
        site.ready(objects::SCALED_OBJECT, name).await?;
    }
    rouse_pods::wait_for_readyz(site.trial, &controllers, RESOURCE, false).await?;
    site.replicas(LATE, 0, ASLEEP_BOUND).await?;
    site.answered_by(LATE, &late_host, "/", &[]).await?;
    let ready = format!("get httpscaledobject,scaledobject --namespace={namespace}");
    site.trial.kubectl(&ready).await?;
    let now = rouse_pods::all(&cluster).await?;
    anyhow::ensure!(
        controllers.iter().all(|controller| now.contains(controller)),
        "other controllers than {controllers:?}: {now:?}"
    );
    restarts.none_since(&cluster).await.context("by the end")
}

/// An application at zero with its HTTPScaledObject.
async fn add(site: &mut Site<'_>, name: &str, host: &str) -> anyhow::Result<()> {
    let namespace = site.namespace.clone();
    let scaling = Scaling::default();
    let mut items = objects::app(&namespace, name).to_vec();
    items.push(objects::http_scaled_object(&namespace, name, &[host], &scaling));
    site.apply(items).await
}

/// Waits until a route's status says that it is KEDA that is missing.
async fn is_missing(site: &Site<'_>, name: &str) -> anyhow::Result<()> {
    let route = (site.namespace.as_str(), name);
    let cluster = &site.cluster;
    for condition in ["ScalerReady", "Ready"] {
        let expected = (condition, "False");
        cluster
            .wait_for_condition(objects::HTTP_SCALED_OBJECT, route, expected, BOUND)
            .await?;
    }
    let (api_version, kind) = objects::HTTP_SCALED_OBJECT;
    let object = cluster
        .dynamic(api_version, kind, &site.namespace)
        .get(name)
        .await?;
    let status = object.data["status"].to_string();
    let is_named = status.contains("\"KedaMissing\"") && status.contains(RESOURCE_NAME);
    anyhow::ensure!(is_named, "{name}: {status}");
    Ok(())
}

/// What the status names. The version goes with it where the controller says it.
const RESOURCE_NAME: &str = "scaledobjects.keda.sh";
