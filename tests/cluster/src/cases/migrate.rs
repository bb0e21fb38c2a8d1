//! From the KEDA HTTP Add-on to Rouse, by the steps of `docs/guide/migrate.md`, with the add-on itself before.

mod count;
mod guide;
mod tenants;
mod traffic;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout};

use self::{
    count::Objects,
    guide::Guide,
    traffic::{Flow, Used},
};
use super::addon::objects;
use crate::{
    addons::http_add_on::{self, FINALIZER},
    case::{Case, Need},
    cluster::Cluster,
    keda,
    rouse::{DEPLOYMENTS, RELEASE},
    trial::Trial,
    wait,
};

const NEEDS: &[Need] = &[Need::OwnNodes, Need::Rouse, Need::AddOn];
/// Without the restoring that follows whatever comes of it.
const WORK_BOUND: Duration = Duration::from_mins(10);
const READY_BOUND: Duration = Duration::from_mins(3);
const DELETED_BOUND: Duration = Duration::from_mins(2);
/// How long a request may take where none is to be lost, on a busy machine.
const PATIENT: Duration = Duration::from_secs(20);
/// How long a request may take where an interruption is measured.
const IMPATIENT: Duration = Duration::from_secs(2);
/// How long traffic goes on once Rouse is ready: a poll of KEDA and the cooldown, after which a wrong scale to zero would show.
const AFTERWARDS: Duration = Duration::from_secs(75);
/// Far more than a release takes to be ready.
const INTERRUPTION: Duration = Duration::from_mins(2);

/// What the reader of the guide writes: the add-on's two interceptors stay two.
const VALUES: &str = "interceptor:\n  replicas:\n    min: 2\n    max: 50\n";

const BEFORE: &str = "Before";
const IN_PLACE: &str = "One way: upgrade the release in place";
const ANEW: &str = "The other way: a release of its own";
const AFTER: &str = "After";
const OLD_RELEASE: &str = "http-add-on";

pub(super) const ADD_ON_UPGRADED_IN_PLACE_LOSES_NOTHING: Case = Case {
    name: "add_on_upgraded_in_place_loses_nothing",
    about: "The KEDA HTTP Add-on itself serves tenants, some in use and some at zero; then the release is upgraded in place to \
            Rouse's chart by the commands of docs/guide/migrate.md, taken from there as they are, while requests flow by the \
            Service's name. Every definition, route, ScaledObject and HPA is the same object afterwards, no request is lost, \
            nothing in use goes to zero, what slept wakes. Then back, and the same is looked at again. The add-on is built from \
            its Go module; its chart is made of its own manifests, with names, labels and selectors of its released chart.",
    needs: NEEDS,
    smoke: false,
    bound: Duration::from_mins(20),
    run: |trial| restored(trial, Way::InPlace).boxed_local(),
};

pub(super) const ADD_ON_REPLACED_BY_A_RELEASE_OF_ITS_OWN_KEEPS_OBJECTS: Case = Case {
    name: "add_on_replaced_by_a_release_of_its_own_keeps_objects",
    about: "The other way of docs/guide/migrate.md, with the KEDA HTTP Add-on itself before: its release is uninstalled and \
            Rouse installed under another name, by the guide's own commands. Every route, its definition, its ScaledObject and \
            its HPA is the same object afterwards; nothing in use goes to zero unless it cannot be reached for longer than its \
            scaledownPeriod; what slept wakes. How long requests fail between \
            the two releases is measured.",
    needs: NEEDS,
    smoke: false,
    bound: Duration::from_mins(20),
    run: |trial| restored(trial, Way::Anew).boxed_local(),
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    InPlace,
    Anew,
}

impl Way {
    /// What the add-on's release is called in the guide.
    fn release(self) -> &'static str {
        match self {
            Self::InPlace => RELEASE,
            Self::Anew => OLD_RELEASE,
        }
    }

    /// In seconds, of an application in use. Requests that reach no interceptor keep nothing awake, so where there is an
    /// interruption it has to be longer than that.
    fn scaledown_period(self) -> u32 {
        match self {
            Self::InPlace => 60, // as the chatbot's
            Self::Anew => 300,   // what it is where nobody says
        }
    }
}

