//! The cases on several clusters of this machine at once: most of what a case does is wait.
//!
//! Each cluster takes the next case of the one list when it is done with its last, so each sees the cases in their order: what
//! has to come first does, and what takes away that which all others need comes last. A cluster, and each case on it, is a
//! process of its own: this very program, whose network is another for each.

use std::{
    collections::VecDeque, env, ffi::OsString, path::PathBuf, process::Stdio, sync::Arc, time::Duration,
};

use anyhow::Context as _;
use futures_util::future;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

use crate::{case::Case, report::Report, say::say};

/// For a case to be set up, to clean up, to build what it alone needs.
const BESIDES: Duration = Duration::from_mins(20);
/// Parts may have to be built.
const UP_BOUND: Duration = Duration::from_hours(2);
const DOWN_BOUND: Duration = Duration::from_mins(5);

/// Several clusters.
#[derive(Debug)]
pub struct Fleet {
    /// What their names begin with.
    pub name: String,
    /// How many.
    pub size: usize,
    /// How they are started: options of this program.
    pub options: Vec<OsString>,
    /// Whether cases write evidence.
    pub evidence: bool,
}

impl Fleet {
    /// Runs the cases. The clusters are ended whatever comes of it; a cluster that does not start leaves its cases to the
    /// others.
    ///
    /// # Errors
    /// When a cluster did not start or did not end, or cases are left because none is there to run them.
    pub async fn run(&self, cases: Vec<Case>) -> anyhow::Result<Report> {
        let left = Arc::new(Mutex::new(VecDeque::from(cases)));
        let clusters = (1..=self.size).map(|number| self.run_one(number, &left));
        let mut report = Report::default();
        let mut failures = Vec::new();
        for (found, outcome) in future::join_all(clusters).await {
            report.extend(found);
            failures.extend(outcome.err().map(|error| format!("{error:#}")));
        }
        let left = left.lock().len();
        if left > 0 {
            failures.push(format!("{left} cases have not been run"));
        }
        anyhow::ensure!(failures.is_empty(), "{}", failures.join("; "));
        Ok(report)
    }

    /// What one cluster's cases came to, and whether the cluster itself was well.
    async fn run_one(&self, number: usize, left: &Mutex<VecDeque<Case>>) -> (Report, anyhow::Result<()>) {
        let mut report = Report::default();
        let outcome = self.run_cases(number, left, &mut report).await;
        let down = self.child(number, &["down"], DOWN_BOUND, &mut report).await;
        (report, outcome.and(down.map(drop)))
    }

    async fn run_cases(
        &self,
        number: usize,
        left: &Mutex<VecDeque<Case>>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let up = self.child(number, &["up"], UP_BOUND, report).await?;
        anyhow::ensure!(up, "cluster {number} did not start");
        loop {
            let next = left.lock().pop_front();
            let Some(case) = next else { return Ok(()) };
            let mut arguments = vec!["test", "--exactly", case.name];
            if !self.evidence {
                arguments.push("--no-evidence");
            }
            let known = report.len();
            let passed = self.child(number, &arguments, case.bound + BESIDES, report).await;
            if report.len() == known {
                let why = passed.err().map_or_else(
                    || "it said nothing of it".to_owned(),
                    |error| format!("{error:#}"),
                );
                report.failed(case.name, &why);
            }
        }
    }

    /// Runs this program on one cluster; its lines are shown with the cluster's number, and those on cases noted. Whether it
    /// ended well.
    async fn child(
        &self,
        number: usize,
        arguments: &[&str],
        bound: Duration,
        report: &mut Report,
    ) -> anyhow::Result<bool> {
        let program: PathBuf = env::current_exe().context("find this program")?;
        let mut child = Command::new(program)
            .arg("--name")
            .arg(format!("{}-{number}", self.name))
            .args(&self.options)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start this program")?;
        let output = child.stdout.take().context("its output")?;
        let follow = async {
            let mut lines = BufReader::new(output).lines();
            while let Some(line) = lines.next_line().await.context("read its output")? {
                // Each says how its one case came out, twice.
                if !line.ends_with(" failed") {
                    say(format_args!("[{number}] {line}"));
                }
                report.note(&line);
            }
            child.wait().await.context("wait for it")
        };
        let what = arguments.join(" ");
        let status = timeout(bound, follow)
            .await
            .with_context(|| format!("{what} on cluster {number} is not done after {bound:?}"))??;
        Ok(status.success())
    }
}
