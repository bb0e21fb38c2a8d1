//! Rows 16, 17, 24 and 27: routes that change, go or are refused, and an interceptor that is replaced.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use super::{
    interceptors,
    load::{failure, load_while},
    objects::{self, Scaling},
    site::{COLD_BOUND, READY_BOUND, Site, is_no_route, told_name},
};
use crate::{
    case::{Case, Need},
    cluster::http,
    keda,
    trial::Trial,
    wait,
};

/// Until every interceptor goes by a changed route.
const CHANGE_BOUND: Duration = Duration::from_secs(10);
/// The add-on's own test allows this much.
const DELETION_BOUND: Duration = Duration::from_secs(2);
/// So many answers in a row come from all interceptors behind the Service.
const IN_A_ROW: u32 = 20;
const ANSWER_BOUND: Duration = Duration::from_secs(10);
const ROLLOUT_BOUND: Duration = Duration::from_mins(3);

pub(in crate::cases) const ROUTE_UPDATE: Case = Case {
    name: "addon_route_update",
    about: "The add-on's RouteUpdate (row 16): a route's target becomes another Service, and the answers come from there.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(5),
    run: |trial| route_update(trial).boxed_local(),
};

pub(in crate::cases) const ROUTE_DELETION: Case = Case {
    name: "addon_route_deletion",
    about: "The add-on's RouteDeletion (row 17): one of two routes is deleted, its host is 404 within 2 s, and the other's is \
            200 all the time.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(5),
    run: |trial| route_deletion(trial).boxed_local(),
};

pub(in crate::cases) const GRACEFUL_SHUTDOWN: Case = Case {
    name: "addon_graceful_shutdown",
    about: "The add-on's GracefulShutdown (row 24): the interceptor is rolled out anew while a request of 10 s is in flight; \
            that request is answered with 200, and so is every other during the rollout and after it.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(7),
    run: |trial| graceful_shutdown(trial).boxed_local(),
};

pub(in crate::cases) const VALIDATION: Case = Case {
    name: "addon_validation",
    about: "The add-on's Validation (row 27): the API server refuses a route without a metric, and one with both a port and its \
            name.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(3),
    run: |trial| validation(trial).boxed_local(),
};

async fn route_update(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "addon-route-update").await?;
    let (host, namespace) = (site.host("app"), site.namespace.clone());
    let scaling = Scaling::default();
    let mut route = objects::route(&namespace, "app-a", &json!([{ "hosts": [host] }]), &scaling);
    let mut items = Vec::new();
    for app in ["app-a", "app-b"] {
        items.extend(objects::app(&namespace, app));
        items.push(objects::scaled_object(&namespace, app, "app-a", &scaling));
    }
    items.push(route.clone());
    site.apply(items).await?;
    site.ready(objects::ROUTE, "app-a").await?;
    site.ready(objects::SCALED_OBJECT, "app-a").await?;
    site.ready(objects::SCALED_OBJECT, "app-b").await?;
    site.answered_by("app-a", &host, "/", &[]).await?;

    if let Some(service) = route.pointer_mut("/spec/target/service") {
        *service = json!("app-b");
    }
    site.apply(vec![route]).await?;
    let addr = site.proxy();
    let (mut in_a_row, mut failed) = (0, None);
    site.cluster
        .wait_for("every answer comes from app-b", CHANGE_BOUND, async || {
            let answer = http::get(addr, &host, "/", ANSWER_BOUND).await;
            failed = failed.take().or_else(|| failure(&answer));
            let told = told_name(&answer?);
            in_a_row = if told.as_deref() == Some("app-b") {
                in_a_row + 1
            } else {
                0
            };
            if in_a_row == IN_A_ROW {
                return wait::done(());
            }
            wait::not_yet(format!("{in_a_row} in a row, the last by {told:?}"))
        })
        .await?;
    anyhow::ensure!(failed.is_none(), "during the change: {failed:?}");
    site.answered_by("app-b", &host, "/", &[]).await
}

