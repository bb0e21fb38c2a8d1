//! Cases and their runner: each has a name, needs, a time limit; each cleans up; the last line is `N passed, N failed`.

use std::{fs, panic::AssertUnwindSafe, path::PathBuf, time::Duration};

use anyhow::Context as _;
use futures_util::{FutureExt as _, future::LocalBoxFuture};
use tokio::time::{Instant, timeout};

use crate::{
    addons::Addons,
    cluster::Cluster,
    command,
    evidence::Evidence,
    report::{FAIL, OK, Report, SKIP},
    say::say,
    trial::Trial,
};

const CLEAN_UP_BOUND: Duration = Duration::from_mins(5);

/// What a case needs of the cluster, beyond KEDA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A cluster of our own, whose nodes and control plane can be started and stopped.
    OwnNodes,
    /// Rouse, installed.
    Rouse,
    /// Gateway API with Envoy Gateway.
    Gateway,
    /// Karpenter.
    Karpenter,
    /// Prometheus.
    Prometheus,
    /// The programs of the KEDA HTTP Add-on, for a cluster of our own.
    AddOn,
}

impl Need {
    /// Why a cluster does not meet it; nothing if it does.
    async fn unmet(self, cluster: &Cluster) -> anyhow::Result<Option<String>> {
        let kind = match self {
            Self::OwnNodes => {
                let reason =
                    "it starts and stops nodes or the control plane, which needs a cluster of our own";
                return Ok(cluster.as_own().is_none().then(|| reason.to_owned()));
            }
            Self::AddOn => {
                let reason =
                    "it installs the KEDA HTTP Add-on, whose images are made for a cluster of our own";
                return Ok(cluster.as_own().is_none().then(|| reason.to_owned()));
            }
            Self::Rouse => ["deployment", "keda-add-ons-http-interceptor", "--namespace=keda"],
            Self::Gateway => [
                "customresourcedefinition",
                "gateways.gateway.networking.k8s.io",
                "--output=name",
            ],
            Self::Karpenter => [
                "customresourcedefinition",
                "nodepools.karpenter.sh",
                "--output=name",
            ],
            Self::Prometheus => ["service", "prometheus", "--namespace=monitoring"],
        };
        let found = cluster
            .kubectl(["get", "--ignore-not-found"].into_iter().chain(kind))
            .await?;
        Ok(found
            .trim()
            .is_empty()
            .then(|| format!("the cluster has no {} {}", kind[0], kind[1])))
    }
}

/// A test on a real cluster.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// A sentence, with underscores: what is shown.
    pub name: &'static str,
    /// For the reader of the evidence: what was done and why it shows that.
    pub about: &'static str,
    /// What it needs of the cluster.
    pub needs: &'static [Need],
    /// Whether it is one of the few that CI runs.
    pub smoke: bool,
    /// How long it may take, clean-up left out.
    pub bound: Duration,
    /// The case itself.
    pub run: for<'a> fn(&'a mut Trial) -> LocalBoxFuture<'a, anyhow::Result<()>>,
}

/// Which cases are run, and where what they saw goes.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only those marked so.
    pub smoke: bool,
    /// Only those whose names contain one of these.
    pub only: Vec<String>,
    /// Only the one of this name.
    pub exactly: Option<String>,
    /// The directory of the evidence; none is written without one.
    pub evidence: Option<PathBuf>,
    /// The directory in which a failed case leaves the state of the cluster.
    pub failures: PathBuf,
}

impl Selection {
    /// Whether a case that it takes has this need.
    pub fn needs(&self, cases: &[Case], need: Need) -> bool {
        let mut taken = cases.iter().filter(|case| self.takes(case));
        taken.any(|case| case.needs.contains(&need))
    }

    /// Whether every case is taken.
    pub fn is_whole(&self) -> bool {
        !self.smoke && self.only.is_empty() && self.exactly.is_none()
    }

    /// Whether a case is taken.
    pub fn takes(&self, case: &Case) -> bool {
        let named = self.only.is_empty() || self.only.iter().any(|name| case.name.contains(name.as_str()));
        let meant = self.exactly.as_ref().is_none_or(|name| case.name == name);
        named && meant && (case.smoke || !self.smoke)
    }
}

/// How a run of cases came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many passed.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
}