/// Migrates, and leaves Rouse installed as it was found, whatever came of it: the next cases want it.
async fn restored(trial: &mut Trial, way: Way) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let migrated = timeout(WORK_BOUND, Box::pin(migrate(trial, way))).await;
    let migrated =
        migrated.unwrap_or_else(|_| anyhow::bail!("the migration is not done after {WORK_BOUND:?}"));
    // Every object, as the case found it.
    let cleared = clear(&cluster).await;
    let installed = cluster.install_rouse(&[], READY_BOUND).await;
    migrated?;
    cleared.context("take the case's releases away")?;
    installed.context("install Rouse again").map(drop)
}

async fn migrate(trial: &mut Trial, way: Way) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    clear(&cluster).await?;
    let directory = empty_directory(&cluster)?;
    let (chart, version) = http_add_on::provide(&cluster, &directory).await?;
    let guide = Guide::open(&cluster, &directory, &chart, &version)?;
    guide.write("rouse-values.yaml", VALUES)?;

    trial.step("the add-on is installed");
    let chart = chart.display().to_string();
    cluster
        .helm(["install", way.release(), &chart, "--namespace", keda::NAMESPACE])
        .await?;
    wait_until_installed(&cluster, 2).await?;
    trial.kubectl("get deployments -n keda -o wide").await?;
    let used = tenants::set_up(trial, way.scaledown_period()).await?;
    tenants::wait_until_finalizers(&cluster, true).await?;
    trial
        .kubectl("get httpscaledobjects,interceptorroutes,scaledobjects,hpa -A")
        .await?;

    trial.evidence.note("Before, as the guide says:");
    let before = Objects::count(&cluster, way == Way::InPlace).await?;
    let counts = guide.run(trial, BEFORE, 0).await?;
    check_counts(&counts, &before)?;

    match way {
        Way::InPlace => Box::pin(in_place(trial, &guide, &used, &before)).await?,
        Way::Anew => Box::pin(anew(trial, &guide, &used, &before)).await?,
    }
    Ok(())
}

async fn in_place(trial: &mut Trial, guide: &Guide, used: &[Used], before: &Objects) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    trial.step("the release is upgraded");
    trial.evidence.note("The upgrade, while requests flow:");
    let started = Instant::now();
    let work = async {
        guide.run(trial, IN_PLACE, 0).await?;
        wait_until_installed(&cluster, 2).await?;
        let taken = started.elapsed();
        sleep_until(Instant::now() + AFTERWARDS).await; // traffic is to go on
        anyhow::Ok(taken)
    };
    let (flow, taken) = traffic::during(&cluster, used, PATIENT, work.boxed_local()).await;
    let taken = taken?;
    trial.evidence.note(format_args!(
        "Rouse's pods have all replaced the add-on's {:.0} s after the command. {}",
        taken.as_secs_f64(),
        summary(&flow)
    ));
    loses_nothing(&flow)?;
    look_after(trial, guide, before, true).await?;
    tenants::wake(trial, &["asleep", "own", "route"]).await?;

    trial.step("and rolled back");
    trial.evidence.note("Back to the add-on, while requests flow:");
    let work = async {
        let outputs = guide.run(trial, IN_PLACE, 2).await?;
        let definitions = outputs.first().map(|count| count.trim());
        anyhow::ensure!(
            definitions == Some("2"),
            "the add-on's revision has {definitions:?} definitions"
        );
        wait_until_installed(&cluster, 2).await
    };
    let (flow, outcome) = traffic::during(&cluster, used, PATIENT, work.boxed_local()).await;
    outcome?;
    trial.evidence.note(summary(&flow));
    let after = Objects::count(&cluster, true).await?;
    after.are_those_of(before).context("after the rollback")?;
    trial.evidence.note(after.table(before));
    loses_nothing(&flow).context("during the rollback")?;
    tenants::wake(trial, &["later"]).await
}

