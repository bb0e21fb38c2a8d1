//! A cluster whose definition of HTTPScaledObjects is of another version than Rouse's.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    addon::{
        objects::{self, Scaling},
        site::{ASLEEP_BOUND, Site},
    },
    rouse_pods::{self, CONTROLLER, NOTICED_BOUND, Restarts, told_once, wait_for_readyz},
};
use crate::{
    case::{Case, Need},
    cluster::Cluster,
    keda,
    trial::{Shared, Trial},
    wait,
};

const KNOWN: &str = "known";
const LATE: &str = "late";
const DEFINITION: &str = "httpscaledobjects.http.keda.sh";
/// What Rouse wants, as it says it.
const WANTED: &str = "httpscaledobjects.http.keda.sh/v1alpha1";
/// What the definition has in its place.
const OTHER: &str = "v9alpha9";

pub(super) const DEFINITION_OF_ANOTHER_VERSION_IS_TOLD_AND_REQUESTS_GO_ON: Case = Case {
    name: "definition_of_another_version_is_told_and_requests_go_on",
    about: "The definition of HTTPScaledObjects serves another version only. Each of Rouse's pods stays up and ready and says \
            which version it misses, in its log once; a route that was known is served on, from zero too. A controller that \
            starts meanwhile waits, says why, and does not crash. When the version is served again, everything is as before, with no \
            restart, and an object that came in the other version is served.",
    needs: &[Need::OwnNodes, Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(10),
    run: |trial| another_version(trial).boxed_local(),
};

async fn another_version(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "other-versions").await?;
    let cluster = site.cluster.clone();
    let (namespace, known_host, late_host) = (site.namespace.clone(), site.host(KNOWN), site.host(LATE));
    let mut items = objects::app(&namespace, KNOWN).to_vec();
    items.extend(objects::app(&namespace, LATE));
    items.push(route(&namespace, KNOWN, &known_host));
    site.apply(items).await?;
    site.ready(objects::HTTP_SCALED_OBJECT, KNOWN).await?;
    site.ready(objects::SCALED_OBJECT, KNOWN).await?;
    site.answered_by(KNOWN, &known_host, "/", &[]).await?;

    site.trial.step("the definition serves another version");
    site.trial
        .evidence
        .note("The definition of HTTPScaledObjects is changed to serve another version only.");
    let pods = rouse_pods::all(&cluster).await?;
    let restarts = Restarts::now(&cluster).await?;
    let since = Timestamp::now();
    let versions = cluster.versions(DEFINITION).await?;
    site.trial.put_back_at_end(Shared::Versions {
        definition: DEFINITION.to_owned(),
        versions: versions.clone(),
    });
    cluster
        .set_versions(DEFINITION, &with_other(&versions, true)?)
        .await?;
    served_versions(&mut site).await?;
    wait_for_readyz(site.trial, &pods, WANTED, true).await?;
    let (controllers, others): (Vec<_>, Vec<_>) =
        pods.iter().cloned().partition(|pod| pod.starts_with(CONTROLLER));
    // The controllers look at the definition itself, too.
    let not_served = "is not served as v1alpha1";
    wait_for_readyz(site.trial, &controllers, not_served, true).await?;
    told_once(site.trial, &controllers, since, not_served).await?;
    // An object of the version that is served. The namespace takes it along: at the end of the case nobody knows the version.
    let mut late = route(&namespace, LATE, &late_host);
    late["apiVersion"] = json!(format!("http.keda.sh/{OTHER}"));
    let applied = cluster.apply(&late.to_string()).await?;
    site.trial.evidence.command("kubectl apply -f -", &applied);
    site.answered_by(KNOWN, &known_host, "/", &[]).await?;
    site.replicas(KNOWN, 0, ASLEEP_BOUND).await?;
    site.answered_by(KNOWN, &known_host, "/", &[]).await?;
    site.answered_by_none(&late_host, "/", &[]).await?;

    let newcomer = start_another_controller(&mut site, &controllers).await?;
    told_once(site.trial, &others, since, WANTED).await?;
    restarts.none_since(&cluster).await?;
    site.trial.kubectl("get pods --namespace=keda").await?;

    site.trial.step("the version is served again");
    site.trial.evidence.note("The definition serves v1alpha1 again.");
    // The other one stays known, as in a definition that was ever served in it: an API server refuses to write an object in a
    // version of which its managed fields are and which it does not know at all.
    cluster
        .set_versions(DEFINITION, &with_other(&versions, false)?)
        .await?;
    served_versions(&mut site).await?;
    let pods = rouse_pods::all(&cluster).await?;
    anyhow::ensure!(pods.contains(&newcomer), "{newcomer} is not among {pods:?}");
    wait_for_readyz(site.trial, &pods, WANTED, false).await?;
    cluster
        .wait_for_available(keda::NAMESPACE, CONTROLLER, NOTICED_BOUND)
        .await?;
    for name in [KNOWN, LATE] {
        site.ready(objects::HTTP_SCALED_OBJECT, name).await?;
        site.ready(objects::SCALED_OBJECT, name).await?;
    }
    site.answered_by(LATE, &late_host, "/", &[]).await?;
    site.answered_by(KNOWN, &known_host, "/", &[]).await?;
    restarts.none_since(&cluster).await.context("by the end")
}

