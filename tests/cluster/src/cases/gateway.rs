//! Envoy Gateway itself works with the user's Gateway and HTTPRoute: what the cases of Rouse behind it build on.

use std::{fs, time::Duration};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use serde_json::{Value, json};

use crate::{
    addons::envoy_gateway,
    case::{Case, Need},
    cluster::http,
    images::PODINFO,
    trial::Trial,
    wait,
};

const BOUND: Duration = Duration::from_mins(2);
const LOOK_BOUND: Duration = Duration::from_secs(20);
const HOST: &str = "chatbot.example.com";
/// Where the user's HTTPRoute sends requests, and the namespace in which another stands there for it.
const BACKEND: &str = "keda-add-ons-http-interceptor-proxy";
const NAMESPACE: &str = "stand-in";

pub(super) const GATEWAY_PROGRAMS_THE_USERS_HTTPROUTE: Case = Case {
    name: "gateway_programs_the_users_httproute",
    about: "The user's gateway.yaml, unmodified, and chatbot-route.yaml, with the demo app in another namespace in the \
            interceptor's place. The Gateway is programmed and gets an address. The HTTPRoute points into another namespace: \
            without a ReferenceGrant the gateway refuses that and answers 500, with one it answers 200. A request that takes \
            longer than 15 s is cut off with 504: Envoy's default, where no policy says otherwise.",
    needs: &[Need::Gateway],
    smoke: false,
    bound: Duration::from_mins(6),
    run: |trial| gateway_programs_the_users_httproute(trial).boxed_local(),
};

async fn gateway_programs_the_users_httproute(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    trial.namespace(NAMESPACE).await?;
    trial.apply(&stand_in()).await?;
    trial.apply_file("examples/gateway.yaml").await?;
    let route = cluster.workspace().join("examples/chatbot-route.yaml");
    let route = fs::read_to_string(&route).with_context(|| format!("read {}", route.display()))?;
    trial.apply(&elsewhere(&route)?).await?;
    let address = envoy_gateway::address(&cluster, "envoy-gateway-system", "main-gateway", 80).await?;
    trial.kubectl("get gateway -A").await?;
    cluster.wait_for_replicas(NAMESPACE, "stand-in", 1, BOUND).await?;

    wait_for_references(trial, "RefNotPermitted").await?;
    let answer = trial.get(address, HOST, "/", LOOK_BOUND).await?;
    anyhow::ensure!(
        answer.status == 500,
        "without a ReferenceGrant: {}",
        answer.summary()
    );

    trial.apply(&grant().to_string()).await?;
    wait_for_references(trial, "ResolvedRefs").await?;
    cluster
        .wait_for("the gateway sends requests on", BOUND, async || {
            let answer = http::get(address, HOST, "/", LOOK_BOUND).await?;
            if answer.status == 200 {
                wait::done(())
            } else {
                wait::not_yet(answer.summary())
            }
        })
        .await?;
    let answer = trial.get(address, HOST, "/", LOOK_BOUND).await?;
    anyhow::ensure!(
        answer.status == 200,
        "with a ReferenceGrant: {}",
        answer.summary()
    );
    let answer = trial.get(address, "other.example.com", "/", LOOK_BOUND).await?;
    anyhow::ensure!(answer.status == 404, "another host: {}", answer.summary());

    let answer = trial.get(address, HOST, "/delay/17", LOOK_BOUND).await?;
    let cut_off = answer.status == 504 && (14.5..16.5).contains(&answer.total.as_secs_f64());
    anyhow::ensure!(cut_off, "an answer after 17 s: {}", answer.summary());
    Ok(())
}

/// Waits until the gateway says this of the HTTPRoute's references.
async fn wait_for_references(trial: &mut Trial, reason: &str) -> anyhow::Result<()> {
    const PATH: &str = "jsonpath={.status.parents[0].conditions[?(@.type==\"ResolvedRefs\")].reason}";
    let cluster = trial.cluster().clone();
    cluster
        .wait_for(
            &format!("the HTTPRoute's references are {reason}"),
            BOUND,
            async || {
                let found = cluster
                    .kubectl(["get", "httproute", "chatbot-route", "--output", PATH])
                    .await?;
                if found == reason {
                    wait::done(())
                } else {
                    wait::not_yet(found)
                }
            },
        )
        .await?;
    let status = "get httproute chatbot-route -o jsonpath={.status.parents[0].conditions}";
    trial.kubectl(status).await.map(drop)
}

/// The user's HTTPRoute with its backend in the stand-in's namespace.
fn elsewhere(route: &str) -> anyhow::Result<String> {
    let mut route: Value = serde_saphyr::from_str(route).context("read the HTTPRoute")?;
    let namespace = route
        .pointer_mut("/spec/rules/0/backendRefs/0/namespace")
        .context("the HTTPRoute's backend is in a namespace")?;
    *namespace = NAMESPACE.into();
    Ok(route.to_string())
}

/// The demo app under the interceptor's name.
fn stand_in() -> String {
    let labels = json!({ "app": "stand-in" });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "stand-in", "namespace": NAMESPACE },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{ "name": "podinfo", "image": PODINFO }],
                },
            },
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": BACKEND, "namespace": NAMESPACE },
        "spec": { "selector": labels, "ports": [{ "port": 8080, "targetPort": 9898 }] },
    });
    format!("{deployment}\n---\n{service}")
}

fn grant() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": { "name": "stand-in", "namespace": NAMESPACE },
        "spec": {
            "from": [{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "default" }],
            "to": [{ "group": "", "kind": "Service", "name": BACKEND }],
        },
    })
}
