//! Prometheus itself works: what the cases of the Prometheus trigger build on.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use serde_json::Value;

use crate::{
    addons::prometheus::{self, Target},
    case::{Case, Need},
    cluster::http,
    trial::Trial,
    wait,
};

const BOUND: Duration = Duration::from_mins(1);
const LOOK_BOUND: Duration = Duration::from_secs(10);

pub(super) const PROMETHEUS_SCRAPES_A_SERVICE: Case = Case {
    name: "prometheus_scrapes_a_service",
    about: "Prometheus, where the user's ScaledObjects look for it, scrapes the pods of the user's chatbot Service as they come, \
            and the series carry the labels that the user's queries select by.",
    needs: &[Need::OwnNodes, Need::Prometheus],
    smoke: false,
    bound: Duration::from_mins(4),
    run: |trial| prometheus_scrapes_a_service(trial).boxed_local(),
};

async fn prometheus_scrapes_a_service(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    trial.apply_file("examples/chatbot.yaml").await?;
    let services: Api<Service> = Api::namespaced(cluster.client(), "default");
    let service = services
        .get("chatbot")
        .await
        .context("get the chatbot's Service")?;
    prometheus::install(&cluster, &[Target::new(service)]).await?;
    let reach = cluster
        .reach(prometheus::NAMESPACE, prometheus::NAME, prometheus::PORT)
        .await?;
    for replicas in [2, 0] {
        trial
            .kubectl(&format!("scale deployment chatbot --replicas={replicas}"))
            .await?;
        let what = format!("{replicas} pods are scraped");
        let seen = cluster
            .wait_for(&what, BOUND, async || {
                // Series of pods that are gone are marked stale by the next scrape.
                let path =
                    "/api/v1/query?query=up%7Bnamespace%3D%22default%22%2Cservice%3D%22chatbot%22%7D%3D%3D1";
                let answer = http::get(reach.addr(), prometheus::NAME, path, LOOK_BOUND).await?;
                let found: Value = serde_json::from_slice(&answer.body)?;
                let series = found["data"]["result"].as_array().map_or(0, Vec::len);
                if series == replicas {
                    wait::done(found)
                } else {
                    wait::not_yet(found.to_string())
                }
            })
            .await?;
        trial.evidence.command(
            "promtool query instant 'up{namespace=\"default\",service=\"chatbot\"} == 1'",
            &seen.to_string(),
        );
    }
    Ok(())
}