/// Runs the selected cases one after the other, prints a line for each, and the sum.
pub async fn run(cluster: &Cluster, cases: &[Case], selection: &Selection) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut tell = |line: String| {
        say(&line);
        report.note(&line);
    };
    let kubernetes = cluster
        .client()
        .apiserver_version()
        .await
        .context("ask for the version")?
        .git_version;
    let mut addons = Addons::default();
    for case in cases.iter().filter(|case| selection.takes(case)) {
        if let Err(error) = addons.meet(cluster, case.needs).await {
            tell(format!("{FAIL}{}: {error:#}", case.name));
            continue;
        }
        if let Some(reason) = unmet(cluster, case).await? {
            tell(format!("{SKIP}{}: {reason}", case.name));
            continue;
        }
        let started = Instant::now();
        say(format_args!("run  {}", case.name));
        let mut trial = Trial::new(cluster.clone(), Evidence::new(case.name, case.about));
        let mut result = run_bounded(case, &mut trial).await;
        if let Err(error) = &mut result {
            let report = leave_report(cluster, case, selection, error).await;
            say(format_args!("     {report}"));
        }
        let cleaned = timeout(CLEAN_UP_BOUND, trial.clean_up()).await;
        let result = result.and(cleaned.unwrap_or_else(|_| anyhow::bail!("clean-up is not done in time")));
        let seconds = started.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                tell(format!("{OK}{} ({seconds:.1} s)", case.name));
                if let Some(directory) = &selection.evidence {
                    trial
                        .evidence
                        .write(directory, case.name, cluster.parts(), &kubernetes)?;
                }
            }
            Err(error) => {
                tell(format!("{FAIL}{} ({seconds:.1} s): {error:#}", case.name));
            }
        }
    }
    addons.end().await;
    let Outcome { passed, failed } = report.outcome();
    say(format_args!("{passed} passed, {failed} failed"));
    Ok(report)
}

async fn unmet(cluster: &Cluster, case: &Case) -> anyhow::Result<Option<String>> {
    for need in case.needs {
        if let Some(reason) = need.unmet(cluster).await? {
            return Ok(Some(reason));
        }
    }
    Ok(None)
}

/// A case that panics has failed, and the next is run.
async fn run_bounded(case: &Case, trial: &mut Trial) -> anyhow::Result<()> {
    let guarded = AssertUnwindSafe((case.run)(trial)).catch_unwind();
    match timeout(case.bound, guarded).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
            anyhow::bail!("it panicked: {}", said.unwrap_or("without a word"))
        }
        Err(_) => anyhow::bail!("it is not done after {:?}", case.bound),
    }
}

/// Writes down how things are when a case fails, before it is cleaned up.
async fn leave_report(
    cluster: &Cluster,
    case: &Case,
    selection: &Selection,
    error: &anyhow::Error,
) -> String {
    let mut report = format!("{}\n\n{error:?}\n", case.name);
    let looks: [&[&str]; 4] = [
        &["get", "nodes,pods", "--all-namespaces", "--output=wide"],
        &[
            "get",
            "deployments,hpa,services,endpointslices",
            "--all-namespaces",
            "--output=wide",
        ],
        &["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"],
        &[
            "logs",
            "--namespace=keda",
            "--selector=app=keda-operator",
            "--tail=200",
        ],
    ];
    for look in looks {
        let output = cluster
            .kubectl(look.iter().copied())
            .await
            .unwrap_or_else(|error| format!("{error:#}"));
        report.extend([
            "\n$ kubectl ",
            &look.join(" "),
            "\n",
            command::tail(&output),
            "\n",
        ]);
    }
    let path = selection.failures.join(format!("{}.txt", case.name));
    let written = fs::create_dir_all(&selection.failures).and_then(|()| fs::write(&path, report));
    match written {
        Ok(()) => format!("how things were: {}", path.display()),
        Err(error) => format!("{}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &'static str, smoke: bool) -> Case {
        Case {
            name,
            about: "",
            needs: &[],
            smoke,
            bound: Duration::from_secs(1),
            run: |_| std::future::ready(Ok(())).boxed_local(),
        }
    }

    #[test]
    fn a_selection_takes_what_is_named_and_marked() {
        let both = Selection {
            smoke: true,
            only: vec!["wakes".to_owned()],
            ..Selection::default()
        };
        assert!(both.takes(&case("request_wakes_it", true)));
        assert!(!both.takes(&case("request_wakes_it", false)));
        assert!(!both.takes(&case("node_is_ready", true)));
        assert!(Selection::default().takes(&case("node_is_ready", false)));
    }

    #[test]
    fn a_selection_needs_what_its_cases_need() {
        let mut upgrade = case("upgrade", false);
        upgrade.needs = &[Need::AddOn];
        let cases = [case("wake", true), upgrade];
        assert!(Selection::default().needs(&cases, Need::AddOn));
        let smoke = Selection {
            smoke: true,
            ..Selection::default()
        };
        assert!(!smoke.needs(&cases, Need::AddOn));
    }

    #[test]
    fn names_are_distinct() {
        let mut names: Vec<_> = crate::cases::ALL.iter().map(|case| case.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
