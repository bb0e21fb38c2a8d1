//! Rows 1, 2 and 23: what wakes, and for how long it is waited for.

use std::time::Duration;

use futures_util::FutureExt as _;
use http::{Method, StatusCode, header::CONTENT_TYPE};
use serde_json::json;

use super::{
    objects::{self, Scaling},
    site::{ASLEEP_BOUND, READY_BOUND, Site},
};
use crate::{
    case::{Case, Need},
    trial::Trial,
};

pub(in crate::cases) const GET: Case = Case {
    name: "addon_cold_start_get",
    about: "The add-on's ColdStart/GET (row 1): a GET wakes an application from zero and is answered with 200 by its one \
            replica, which goes when no more come.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(5),
    run: |trial| get(trial).boxed_local(),
};

pub(in crate::cases) const POST: Case = Case {
    name: "addon_cold_start_post",
    about: "The add-on's ColdStart/POST (row 2): a POST with a body of JSON wakes an application from zero, and the body \
            arrives intact.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(5),
    run: |trial| post(trial).boxed_local(),
};

pub(in crate::cases) const READINESS_TIMEOUT: Case = Case {
    name: "addon_readiness_timeout",
    about: "The add-on's ReadinessTimeout (row 23): a route that waits 60 s for its target answers 200 from zero, one that waits \
            1 ms answers 504.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(5),
    run: |trial| readiness_timeout(trial).boxed_local(),
};

async fn get(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "addon-cold-start-get").await?;
    let host = site.host("app");
    site.serve(&[("app", json!([{ "hosts": [host] }]))]).await?;
    site.answered_by("app", &host, "/", &[]).await?;
    site.replicas("app", 1, READY_BOUND).await?;
    site.replicas("app", 0, ASLEEP_BOUND).await
}

async fn post(trial: &mut Trial) -> anyhow::Result<()> {
    const BODY: &str = r#"{"name":"cold start","numbers":[1,2,3],"text":"\u00e4 \"quoted\" é"}"#;
    let mut site = Site::open(trial, "addon-cold-start-post").await?;
    let host = site.host("app");
    site.serve(&[("app", json!([{ "hosts": [host] }]))]).await?;
    let headers = [(CONTENT_TYPE.as_str(), "application/json")];
    let answer = site.request(Method::POST, &host, "/echo", &headers, BODY).await?;
    anyhow::ensure!(answer.status == StatusCode::OK, "{}", answer.summary());
    anyhow::ensure!(answer.body == BODY, "what came back: {:?}", answer.body);
    let content_type = answer.headers.get(CONTENT_TYPE);
    anyhow::ensure!(
        content_type.is_some_and(|value| value == "application/json"),
        "what came back is of type {content_type:?}"
    );
    Ok(())
}

async fn readiness_timeout(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "addon-readiness-timeout").await?;
    let (patient, hasty) = (site.host("patient"), site.host("hasty"));
    let namespace = site.namespace.clone();
    let scaling = Scaling::default();
    let mut route = objects::route(&namespace, "hasty", &json!([{ "hosts": [hasty] }]), &scaling);
    if let Some(readiness) = route.pointer_mut("/spec/timeouts/readiness") {
        *readiness = json!("1ms");
    }
    let mut items = objects::app(&namespace, "hasty").to_vec();
    items.push(route);
    items.push(objects::scaled_object(&namespace, "hasty", "hasty", &scaling));
    site.apply(items).await?;
    site.ready(objects::ROUTE, "hasty").await?;
    site.serve(&[("patient", json!([{ "hosts": [patient] }]))])
        .await?;

    let answer = site.request(Method::GET, &hasty, "/", &[], "").await?;
    anyhow::ensure!(
        answer.status == StatusCode::GATEWAY_TIMEOUT,
        "after 1 ms: {}",
        answer.summary()
    );
    site.answered_by("patient", &patient, "/", &[]).await
}
