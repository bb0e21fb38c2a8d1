//! Rows 18 to 20: how many replicas load makes, and that they go.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use super::{
    load::load_while,
    objects::Scaling,
    site::{ASLEEP_BOUND, READY_BOUND, Site},
};
use crate::{
    case::{Case, Need},
    trial::Trial,
};

/// Until KEDA has told the HPA of the load and the HPA has scaled out.
const SCALED_OUT_BOUND: Duration = Duration::from_mins(2);
/// As long as the add-on's tests look whether an application keeps asleep.
const STABLE: Duration = Duration::from_secs(30);

pub(in crate::cases) const CONCURRENT_ROUTING: Case = Case {
    name: "addon_concurrent_routing",
    about: "The add-on's ConcurrentRouting (row 18): load on one of two routes wakes its application, and the other's sleeps on.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(6),
    run: |trial| concurrent_routing(trial).boxed_local(),
};

pub(in crate::cases) const CONCURRENCY_SCALING: Case = Case {
    name: "addon_concurrency_scaling",
    about: "The add-on's ConcurrencyScaling (row 19): with a target of 5 concurrent requests, 10 requests a second of 500 ms each \
            keep at least one replica for 30 s; then it goes, and none comes in 30 s.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(8),
    run: |trial| concurrency_scaling(trial).boxed_local(),
};

pub(in crate::cases) const RATE_SCALING: Case = Case {
    name: "addon_scaling",
    about: "The add-on's Scaling (row 20): with a target of 5 requests a second, 10 a second make exactly two replicas of the four \
            there may be; then they go, and none comes in 30 s.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(8),
    run: |trial| rate_scaling(trial).boxed_local(),
};

async fn concurrent_routing(trial: &mut Trial) -> anyhow::Result<()> {
    const LOOKED_AT: Duration = Duration::from_secs(10);
    let mut site = Site::open(trial, "addon-concurrent-routing").await?;
    let (a, b) = (site.host("a"), site.host("b"));
    site.serve(&[
        ("app-a", json!([{ "hosts": [a] }])),
        ("app-b", json!([{ "hosts": [b] }])),
    ])
    .await?;
    let meanwhile = async {
        site.replicas("app-a", 1, READY_BOUND).await?;
        site.replicas_stay("app-b", 0..=0, LOOKED_AT).await
    };
    load_while((site.proxy(), &a, "/"), 10, meanwhile.boxed_local()).await?;
    list(&mut site).await?;
    site.answered_by("app-b", &b, "/", &[]).await
}

async fn concurrency_scaling(trial: &mut Trial) -> anyhow::Result<()> {
    const LOADED: Duration = Duration::from_secs(30);
    let mut site = Site::open(trial, "addon-concurrency-scaling").await?;
    let host = site.host("app");
    let scaling = Scaling {
        metric: json!({ "concurrency": { "targetValue": 5 } }),
        max: 3,
    };
    let rules = json!([{ "hosts": [host] }]);
    site.serve_scaled(&[("app", rules, scaling)]).await?;
    let meanwhile = async {
        site.replicas("app", 1, READY_BOUND).await?;
        site.replicas_stay("app", 1..=3, LOADED).await
    };
    load_while((site.proxy(), &host, "/delay/0.5"), 10, meanwhile.boxed_local()).await?;
    list(&mut site).await?;
    site.replicas("app", 0, ASLEEP_BOUND).await?;
    site.replicas_stay("app", 0..=0, STABLE).await
}

async fn rate_scaling(trial: &mut Trial) -> anyhow::Result<()> {
    /// Longer than the rate's window and than the HPA takes to look again.
    const SETTLED: Duration = Duration::from_secs(20);
    let mut site = Site::open(trial, "addon-scaling").await?;
    let host = site.host("app");
    let scaling = Scaling {
        metric: json!({ "requestRate": { "targetValue": 5, "window": "10s", "granularity": "1s" } }),
        max: 4,
    };
    let rules = json!([{ "hosts": [host] }]);
    site.serve_scaled(&[("app", rules, scaling)]).await?;
    let meanwhile = async {
        site.replicas("app", 2, SCALED_OUT_BOUND).await?;
        site.replicas_stay("app", 2..=2, SETTLED).await
    };
    load_while((site.proxy(), &host, "/"), 10, meanwhile.boxed_local()).await?;
    list(&mut site).await?;
    site.replicas("app", 0, ASLEEP_BOUND).await?;
    site.replicas_stay("app", 0..=0, STABLE).await
}

/// For the evidence: what there is under load.
async fn list(site: &mut Site<'_>) -> anyhow::Result<()> {
    let command = format!("get deployment,hpa --namespace={}", site.namespace);
    site.trial.kubectl(&command).await?;
    Ok(())
}
