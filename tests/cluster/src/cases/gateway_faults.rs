//! Behind Envoy Gateway: an interceptor is killed, and the interceptors are rolled out, while requests are held and others flow.

use std::{net::SocketAddr, time::Duration};

use ::http::{Method, Request, header::HOST};
use futures_util::{FutureExt as _, future::try_join_all};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use super::{
    applications::{self, Application, Up},
    behind_gateway, interceptor_rollout,
    interceptors::{self, Interceptor},
    traffic::{self, Stream},
};
use crate::{
    addons::envoy_gateway,
    case::{Case, Need},
    cluster::http::{self, Answer},
    keda,
    rouse::{CHART, RELEASE},
    trial::{Shared, Trial},
    wait,
};

const NAMESPACE: &str = "gateway-faults";
const WARM: &str = "warm";
const COLD: &str = "cold";
const COLD_ROUTE: &str = "gateway-faults/cold";
const DEFAULT_GATEWAY: &str = "gateway.defaultGateway=envoy-gateway-system/main-gateway";
const NEEDS: &[Need] = &[Need::Rouse, Need::OwnNodes, Need::Gateway];
const BOUND: Duration = Duration::from_mins(1);
const ANSWER_BOUND: Duration = Duration::from_mins(3);
/// How long the gateway may take for an answer: longer than it takes to give up an address at which nobody is any longer.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long traffic goes on after the last answer: two polls of KEDA, in which a wrong scale to zero would show.
const AFTERWARDS: Duration = Duration::from_secs(35);

pub(super) const KILLED_INTERCEPTOR_BEHIND_THE_GATEWAY_LOSES_NO_SAFE_REQUEST: Case = Case {
    name: "killed_interceptor_behind_the_gateway_loses_no_safe_request",
    about: "The controller writes the HTTPRoutes, as it does with a default Gateway: GET, HEAD and OPTIONS are a rule of their \
            own, which Envoy may send again. One of two interceptors is killed (SIGKILL) while both hold requests and traffic \
            flows. Every GET and HEAD is answered, also those that the killed one held. A POST is lost only if it was in the \
            killed one's hands.",
    needs: NEEDS,
    smoke: false,
    bound: Duration::from_mins(6),
    run: |trial| killed(trial).boxed_local(),
};

async fn killed(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    trial.put_back_at_end(Shared::Rouse);
    cluster.install_rouse(&[DEFAULT_GATEWAY], BOUND).await?;
    trial.evidence.note(format_args!(
        "`helm upgrade {RELEASE} {CHART} --namespace {} --set {DEFAULT_GATEWAY}`",
        keda::NAMESPACE
    ));
    let both = interceptors::both(&cluster, BOUND).await?; // before anything is up that would go back to zero meanwhile
    let gateway = set_up(trial, 12).await?;
    trial
        .kubectl("get httproutes,backendtrafficpolicies -n gateway-faults")
        .await?;
    let warm = Up::note(&cluster, NAMESPACE, WARM).await?;
    let streams = [
        Stream::new("Traffic, GET on new connections", gateway, WARM).with_patience(PATIENCE),
        Stream::new("Traffic, GET on kept connections", gateway, WARM)
            .on_kept_connections(4)
            .with_patience(PATIENCE),
        Stream::new("Traffic, HEAD on kept connections", gateway, WARM)
            .with_method(Method::HEAD)
            .on_kept_connections(2)
            .with_patience(PATIENCE),
        Stream::new("Traffic, POST on kept connections", gateway, WARM)
            .with_method(Method::POST)
            .on_kept_connections(4)
            .with_patience(PATIENCE),
    ];
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::GET,
        Method::GET,
        Method::HEAD,
        Method::GET,
    ];
    let work = async {
        tokio::try_join!(
            async {
                let lost = holding_most(&both, methods.len()).await?;
                let held = lost.concurrency(COLD_ROUTE).await?;
                cluster
                    .signal_pod(keda::NAMESPACE, &lost.pod, Signal::KILL)
                    .await?;
                let killed_at = Instant::now();
                Ok((killed_at, held))
            },
            try_join_all(methods.iter().map(|method| held(gateway, method))),
        )
    };
    let (flows, outcome) = Box::pin(traffic::during(&streams, AFTERWARDS, work)).await;
    let ((killed_at, held), answers) = outcome?;
    trial.evidence.note(format_args!(
        "Held when it was killed: {} requests, {held} of them by the killed one. What became of them:",
        methods.len()
    ));
    for (method, answer) in methods.iter().zip(&answers) {
        trial
            .evidence
            .note(format_args!("{method}: {}", answer.summary()));
    }
    for flow in &flows[..3] {
        flow.check(trial)?;
    }
    flows[3].check_killed(trial, killed_at, Duration::ZERO)?;
    warm.is_unchanged(&cluster).await?;
    trial.kubectl("get pods -n keda").await.map(drop)
}

