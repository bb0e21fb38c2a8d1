//! The user cleans up to the end, KEDA included, in the order of the guide and with KEDA first. KEDA is a Helm release here as
//! its users have it: a chart of the manifests that it was installed from, so that `helm uninstall keda` does to its operator
//! and its definitions what it does there.

use std::time::Duration;

use futures_util::FutureExt as _;
use kube::api::ListParams;

use super::{
    addon::objects,
    behind_gateway::{by_gateway, first_answer, is_routed},
    cleanup::{APP, GONE_BOUND, awake, delete, wait_until_nothing_scales},
    rouse_pods::NOTICED_BOUND,
};
use crate::{
    case::{Case, Need},
    cluster::Cluster,
    keda,
    trial::{Shared, Trial},
    wait,
};

const BOUND: Duration = Duration::from_mins(1);
const HOST: &str = "chatbot.example.com";
/// Where something of a user's or of Rouse's could stay Terminating.
const KINDS: [&str; 4] = [
    "namespaces",
    "customresourcedefinitions",
    "httpscaledobjects.http.keda.sh",
    "services",
];
/// What Rouse writes for a gateway.
const FOR_GATEWAY: [(&str, &str); 2] = [
    ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"),
    ("gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy"),
];

pub(super) const CLEANUP_IN_WHOLE: Case = Case {
    name: "cleanup_in_whole",
    about: "The user's cleanup to the end and in its order: HTTPScaledObject, Deployment and Service, HTTPRoute, Gateway, then \
            `helm uninstall keda-http` and `helm uninstall keda`. Nothing stays Terminating; no ScaledObject, HPA, ReferenceGrant or \
            policy is left, and no definition of KEDA's. Both are installed again.",
    needs: &[Need::OwnNodes, Need::Rouse, Need::Gateway],
    smoke: false,
    bound: Duration::from_mins(12),
    run: |trial| cleanup_in_whole(trial).boxed_local(),
};