async fn anew(trial: &mut Trial, guide: &Guide, used: &[Used], before: &Objects) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    trial.step("the release is replaced");
    trial.evidence.note("The four steps, while requests flow:");
    let work = async {
        guide.run(trial, ANEW, 0).await?;
        let counts = guide.run(trial, ANEW, 1).await?;
        check_counts(&counts, before).context("once the definitions are out of the release")?;
        let left = counts.last().map(|count| count.trim());
        anyhow::ensure!(left == Some("0"), "{left:?} definitions are still in the release");
        let counts = guide.run(trial, ANEW, 2).await?;
        check_counts(&counts, before).context("once the release is uninstalled")?;
        guide.run(trial, ANEW, 3).await?;
        wait_until_installed(&cluster, 2).await?;
        sleep_until(Instant::now() + AFTERWARDS).await; // traffic is to go on
        anyhow::Ok(())
    };
    let (flow, outcome) = traffic::during(&cluster, used, IMPATIENT, work.boxed_local()).await;
    outcome.with_context(|| summary(&flow))?;
    trial.evidence.note(format_args!(
        "{} From the first that failed to the first that was answered again: {:.1} s.",
        summary(&flow),
        flow.interruption.as_secs_f64()
    ));
    stays_awake(&flow)?;
    anyhow::ensure!(
        flow.interruption < INTERRUPTION,
        "requests failed for {:?}",
        flow.interruption
    );
    look_after(trial, guide, before, false).await?;
    tenants::wake(trial, &["asleep", "own", "route", "later"]).await
}

/// What the guide has one look at afterwards.
async fn look_after(
    trial: &mut Trial,
    guide: &Guide,
    before: &Objects,
    with_release: bool,
) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    tenants::wait_until_served(&cluster).await?;
    tenants::wait_until_finalizers(&cluster, false).await?;
    trial.evidence.note("After, as the guide says:");
    let mut counts = Vec::new();
    for command in guide.block(AFTER, 0)? {
        // That request is of the reader's own making.
        if !command.contains("curl") {
            let output = guide.output(&command).await?;
            trial.evidence.command(&command, &output);
            counts.push(output);
        }
    }
    check_counts(&counts, before)?;
    let finalizers = counts.last().map(|count| count.trim());
    anyhow::ensure!(finalizers == Some("0"), "{finalizers:?} finalizers are left");
    let after = Objects::count(&cluster, with_release).await?;
    after.are_those_of(before)?;
    trial.evidence.note(after.table(before));
    Ok(())
}

/// Has what the guide's commands count be what there was: each block counts HTTPScaledObjects and then InterceptorRoutes.
fn check_counts(outputs: &[String], before: &Objects) -> anyhow::Result<()> {
    let mut counts = outputs
        .iter()
        .filter_map(|output| output.trim().parse::<usize>().ok());
    let counted = (counts.next(), counts.next());
    let there_were = (
        Some(before.of_kind("HTTPScaledObject")),
        Some(before.of_kind("InterceptorRoute")),
    );
    anyhow::ensure!(
        counted == there_were,
        "the guide counts {counted:?} HTTPScaledObjects and InterceptorRoutes; there were {there_were:?}"
    );
    Ok(())
}

fn summary(flow: &Flow) -> String {
    let first = flow
        .lost
        .first()
        .map_or(String::new(), |first| format!(", the first: {first}"));
    format!(
        "Traffic meanwhile: {} requests, {} lost{first}; applications in use that were seen at zero: {:?}.",
        flow.sent,
        flow.lost.len(),
        flow.slept.keys().collect::<Vec<_>>()
    )
}

fn loses_nothing(flow: &Flow) -> anyhow::Result<()> {
    let is_whole = flow.sent > 0 && flow.lost.is_empty() && flow.slept.is_empty();
    anyhow::ensure!(is_whole, "{}", summary(flow));
    Ok(())
}

/// Requests that reach no interceptor keep nothing awake: an application may go to zero once it could not be reached for its
/// `scaledownPeriod`, in which KEDA's last look at it in use may be a polling interval old.
fn stays_awake(flow: &Flow) -> anyhow::Result<()> {
    const POLLING_INTERVAL: Duration = Duration::from_secs(15);
    let unreached = flow.interruption + POLLING_INTERVAL;
    let wrong = flow.slept.iter().find(|(_, scaledown)| unreached < **scaledown);
    anyhow::ensure!(
        wrong.is_none(),
        "scaled to zero while in use: {wrong:?}, interruption {:?}. {}",
        flow.interruption,
        summary(flow)
    );
    Ok(())
}