pub(super) const ROLLOUT_BEHIND_THE_GATEWAY_LOSES_NOTHING: Case = Case {
    name: "rollout_behind_the_gateway_loses_nothing",
    about: "The interceptors are rolled out while they hold requests that came through Envoy Gateway by an HTTPRoute of the \
            user's, and while GETs and POSTs flow, on new and on kept connections. None is lost.",
    needs: NEEDS,
    smoke: false,
    bound: Duration::from_mins(6),
    run: |trial| rolled_out(trial).boxed_local(),
};

async fn rolled_out(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    trial.namespace(NAMESPACE).await?;
    trial.apply(&http_route()).await?;
    let both = interceptors::both(&cluster, BOUND).await?; // before anything is up that would go back to zero meanwhile
    let gateway = set_up(trial, 25).await?;
    let warm = Up::note(&cluster, NAMESPACE, WARM).await?;
    let streams = [Method::GET, Method::POST].map(|method| {
        [
            Stream::new(format!("Traffic, {method} on new connections"), gateway, WARM)
                .with_method(method.clone())
                .with_patience(PATIENCE),
            Stream::new(format!("Traffic, {method} on kept connections"), gateway, WARM)
                .with_method(method)
                .on_kept_connections(4)
                .with_patience(PATIENCE),
        ]
    });
    let methods = [Method::GET, Method::POST, Method::GET, Method::POST];
    let work = async {
        tokio::try_join!(
            async {
                holding_most(&both, methods.len()).await?;
                interceptor_rollout::roll_out(trial).await
            },
            try_join_all(methods.iter().map(|method| held(gateway, method))),
        )
    };
    let (flows, outcome) = Box::pin(traffic::during(streams.as_flattened(), AFTERWARDS, work)).await;
    let ((), answers) = outcome?;
    for (method, answer) in methods.iter().zip(&answers) {
        trial
            .evidence
            .note(format_args!("Held, {method}: {}", answer.summary()));
    }
    for flow in &flows {
        flow.check(trial)?;
    }
    warm.is_unchanged(&cluster).await?;
    trial.kubectl("get pods -n keda").await.map(drop)
}

/// The Gateway and both applications, known to it, one of them up; gives the Gateway's address.
async fn set_up(trial: &mut Trial, ready_after: u32) -> anyhow::Result<SocketAddr> {
    let cluster = trial.cluster().clone();
    trial.apply_file("examples/gateway.yaml").await?;
    let applications =
        [(COLD, ready_after), (WARM, 0)].map(|(name, ready_after)| Application { name, ready_after });
    applications::set_up(trial, NAMESPACE, &applications).await?;
    let gateway = envoy_gateway::address(&cluster, "envoy-gateway-system", "main-gateway", 80).await?;
    for name in [COLD, WARM] {
        behind_gateway::is_routed(&cluster, NAMESPACE, name).await?;
    }
    let first = behind_gateway::first_answer(&cluster, gateway, WARM, "/", BOUND).await?;
    anyhow::ensure!(first.status == 200, "the first request: {}", first.summary());
    Ok(gateway)
}

/// One that leads to both applications, as users write them.
fn http_route() -> String {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": "applications", "namespace": NAMESPACE },
        "spec": {
            "parentRefs": [{ "name": "main-gateway", "namespace": "envoy-gateway-system" }],
            "hostnames": [WARM, COLD],
            "rules": [{ "backendRefs": [{
                "name": "keda-add-ons-http-interceptor-proxy", "namespace": "keda", "port": 8080,
            }] }],
        },
    })
    .to_string()
}

/// A request that is held, with its answer.
async fn held(gateway: SocketAddr, method: &Method) -> anyhow::Result<Answer> {
    let request = Request::builder()
        .method(method)
        .uri("/")
        .header(HOST, COLD)
        .body(http_body_util::Full::default())?;
    let answer = http::send(gateway, request, ANSWER_BOUND).await?;
    anyhow::ensure!(answer.status == 200, "held, {method}: {}", answer.summary());
    Ok(answer)
}

/// Waits until this many requests are held, and gives the one that holds the most of them.
async fn holding_most(both: &[Interceptor; 2], count: usize) -> anyhow::Result<&Interceptor> {
    wait::until(&format!("{count} requests are held"), BOUND, async || {
        let [one, other] = both;
        let held = (
            one.concurrency(COLD_ROUTE).await?,
            other.concurrency(COLD_ROUTE).await?,
        );
        if usize::try_from(held.0 + held.1)? == count {
            wait::done(if held.0 >= held.1 { one } else { other })
        } else {
            wait::not_yet(format!("{held:?}"))
        }
    })
    .await
}
