//! A cluster without the Gateway API: Rouse serves, and says what it does without; the gateway works when it comes.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use k8s_openapi::jiff::Timestamp;
use tokio::time::{Instant, interval};

use super::{
    addon::site::reach_proxy,
    behind_gateway::{by_gateway, first_answer, is_routed},
    rouse_pods::{self, Restarts, restart_controllers, told_once},
};
use crate::{
    addons::{Cloud, envoy_gateway},
    case::{Case, Need},
    trial::Trial,
};

const BOUND: Duration = Duration::from_mins(1);
const HOST: &str = "chatbot.example.com";
/// What the controller does without, and says so, each once.
const KINDS: [&str; 5] = [
    "httproutes.gateway.networking.k8s.io",
    "gateways.gateway.networking.k8s.io",
    "gatewayclasses.gateway.networking.k8s.io",
    "referencegrants.gateway.networking.k8s.io",
    "backendtrafficpolicies.gateway.envoyproxy.io",
];
/// How long the log is looked at: the controller looks for the kinds every 10 s.
const MEANWHILE: Duration = Duration::from_secs(22);
const LOOK_PERIOD: Duration = Duration::from_secs(1);

pub(super) const GATEWAY_API_THAT_COMES_LATER_IS_SERVED: Case = Case {
    name: "gateway_api_that_comes_later_is_served",
    about: "The cluster has no Gateway API. The controllers are started anew, become ready, and name in their log, once each, the \
            kinds that they do without; the user's chatbot is ready and served through the interceptor. Then the Gateway API and \
            Envoy Gateway are installed and the user's Gateway and HTTPRoute applied: with no restart of anything Rouse writes what \
            they lack, and the chatbot is served through the gateway.",
    needs: &[Need::OwnNodes, Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(12),
    run: |trial| gateway_api_later(trial).boxed_local(),
};

async fn gateway_api_later(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    // Where a case before has needed it.
    envoy_gateway::remove(&cluster).await?;
    let found = cluster.definitions_of(&envoy_gateway::GROUPS).await?;
    anyhow::ensure!(found.is_empty(), "the cluster has the Gateway API: {found:?}");
    let since = Timestamp::now();
    let controllers = restart_controllers(trial).await?;
    let restarts = Restarts::now(&cluster).await?;

    trial.apply_file("examples/chatbot.yaml").await?;
    trial.apply_file("examples/chatbot-http-scaler.yaml").await?;
    let route = ("http.keda.sh/v1alpha1", "HTTPScaledObject");
    cluster
        .wait_for_condition(route, ("default", "chatbot"), ("Ready", "True"), BOUND)
        .await?;
    let conditions = "get httpscaledobject chatbot -o jsonpath={.status.conditions[*].type}";
    let conditions = trial.kubectl(conditions).await?;
    anyhow::ensure!(
        !conditions.contains("GatewayReady"),
        "without the Gateway API there is nothing to say of it: {conditions}"
    );
    let proxy = reach_proxy(&cluster).await?;
    let answer = trial.get(proxy.addr(), HOST, "/", BOUND).await?;
    anyhow::ensure!(
        answer.status == 200,
        "through the interceptor: {}",
        answer.summary()
    );

    trial.step("the Gateway API stays away for a while");
    let started = Instant::now();
    let mut period = interval(LOOK_PERIOD);
    while started.elapsed() < MEANWHILE {
        period.tick().await;
        for controller in &controllers {
            for kind in KINDS {
                let told = rouse_pods::logged(&cluster, controller, since, kind).await?;
                anyhow::ensure!(told.len() <= 1, "{controller} says it again: {told:?}");
            }
        }
    }
    for kind in KINDS {
        // The space before it: `gateways` is not part of another.
        told_once(trial, &controllers, since, &format!("no {kind}")).await?;
    }
    rouse_pods::wait_for_readyz(trial, &controllers, "ready", true).await?;

    trial.step("the Gateway API is installed");
    trial
        .evidence
        .note("The Gateway API and Envoy Gateway are installed.");
    let installed = Timestamp::now();
    envoy_gateway::install(&cluster).await?;
    // None where a case before has made one.
    let cloud = Cloud::start(&cluster)?;
    let served = through_gateway(trial).await;
    if let Some(cloud) = cloud {
        cloud.stop().await;
    }
    served?;
    told_once(trial, &controllers, installed, "HTTPRoute").await?;
    trial.kubectl("get pods --namespace=keda").await?;
    let now = rouse_pods::all(&cluster).await?;
    anyhow::ensure!(
        controllers.iter().all(|controller| now.contains(controller)),
        "other controllers than {controllers:?}: {now:?}"
    );
    restarts.none_since(&cluster).await.context("by the end")
}

async fn through_gateway(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let gateway = by_gateway(trial, "examples/chatbot-route.yaml").await?;
    is_routed(&cluster, "default", "chatbot").await?;
    trial
        .kubectl("get referencegrants,backendtrafficpolicies,httproutes -A")
        .await?;
    let answer = first_answer(&cluster, gateway, HOST, "/", BOUND).await?;
    trial
        .evidence
        .note(format_args!("Through the gateway: {}", answer.summary()));
    anyhow::ensure!(answer.status == 200, "through the gateway: {}", answer.summary());
    Ok(())
}
