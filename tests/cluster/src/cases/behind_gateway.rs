//! Rouse behind Envoy Gateway, reached by the user's own HTTPRoute.

use std::{net::SocketAddr, time::Duration};

use futures_util::FutureExt as _;
use tokio::time::Instant;

use crate::{
    addons::envoy_gateway,
    case::{Case, Need},
    cluster::{
        Cluster,
        http::{self, Answer},
    },
    trial::Trial,
    wait,
};

const BOUND: Duration = Duration::from_mins(1);
const HOST: &str = "chatbot.example.com";
/// An answer that took no wake.
const WARM: Duration = Duration::from_millis(300);

pub(super) const CHATBOT_WAKES_BEHIND_THE_GATEWAY: Case = Case {
    name: "chatbot_wakes_behind_the_gateway",
    about: "The user's chatbot, Gateway and HTTPRoute, unmodified. The HTTPRoute points into another namespace and has no \
            timeouts: the controller writes the ReferenceGrant and the timeout policy that it lacks. The first request \
            wakes the application and is answered, the second takes milliseconds.",
    needs: &[Need::Rouse, Need::Gateway],
    smoke: false,
    bound: Duration::from_mins(6),
    run: |trial| chatbot_wakes_behind_the_gateway(trial).boxed_local(),
};

async fn chatbot_wakes_behind_the_gateway(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    trial.apply_file("examples/chatbot.yaml").await?;
    trial.apply_file("examples/chatbot-http-scaler.yaml").await?;
    let gateway = by_gateway(trial, "examples/chatbot-route.yaml").await?;
    is_routed(&cluster, "default", "chatbot").await?;
    cluster.wait_for_replicas("default", "chatbot", 0, BOUND).await?;
    trial
        .kubectl("get referencegrants,backendtrafficpolicies,httproutes -A")
        .await?;

    let cold = first_answer(&cluster, gateway, HOST, "/", BOUND).await?;
    trial
        .evidence
        .note(format_args!("Cold, through the Gateway: {}", cold.summary()));
    anyhow::ensure!(cold.status == 200, "the cold request: {}", cold.summary());
    anyhow::ensure!(
        cold.headers
            .get("x-keda-http-cold-start")
            .is_some_and(|cold| cold == "true"),
        "the first answer was not a cold start's: {:?}",
        cold.headers
    );
    let warm = trial.get(gateway, HOST, "/", BOUND).await?;
    anyhow::ensure!(
        warm.status == 200 && warm.total < WARM,
        "the warm request: {}",
        warm.summary()
    );
    trial.kubectl("get httpscaledobject,pods").await.map(drop)
}

/// Applies the user's Gateway and a file of HTTPRoutes; gives the Gateway's address.
pub(super) async fn by_gateway(trial: &mut Trial, routes: &str) -> anyhow::Result<SocketAddr> {
    let cluster = trial.cluster().clone();
    trial.apply_file("examples/gateway.yaml").await?;
    trial.apply_file(routes).await?;
    envoy_gateway::address(&cluster, "envoy-gateway-system", "main-gateway", 80).await
}

/// Waits until the route's object says that its gateway sends requests to the interceptor.
pub(super) async fn is_routed(cluster: &Cluster, namespace: &str, name: &str) -> anyhow::Result<()> {
    let kind = ("http.keda.sh/v1alpha1", "HTTPScaledObject");
    cluster
        .wait_for_condition(kind, (namespace, name), ("GatewayReady", "True"), BOUND)
        .await
}

/// The first answer that is not the gateway's own: it knows a new route, and where it leads, a moment after it has said so.
/// None of its answers wakes anything.
pub(super) async fn first_answer(
    cluster: &Cluster,
    gateway: SocketAddr,
    host: &str,
    path: &str,
    bound: Duration,
) -> anyhow::Result<Answer> {
    let until = Instant::now() + bound;
    cluster
        .wait_for("the gateway sends requests on", bound, async || {
            let left = until.saturating_duration_since(Instant::now());
            let answer = http::get(gateway, host, path, left).await?;
            let is_gateways_own = matches!(answer.status.as_u16(), 404 | 500 | 503)
                && !answer.headers.contains_key("rouse-error");
            if is_gateways_own {
                wait::not_yet(answer.summary())
            } else {
                wait::done(answer)
            }
        })
        .await
}