pub(super) const CLEANUP_KEDA_FIRST: Case = Case {
    name: "cleanup_keda_first",
    about: "The user's cleanup with `helm uninstall keda` first, while an application is awake: KEDA's operator is gone before it \
            could take its finalizer off any ScaledObject. The route's status says that it is not scaled, requests are answered, \
            and after 30 s Rouse takes that finalizer off the ScaledObjects that it made, so that they and KEDA's definitions go. \
            Then the objects, the namespace and Rouse. Nothing stays Terminating. Both are installed again.",
    needs: &[Need::OwnNodes, Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(12),
    run: |trial| cleanup_keda_first(trial).boxed_local(),
};

async fn cleanup_in_whole(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    borrow_keda(trial).await?;
    trial.apply_file("examples/chatbot.yaml").await?;
    trial.apply_file("examples/chatbot-http-scaler.yaml").await?;
    let gateway = by_gateway(trial, "examples/chatbot-route.yaml").await?;
    is_routed(&cluster, "default", "chatbot").await?;
    let answer = first_answer(&cluster, gateway, HOST, "/", BOUND).await?;
    anyhow::ensure!(answer.status == 200, "through the gateway: {}", answer.summary());
    trial
        .kubectl("get scaledobjects,hpa,referencegrants,backendtrafficpolicies -A")
        .await?;
    let written = for_gateway(&cluster).await?;
    anyhow::ensure!(
        written.len() >= 2,
        "Rouse wrote nothing for the gateway: {written:?}"
    );

    for what in [
        "httpscaledobject chatbot",
        "deployment,service chatbot",
        "httproute chatbot-route",
        "gateway main-gateway --namespace=envoy-gateway-system",
    ] {
        trial
            .kubectl(&format!("delete {what} --timeout={}s", GONE_BOUND.as_secs()))
            .await?;
    }
    wait_until_nothing_scales(&cluster, "default").await?;
    cluster
        .wait_for(
            "nothing is left that was for the gateway",
            GONE_BOUND,
            async || {
                let left = for_gateway(&cluster).await?;
                if left.is_empty() {
                    wait::done(())
                } else {
                    wait::not_yet(left.join(", "))
                }
            },
        )
        .await?;
    let output = cluster.uninstall_rouse().await?;
    trial
        .evidence
        .command("helm uninstall keda-http --namespace keda", &output);
    // As the guide says: the interceptors' own ScaledObject is KEDA's to let go.
    trial
        .kubectl("wait --for=delete scaledobjects.keda.sh --all --all-namespaces --timeout=2m")
        .await?;
    uninstall_keda(trial).await?;
    nothing_is_left(trial).await
}

async fn cleanup_keda_first(trial: &mut Trial) -> anyhow::Result<()> {
    borrow_keda(trial).await?;
    let mut site = awake(trial, "cleanup-keda-first").await?;
    let (cluster, namespace) = (site.cluster.clone(), site.namespace.clone());
    let host = site.host(APP);
    uninstall_keda(site.trial).await?;
    let route = (namespace.as_str(), APP);
    let expected = ("Ready", "False");
    cluster
        .wait_for_condition(objects::HTTP_SCALED_OBJECT, route, expected, NOTICED_BOUND)
        .await?;
    let message = "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}";
    site.trial
        .kubectl(&format!(
            "get httpscaledobject {APP} --namespace={namespace} -o {message}"
        ))
        .await?;
    site.answered_by(APP, &host, "/", &[]).await?;
    cluster
        .wait_for_no_definitions_of(&keda::GROUPS, NOTICED_BOUND)
        .await?;
    let events = format!("get hpa,httpscaledobject --namespace={namespace}");
    site.trial.kubectl(&events).await?;
    site.answered_by(APP, &host, "/", &[]).await?;

    delete(
        &mut site,
        &format!("httpscaledobject {APP} --namespace={namespace}"),
    )
    .await?;
    delete(
        &mut site,
        &format!("deployment,service {APP} --namespace={namespace}"),
    )
    .await?;
    delete(&mut site, &format!("namespace {namespace}")).await?;
    let output = site.cluster.uninstall_rouse().await?;
    site.trial
        .evidence
        .command("helm uninstall keda-http --namespace keda", &output);
    nothing_is_left(site.trial).await
}

/// Makes KEDA a Helm release, and has it and Rouse's, which end with the case, put back.
async fn borrow_keda(trial: &mut Trial) -> anyhow::Result<()> {
    trial.put_back_at_end(Shared::Keda);
    trial.put_back_at_end(Shared::Rouse);
    keda::as_release(trial.cluster()).await
}

async fn uninstall_keda(trial: &mut Trial) -> anyhow::Result<()> {
    let output = trial
        .cluster()
        .helm(["uninstall", keda::RELEASE, "--namespace", keda::NAMESPACE])
        .await?;
    trial
        .evidence
        .command("helm uninstall keda --namespace keda", &output);
    Ok(())
}

/// Waits until nothing stays Terminating and KEDA's definitions are gone, and with them every ScaledObject.
async fn nothing_is_left(trial: &mut Trial) -> anyhow::Result<()> {
    const GOING: &str =
        "jsonpath={range .items[?(@.metadata.deletionTimestamp)]}{.kind}/{.metadata.name} {end}";
    let cluster = trial.cluster().clone();
    cluster
        .wait_for_no_definitions_of(&keda::GROUPS, GONE_BOUND)
        .await?;
    cluster
        .wait_for("nothing stays Terminating", GONE_BOUND, async || {
            let kinds = KINDS.join(",");
            let going = ["get", &kinds, "--all-namespaces", "--output", GOING];
            let going = cluster.kubectl(going).await?;
            if going.trim().is_empty() {
                wait::done(())
            } else {
                wait::not_yet(going)
            }
        })
        .await?;
    trial.kubectl("get namespaces").await?;
    trial.kubectl("get hpa --all-namespaces").await.map(drop)
}

/// The names of what Rouse has written for gateways.
async fn for_gateway(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=rouse");
    let mut found = Vec::new();
    for (api_version, kind) in FOR_GATEWAY {
        let objects = cluster.dynamic(api_version, kind, "").list(&ours).await?;
        let names = objects
            .items
            .into_iter()
            .filter_map(|object| object.metadata.name);
        found.extend(names.map(|name| format!("{kind} {name}")));
    }
    Ok(found)
}
