//! Many tenants, each in a namespace of its own.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::addon::{
    interceptors::wait_until_routed,
    objects::{self, Scaling},
    site::{COLD_BOUND, is_no_route, reach_proxy, told_name},
};
use crate::{
    case::{Case, Need},
    cluster::Cluster,
    trial::Trial,
    wait,
};

const TENANTS: usize = 50;
/// Those whose applications are woken, one after the other.
const WOKEN: [usize; 4] = [0, 17, 31, 49];
const RELEASE: &str = "fifty-tenants";
/// The namespace that remembers the release.
const RELEASE_NAMESPACE: &str = "fifty-tenants";
/// What chart and Deployment call every tenant's application.
const APP: &str = "chatbot";
/// KEDA looks at the new ScaledObjects one after the other.
const READY_BOUND: Duration = Duration::from_mins(3);
const CONFLICT_BOUND: Duration = Duration::from_secs(30);
const GONE_BOUND: Duration = Duration::from_mins(2);

pub(super) const FIFTY_TENANTS_ARE_REACHED_BY_THEIR_OWN_HOSTS: Case = Case {
    name: "fifty_tenants_are_reached_by_their_own_hosts",
    about: "The tenants' chart, with a list of 50: each in a namespace of its own becomes ready, every interceptor has its route, and it sleeps. A few are woken: \
            each host reaches its own tenant's application, and everybody else's sleep on. A tenant that claims another's host \
            is told in its object's status, and the host goes on being served by the tenant who had it first.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(12),
    run: |trial| fifty_tenants_are_reached_by_their_own_hosts(trial).boxed_local(),
};

async fn fifty_tenants_are_reached_by_their_own_hosts(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    install(trial, &cluster).await?;
    let (api_version, kind) = objects::HTTP_SCALED_OBJECT;
    wait_until_all_ready(&cluster, (api_version, kind)).await?;
    trial
        .kubectl("get httpscaledobjects --all-namespaces --selector=app=chatbot")
        .await?;

    let routes: Vec<_> = (0..TENANTS)
        .map(|tenant| format!("{}/{APP}", namespace(tenant)))
        .collect();
    wait_until_routed(&cluster, &routes).await?;

    let proxy = reach_proxy(&cluster).await?;
    for woken in WOKEN {
        answered_by(trial, proxy.addr(), &host(woken), &name(woken)).await?;
    }
    let nobodys = trial
        .get(proxy.addr(), "nobody.fifty.test", "/", COLD_BOUND)
        .await?;
    anyhow::ensure!(
        is_no_route(&nobodys),
        "nobody's host is answered: {}",
        nobodys.summary()
    );
    let awake = awake(&cluster).await?;
    let woken: Vec<_> = WOKEN.map(namespace).into();
    anyhow::ensure!(
        awake.iter().all(|namespace| woken.contains(namespace)),
        "others than {woken:?} are awake: {awake:?}"
    );

    // The second takes the first one's host, on top of its own.
    let (owner, intruder) = (WOKEN[0], WOKEN[1]);
    let scaling = Scaling::default();
    let claim = objects::http_scaled_object(&namespace(intruder), "claim", &[&host(owner)], &scaling);
    trial.apply(&claim.to_string()).await?;
    let told = wait_for_conflict(&cluster, &namespace(intruder), "claim").await?;
    trial.evidence.command(
        format_args!(
            "kubectl get httpscaledobject claim --namespace={}",
            namespace(intruder)
        ),
        &told,
    );
    cluster
        .wait_for_condition(
            (api_version, kind),
            (&namespace(owner), APP),
            ("Accepted", "True"),
            CONFLICT_BOUND,
        )
        .await?;
    answered_by(trial, proxy.addr(), &host(owner), &name(owner)).await?;
    answered_by(trial, proxy.addr(), &host(intruder), &name(intruder)).await?;

    cluster
        .helm(["uninstall", RELEASE, "--namespace", RELEASE_NAMESPACE])
        .await?;
    wait_until_no_scaled_object(&cluster).await
}

/// Makes the namespaces, so that they go when the case ends, whatever comes of it, and has the chart fill them.
async fn install(trial: &mut Trial, cluster: &Cluster) -> anyhow::Result<()> {
    let names = (0..TENANTS).map(namespace).chain([RELEASE_NAMESPACE.to_owned()]);
    let items: Vec<_> = names
        .map(|name| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))
        .collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    trial.apply(&list.to_string()).await?;
    let tenants: Vec<_> = (0..TENANTS)
        .map(|tenant| {
            json!({
                "name": name(tenant),
                "hosts": [host(tenant)],
                "env": [{ "name": "PODINFO_UI_MESSAGE", "value": name(tenant) }],
            })
        })
        .collect();
    let tenants = format!("tenants={}", Value::from(tenants));
    let arguments = [
        "install",
        RELEASE,
        "charts/tenant",
        "--namespace",
        RELEASE_NAMESPACE,
        "--set",
        "defaults.namespace.create=false",
        "--set",
        "defaults.gateway.enabled=false",
        "--set",
        "defaults.resources.requests.cpu=10m",
        "--set-json",
        &tenants,
    ];
    let output = cluster.helm(arguments).await?;
    trial.evidence.command(
        "helm install fifty-tenants charts/tenant --set-json tenants=…",
        &output,
    );
    Ok(())
}