/// Waits until the three Deployments, of whichever release, are as they were last asked to be, with at least so many
/// interceptors, and no pod of another kind is left.
async fn wait_until_installed(cluster: &Cluster, interceptors: i32) -> anyhow::Result<()> {
    for deployment in DEPLOYMENTS {
        cluster
            .wait_for_available(keda::NAMESPACE, deployment, READY_BOUND)
            .await?;
    }
    let pods: Api<Pod> = Api::namespaced(cluster.client(), keda::NAMESPACE);
    let ours = ListParams::default().labels("app.kubernetes.io/part-of=keda-add-ons-http");
    cluster
        .wait_for("only the release's pods are left", READY_BOUND, async || {
            let found = pods.list(&ours).await?.items;
            let leaving = found
                .iter()
                .filter(|pod| pod.metadata.deletion_timestamp.is_some());
            let leaving: Vec<_> = leaving.filter_map(|pod| pod.metadata.name.clone()).collect();
            if leaving.is_empty() {
                wait::done(())
            } else {
                wait::not_yet(leaving.join(", "))
            }
        })
        .await?;
    let scaled = cluster.dynamic("apps/v1", "Deployment", keda::NAMESPACE);
    cluster
        .wait_for(
            "the interceptors are as many as are asked for",
            READY_BOUND,
            async || {
                let found = scaled.get("keda-add-ons-http-interceptor").await?;
                let ready = found.data.pointer("/status/readyReplicas");
                match ready.and_then(serde_json::Value::as_i64) {
                    Some(ready) if ready >= i64::from(interceptors) => wait::done(()),
                    ready => wait::not_yet(format!("{ready:?} ready")),
                }
            },
        )
        .await
}

/// An empty directory of the cluster's, in which the guide is followed.
fn empty_directory(cluster: &Cluster) -> anyhow::Result<PathBuf> {
    let own = cluster.as_own().context("a cluster of our own")?;
    let directory = own.places().state().join("migration");
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    Ok(directory)
}

/// Takes Rouse and the add-on away with definitions and objects, so that either can be installed: a definition belongs to
/// one release. The finalizer goes first, because the operator that would take it off goes too.
async fn clear(cluster: &Cluster) -> anyhow::Result<()> {
    let definitions = ["httpscaledobjects.http.keda.sh", "interceptorroutes.http.keda.sh"];
    let (api_version, kind) = objects::HTTP_SCALED_OBJECT;
    let all = cluster.dynamic(api_version, kind, "");
    for release in [RELEASE, OLD_RELEASE] {
        let uninstall = ["uninstall", release, "--namespace", keda::NAMESPACE];
        // Helm waits for nothing here that needs the finalizer to go.
        cluster
            .helm(
                uninstall
                    .into_iter()
                    .chain(["--ignore-not-found", "--wait=false"]),
            )
            .await?;
    }
    // Where the definition is gone there is nothing to take a finalizer off.
    if let Ok(left) = all.list(&ListParams::default()).await {
        for object in left.items {
            if object
                .metadata
                .finalizers
                .iter()
                .flatten()
                .any(|one| one == FINALIZER)
            {
                let namespace = object.metadata.namespace.unwrap_or_default();
                let name = object.metadata.name.unwrap_or_default();
                let without = json!({ "metadata": { "finalizers": null } }).to_string();
                let patch = ["patch", "httpscaledobject", &name, "--namespace", &namespace];
                let merge = ["--type=merge", "--patch", &without];
                cluster.kubectl(patch.into_iter().chain(merge)).await?;
            }
        }
    }
    let delete = ["delete", "crd", "--ignore-not-found", "--timeout=120s"];
    cluster.kubectl(delete.into_iter().chain(definitions)).await?;
    let deployments = cluster.dynamic("apps/v1", "Deployment", keda::NAMESPACE);
    cluster
        .wait_for("the release is gone", DELETED_BOUND, async || {
            for name in DEPLOYMENTS {
                if deployments.get_opt(name).await?.is_some() {
                    return wait::not_yet(name);
                }
            }
            wait::done(())
        })
        .await
}