/// Deletes a controller and waits until its successor says why it is not ready; gives the successor's name.
async fn start_another_controller(site: &mut Site<'_>, controllers: &[String]) -> anyhow::Result<String> {
    let cluster = site.cluster.clone();
    let one = controllers.first().context("there is a controller")?;
    let before = Timestamp::now();
    site.trial
        .kubectl(&format!("delete pod {one} --namespace=keda"))
        .await?;
    let newcomer = cluster
        .wait_for("another controller is there", NOTICED_BOUND, async || {
            let pods = rouse_pods::all(&cluster).await?;
            let is_new = |pod: &&String| pod.starts_with(CONTROLLER) && !controllers.contains(pod);
            match pods.iter().find(is_new) {
                Some(pod) => wait::done(pod.clone()),
                None => wait::not_yet(pods.join(", ")),
            }
        })
        .await?;
    let only = [newcomer.clone()];
    wait_for_readyz(site.trial, &only, WANTED, true).await?;
    is_ready(&cluster, &newcomer, "False").await?;
    told_once(site.trial, &only, before, WANTED).await?;
    Ok(newcomer)
}

async fn is_ready(cluster: &Cluster, pod: &str, status: &str) -> anyhow::Result<()> {
    cluster
        .wait_for_condition(
            ("v1", "Pod"),
            (keda::NAMESPACE, pod),
            ("Ready", status),
            NOTICED_BOUND,
        )
        .await
}

/// Puts into the evidence which versions the definition serves.
async fn served_versions(site: &mut Site<'_>) -> anyhow::Result<()> {
    let shown = "jsonpath={.spec.versions[?(@.served==true)].name}";
    let command = format!("get customresourcedefinition {DEFINITION} -o {shown}");
    site.trial.kubectl(&command).await.map(drop)
}

fn route(namespace: &str, name: &str, host: &str) -> Value {
    objects::http_scaled_object(namespace, name, &[host], &Scaling::default())
}

/// The versions with one that Rouse does not know, of the same schema: either that one is served, or Rouse's are. What is stored
/// stays in the old one.
fn with_other(versions: &Value, is_other_served: bool) -> anyhow::Result<Value> {
    let mut versions = versions.as_array().context("versions")?.clone();
    let mut other = versions.first().context("a version")?.clone();
    for version in &mut versions {
        version["served"] = json!(!is_other_served);
    }
    other["name"] = json!(OTHER);
    other["served"] = json!(is_other_served);
    other["storage"] = json!(false);
    versions.push(other);
    Ok(Value::Array(versions))
}