async fn route_deletion(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "addon-route-deletion").await?;
    let (a, b) = (site.host("a"), site.host("b"));
    site.serve(&[
        ("app-a", json!([{ "hosts": [a] }])),
        ("app-b", json!([{ "hosts": [b] }])),
    ])
    .await?;
    site.answered_by("app-a", &a, "/", &[]).await?;
    site.answered_by("app-b", &b, "/", &[]).await?;

    let namespace = site.namespace.clone();
    site.trial
        .kubectl(&format!("delete interceptorroute app-a --namespace={namespace}"))
        .await?;
    let addr = site.proxy();
    let mut failed = None;
    site.cluster
        .wait_for("every answer is 404", DELETION_BOUND, async || {
            let kept = http::get(addr, &b, "/", ANSWER_BOUND).await;
            failed = failed.take().or_else(|| failure(&kept));
            // A few on the heels of one another meet every interceptor.
            for _ in 0..IN_A_ROW {
                let answer = http::get(addr, &a, "/", ANSWER_BOUND).await?;
                if !is_no_route(&answer) {
                    return wait::not_yet(answer.summary());
                }
            }
            wait::done(())
        })
        .await?;
    anyhow::ensure!(failed.is_none(), "the other route: {failed:?}");
    site.answered_by_none(&a, "/", &[]).await?;
    site.answered_by("app-b", &b, "/", &[]).await
}

async fn graceful_shutdown(trial: &mut Trial) -> anyhow::Result<()> {
    const INTERCEPTOR: &str = "keda-add-ons-http-interceptor";
    /// Enough to have some in each of two interceptors, behind a Service that deals connections out at random.
    const LONG_REQUESTS: u64 = 8;
    let mut site = Site::open(trial, "addon-graceful-shutdown").await?;
    let host = site.host("app");
    site.serve(&[("app", json!([{ "hosts": [host] }]))]).await?;
    site.answered_by("app", &host, "/", &[]).await?;

    let addr = site.proxy();
    let cluster = site.cluster.clone();
    let long = (0..LONG_REQUESTS).map(|_| http::get(addr, &host, "/delay/10", COLD_BOUND));
    let long = futures_util::future::join_all(long);
    let rollout = async {
        cluster
            .wait_for("the requests are in flight", ANSWER_BOUND, async || {
                let queues = interceptors::queues(&cluster).await?;
                let counts = queues.iter().map(|queue| &queue["addon-graceful-shutdown/app"]);
                let in_flight: u64 = counts.filter_map(|route| route["Concurrency"].as_u64()).sum();
                if in_flight == LONG_REQUESTS {
                    return wait::done(());
                }
                wait::not_yet(format!("{in_flight} in flight"))
            })
            .await?;
        let deployment = format!("deployment/{INTERCEPTOR}");
        let namespace = format!("--namespace={}", keda::NAMESPACE);
        cluster
            .kubectl(["rollout", "restart", &deployment, &namespace])
            .await?;
        let available = cluster.wait_for_available(keda::NAMESPACE, INTERCEPTOR, ROLLOUT_BOUND);
        load_while((addr, &host, "/"), 5, available.boxed_local()).await
    };
    let (long, rollout) = tokio::join!(long, rollout);
    rollout?;
    for answer in long {
        let answer = answer?;
        site.trial
            .evidence
            .note(format_args!("In flight: {}", answer.summary()));
        anyhow::ensure!(answer.status == 200, "in flight: {}", answer.summary());
    }
    site.replicas("app", 1, READY_BOUND).await?;
    site.answered_by("app", &host, "/", &[]).await
}

async fn validation(trial: &mut Trial) -> anyhow::Result<()> {
    let site = Site::open(trial, "addon-validation").await?;
    let scaling = Scaling::default();
    let rules = json!([{ "hosts": [site.host("app")] }]);
    let valid = objects::route(&site.namespace, "app", &rules, &scaling);
    let mut without_metric = valid.clone();
    if let Some(metric) = without_metric.pointer_mut("/spec/scalingMetric") {
        *metric = json!({});
    }
    let mut with_both_ports = valid.clone();
    if let Some(target) = with_both_ports.pointer_mut("/spec/target") {
        *target = json!({ "service": "app", "port": objects::PORT, "portName": objects::PORT_NAME });
    }
    for (route, says) in [
        (
            without_metric,
            "at least one of 'concurrency' or 'requestRate' must be set",
        ),
        (with_both_ports, "exactly one of 'port' or 'portName' must be set"),
    ] {
        let Err(refused) = site.cluster.apply(&route.to_string()).await else {
            anyhow::bail!("it is not refused: {route}");
        };
        let refused = format!("{refused:#}");
        anyhow::ensure!(
            refused.contains("is invalid") && refused.contains(says),
            "it is refused for another reason: {refused}"
        );
        site.trial.evidence.command("kubectl apply -f -", &refused);
    }
    // The same without the fault is taken: nothing else in it is refused.
    site.trial.apply(&valid.to_string()).await
}
