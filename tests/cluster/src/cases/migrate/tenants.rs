//! The tenants that the add-on serves before Rouse does: the user's chatbot, and one of each kind of route.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, api::ListParams};
use serde_json::json;

use super::traffic::Used;
use crate::{
    addons::http_add_on::FINALIZER,
    cases::addon::{
        objects::{self, Scaling},
        site,
    },
    cluster::{Cluster, http},
    trial::Trial,
    wait,
};

const NAMESPACE: &str = "migration";
const READY_BOUND: Duration = Duration::from_mins(2);
const COLD_BOUND: Duration = Duration::from_secs(90);

/// Applies them, waits until all are served, and wakes those that are in use from here on: the chatbot, whose
/// `scaledownPeriod` is a minute, and one with this `scaledownPeriod`.
pub(super) async fn set_up(trial: &mut Trial, scaledown_period: u32) -> anyhow::Result<Vec<Used>> {
    let cluster = trial.cluster().clone();
    trial.apply_file("examples/chatbot.yaml").await?;
    trial.apply_file("examples/chatbot-http-scaler.yaml").await?;
    trial.namespace(NAMESPACE).await?;
    let scaling = Scaling::default();
    let mut items = Vec::new();
    for app in ["used", "asleep", "later", "own", "route"] {
        items.extend(objects::app(NAMESPACE, app));
    }
    for app in ["used", "asleep", "later", "own"] {
        items.push(objects::http_scaled_object(
            NAMESPACE,
            app,
            &[&host(app)],
            &scaling,
        ));
    }
    for route in items.iter_mut().filter(|item| item["kind"] == "HTTPScaledObject") {
        if route["metadata"]["name"] == "used" {
            route["spec"]["scaledownPeriod"] = scaledown_period.into();
        }
        if route["metadata"]["name"] == "own" {
            let skip = json!({ "httpscaledobject.keda.sh/skip-scaledobject-creation": "true" });
            route["metadata"]["annotations"] = skip;
        }
    }
    items.push(objects::scaled_object_of_http_scaled_object(
        NAMESPACE, "own", &scaling,
    ));
    items.push(objects::route(
        NAMESPACE,
        "route",
        &json!([{ "hosts": [host("route")] }]),
        &scaling,
    ));
    items.push(objects::scaled_object(NAMESPACE, "route", "route", &scaling));
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    trial.apply(&list.to_string()).await?;
    wait_until_served(&cluster).await?;
    let used = vec![
        Used {
            namespace: "default".to_owned(),
            deployment: "chatbot".to_owned(),
            host: "chatbot.example.com".to_owned(),
            scaledown: Duration::from_mins(1),
        },
        Used {
            namespace: NAMESPACE.to_owned(),
            deployment: "used".to_owned(),
            host: host("used"),
            scaledown: Duration::from_secs(scaledown_period.into()),
        },
    ];
    for used in &used {
        wake_host(trial, &used.host).await?;
    }
    Ok(used)
}

fn host(app: &str) -> String {
    format!("{app}.{NAMESPACE}.test")
}

/// Waits until every route and every ScaledObject of them says that it is ready.
pub(super) async fn wait_until_served(cluster: &Cluster) -> anyhow::Result<()> {
    let chatbot = ("default", "chatbot");
    let own: Vec<_> = ["used", "asleep", "later", "own"]
        .map(|app| (NAMESPACE, app))
        .to_vec();
    let route = (NAMESPACE, "route");
    let by_kind = [
        (objects::HTTP_SCALED_OBJECT, [&[chatbot][..], &own].concat()),
        (objects::ROUTE, vec![route]),
        (objects::SCALED_OBJECT, [&[chatbot, route][..], &own].concat()),
    ];
    for (kind, names) in by_kind {
        for name in names {
            cluster
                .wait_for_condition(kind, name, ("Ready", "True"), READY_BOUND)
                .await?;
        }
    }
    Ok(())
}

/// Waits until every HTTPScaledObject has the add-on's finalizer, or none has.
pub(super) async fn wait_until_finalizers(cluster: &Cluster, wanted: bool) -> anyhow::Result<()> {
    let (api_version, kind) = objects::HTTP_SCALED_OBJECT;
    let all = cluster.dynamic(api_version, kind, "");
    let what = format!("the add-on's finalizer is on every HTTPScaledObject: {wanted}");
    cluster
        .wait_for(&what, READY_BOUND, async || {
            let found = all.list(&ListParams::default()).await?.items;
            let other = found.into_iter().filter(|object| {
                let mut finalizers = object.metadata.finalizers.iter().flatten();
                finalizers.any(|one| one == FINALIZER) != wanted
            });
            let other: Vec<_> = other.filter_map(|object| object.metadata.name).collect();
            if other.is_empty() {
                wait::done(())
            } else {
                wait::not_yet(other.join(", "))
            }
        })
        .await
}

/// Sends each of these applications, which is asleep, a request, which it has to answer itself.
pub(super) async fn wake(trial: &mut Trial, apps: &[&str]) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(trial.cluster().client(), NAMESPACE);
    for app in apps {
        let replicas = deployments.get(app).await?.spec.and_then(|spec| spec.replicas);
        anyhow::ensure!(
            replicas == Some(0),
            "{app} has {replicas:?} replicas, though nobody called it"
        );
        let answer = wake_host(trial, &host(app)).await?;
        let told = site::told_name(&answer);
        anyhow::ensure!(
            told.as_deref() == Some(*app),
            "{app}'s request was answered by {told:?}"
        );
    }
    Ok(())
}

async fn wake_host(trial: &mut Trial, host: &str) -> anyhow::Result<http::Answer> {
    let proxy = site::reach_proxy(trial.cluster()).await?;
    let answer = trial.get(proxy.addr(), host, "/", COLD_BOUND).await?;
    anyhow::ensure!(answer.status == 200, "{host}: {}", answer.summary());
    Ok(answer)
}