async fn wait_until_all_ready(cluster: &Cluster, (api_version, kind): (&str, &str)) -> anyhow::Result<()> {
    let api = cluster.dynamic(api_version, kind, "");
    let ours = ListParams::default().labels(&format!("app={APP}"));
    cluster
        .wait_for("every tenant is ready", READY_BOUND, async || {
            let tenants = api.list(&ours).await?.items;
            let mut states = BTreeMap::<String, usize>::new();
            for tenant in &tenants {
                let conditions = tenant
                    .data
                    .pointer("/status/conditions")
                    .and_then(Value::as_array);
                let ready = conditions.and_then(|all| all.iter().find(|found| found["type"] == "Ready"));
                let state = ready.map_or_else(
                    || "without a status".to_owned(),
                    |ready| format!("{} ({})", ready["status"], ready["reason"]),
                );
                *states.entry(state).or_default() += 1;
            }
            let ready: usize = states
                .iter()
                .filter(|(state, _)| state.starts_with("\"True\""))
                .map(|(_, count)| count)
                .sum();
            if ready == TENANTS {
                return wait::done(());
            }
            wait::not_yet(format!("{} tenants: {states:?}", tenants.len()))
        })
        .await
}

async fn answered_by(
    trial: &mut Trial,
    addr: std::net::SocketAddr,
    host: &str,
    tenant: &str,
) -> anyhow::Result<()> {
    let answer = trial.get(addr, host, "/", COLD_BOUND).await?;
    let told = told_name(&answer);
    anyhow::ensure!(
        answer.status == 200 && told.as_deref() == Some(tenant),
        "{host} is answered by {told:?}, and not by {tenant}: {}",
        answer.summary()
    );
    Ok(())
}

/// The namespaces of the tenants whose application is not at zero.
async fn awake(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let api = cluster.dynamic("apps/v1", "Deployment", "");
    let ours = ListParams::default().labels(&format!("app={APP},app.kubernetes.io/instance={RELEASE}"));
    let all = api.list(&ours).await?.items;
    anyhow::ensure!(all.len() == TENANTS, "there are {} Deployments", all.len());
    let awake = all.into_iter().filter(|one| one.data["spec"]["replicas"] != 0);
    Ok(awake.filter_map(|one| one.metadata.namespace).collect())
}

/// Waits until an object is told that its host is another's, and gives what it is told.
async fn wait_for_conflict(cluster: &Cluster, namespace: &str, name: &str) -> anyhow::Result<String> {
    let (api_version, kind) = objects::HTTP_SCALED_OBJECT;
    let api = cluster.dynamic(api_version, kind, namespace);
    cluster
        .wait_for("the conflict is told", CONFLICT_BOUND, async || {
            let object = api.get(name).await?;
            let conditions = object
                .data
                .pointer("/status/conditions")
                .and_then(Value::as_array)
                .context("there are no conditions yet")?;
            let accepted = conditions.iter().find(|found| found["type"] == "Accepted");
            match accepted {
                Some(accepted)
                    if accepted["status"] == "False" && accepted["reason"] == "HostOwnedByOtherNamespace" =>
                {
                    wait::done(accepted.to_string())
                }
                _ => wait::not_yet(format!("{conditions:?}")),
            }
        })
        .await
}

async fn wait_until_no_scaled_object(cluster: &Cluster) -> anyhow::Result<()> {
    let (api_version, kind) = objects::SCALED_OBJECT;
    let api = cluster.dynamic(api_version, kind, "");
    cluster
        .wait_for("every ScaledObject of a tenant is gone", GONE_BOUND, async || {
            let left = api.list(&ListParams::default()).await?.items.into_iter();
            let left: Vec<_> = left
                .filter_map(|object| object.metadata.namespace)
                .filter(|namespace| namespace.starts_with("tenant-fifty-"))
                .collect();
            // That of the tenant's own making goes with its namespace.
            if left.iter().all(|of| *of == namespace(WOKEN[1])) {
                return wait::done(());
            }
            wait::not_yet(format!("{} are left: {left:?}", left.len()))
        })
        .await
}

fn name(tenant: usize) -> String {
    format!("fifty-{tenant:02}")
}

fn namespace(tenant: usize) -> String {
    format!("tenant-{}", name(tenant))
}

fn host(tenant: usize) -> String {
    format!("{}.fifty.test", name(tenant))
}
