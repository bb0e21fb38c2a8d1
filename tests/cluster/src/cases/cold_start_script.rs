//! `loadtest/cold-start.js`, run with k6 as its users run it, by both ways that lead to the interceptor; its thresholds decide.

use std::{collections::BTreeMap, fs, net::SocketAddr, ops::RangeInclusive, time::Duration};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use serde::Deserialize;
use tokio::{process::Command, time::sleep};

use super::{
    addon::interceptors,
    behind_gateway::{by_gateway, is_routed},
};
use crate::{
    case::{Case, Need},
    cluster::Cluster,
    command, keda,
    trial::Trial,
};

const CHATBOT: [&str; 2] = ["examples/chatbot.yaml", "examples/chatbot-http-scaler.yaml"];
const ROUTE: &str = "examples/chatbot-route.yaml";
const SCRIPT: &str = "loadtest/cold-start.js";
/// Wakes by each way.
const WAKES: u64 = 6;
/// Requests that follow each wake.
const WARM: u64 = 5;
/// Each way has this many hosts, which take turns.
const HOSTS: u64 = 3;
/// Before each wake. By the time that a host's turn comes again, `scaledownPeriod` and two polling intervals are over:
/// 60 s + 2 × 15 s, and some for the pod to end.
const IDLE: Duration = Duration::from_secs(34);
/// All wakes with their pauses, and much more than wakes take.
const SCRIPT_BOUND: Duration = Duration::from_mins(8);
const BOUND: Duration = Duration::from_mins(1);
/// What the user's documents say of a cold start; the threshold of warm requests is the script's own.
const COLD_P95_MS: u32 = 12_500;

pub(super) const COLD_START_SCRIPT_PASSES_BY_BOTH_WAYS: Case = Case {
    name: "cold_start_script_passes_by_both_ways",
    about: "`loadtest/cold-start.js`, run with k6 by both ways at the same time: through Envoy Gateway, by the user's own \
            HTTPRoute, and by a port-forward to the interceptor's Service. By each way three chatbots take turns, so that \
            each is at zero when its turn comes again. One of them is the user's, unmodified; the others are copies under \
            other names. The script's thresholds hold (k6 fails otherwise), and every wake was one.",
    needs: &[Need::Rouse, Need::Gateway],
    smoke: false,
    bound: Duration::from_mins(10),
    run: |trial| cold_start_script_passes_by_both_ways(trial).boxed_local(),
};

async fn cold_start_script_passes_by_both_ways(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let gateway = by_gateway(trial, ROUTE).await?;
    chatbots(trial).await?;
    for number in 1..=2 * HOSTS {
        let name = name(number);
        let scaled_object = ("keda.sh/v1alpha1", "ScaledObject");
        cluster
            .wait_for_condition(scaled_object, ("default", &name), ("Ready", "True"), BOUND)
            .await?;
        if number <= HOSTS {
            is_routed(&cluster, "default", &name).await?;
        }
        cluster.wait_for_replicas("default", &name, 0, BOUND).await?;
        interceptors::wait_until_routed(&cluster, &[format!("default/{name}")]).await?;
    }
    trial
        .kubectl("get httpscaledobjects,deployments,httproutes")
        .await?;

    let forward = cluster
        .port_forward(keda::NAMESPACE, "svc/keda-add-ons-http-interceptor-proxy", 8080)
        .await?;
    let ways = [
        ("through Envoy Gateway", Way::new(gateway, 1..=HOSTS)),
        ("by port-forward", Way::new(forward.addr(), HOSTS + 1..=2 * HOSTS)),
    ];
    trial.step(&format!("k6 wakes {WAKES} times by each of two ways"));
    let [(_, first), (_, second)] = &ways;
    let (first, second) = tokio::try_join!(first.run(&cluster), async {
        sleep(IDLE / 2).await; // so that both ways' wakes take turns
        second.run(&cluster).await
    })?;
    let k6 = cluster.parts().version("k6")?;
    let reports = [first, second];
    let mut lines = vec![
        format!("What k6 {k6} measured, in milliseconds. A request is cold if it found no replica.\n"),
        "| way | requests | count | least | p50 | p95 | p99 | most |".to_owned(),
        "|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for ((way, _), report) in ways.iter().zip(&reports) {
        for (phase, trend) in &report.summary.durations {
            lines.push(format!("| {way} | {phase} | {} |", trend.cells()));
        }
    }
    trial.evidence.note(lines.join("\n"));
    for ((way, _), report) in ways.iter().zip(&reports) {
        trial.evidence.note(format_args!("The run {way}:"));
        trial.evidence.command(&report.command, report.output.trim());
        report.summary.check().with_context(|| format!("the run {way}"))?;
    }
    Ok(())
}

/// A chatbot's name: the first is the user's.
fn name(number: u64) -> String {
    match number {
        1 => "chatbot".to_owned(),
        copy => format!("chatbot-{copy}"),
    }
}

/// Applies the user's chatbot, and copies of it under other names. The user's HTTPRoute is there already.
async fn chatbots(trial: &mut Trial) -> anyhow::Result<()> {
    for file in CHATBOT {
        trial.apply_file(file).await?;
    }
    let mut copies = Vec::new();
    for number in 2..=2 * HOSTS {
        let route = (number <= HOSTS).then_some(ROUTE);
        for file in CHATBOT.into_iter().chain(route) {
            let path = trial.cluster().workspace().join(file);
            let manifests = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            copies.push(manifests.replace("chatbot", &name(number)));
        }
    }
    trial.evidence.note(
        "The copies: the same files, each with the copy's name in place of `chatbot`. Those that are reached by the gateway have a \
         copy of the HTTPRoute too.",
    );
    trial.apply(&copies.join("\n---\n")).await
}

/// An address, and the hosts that are woken by way of it.
struct Way {
    base_url: String,
    hosts: String,
}

/// What k6 was told and what it said.
struct Report {
    command: String,
    output: String,
    summary: Summary,
}

/// What the script's `handleSummary` writes into the file that `SUMMARY` names.
#[derive(Debug, Deserialize)]
struct Summary {
    thresholds_passed: bool,
    errors: u64,
    /// By `cold` and `warm`.
    durations: BTreeMap<String, Trend>,
}

/// Of the durations of a kind of request, in milliseconds.
#[derive(Debug, Deserialize)]
struct Trend {
    count: u64,
    min_ms: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Way {
    /// By this address to the chatbots of these numbers.
    fn new(addr: SocketAddr, numbers: RangeInclusive<u64>) -> Self {
        let hosts: Vec<_> = numbers
            .map(|number| format!("{}.example.com", name(number)))
            .collect();
        Self {
            base_url: format!("http://{addr}"),
            hosts: hosts.join(","),
        }
    }

    async fn run(&self, cluster: &Cluster) -> anyhow::Result<Report> {
        let settings = [
            format!("BASE_URL={}", self.base_url),
            format!("HOST={}", self.hosts),
            format!("ITERATIONS={WAKES}"),
            format!("WARM={WARM}"),
            format!("IDLE={}", IDLE.as_secs()),
            format!("COLD_P95_MS={COLD_P95_MS}"),
        ];
        let told: Vec<_> = settings.iter().flat_map(|setting| ["-e", setting]).collect();
        let summary = tempfile::NamedTempFile::new().context("make a file for the summary")?;
        let mut k6 = Command::new(cluster.parts().program("k6")?);
        k6.current_dir(cluster.workspace())
            // The port of its own API is any: two are run at once.
            .args(["run", "--quiet", "--no-usage-report", "--address=127.0.0.1:0"])
            .args(&told)
            .arg("-e")
            .arg(format!("SUMMARY={}", summary.path().display()))
            .arg(SCRIPT);
        // It fails when a threshold is crossed.
        let output = command::run(&mut k6, SCRIPT_BOUND).await?;
        let summary = fs::read(summary.path()).context("read the summary")?;
        Ok(Report {
            command: format!("k6 run --quiet {} {SCRIPT}", told.join(" ")),
            output,
            summary: serde_json::from_slice(&summary).context("understand the summary")?,
        })
    }
}

impl Summary {
    /// That the thresholds passed says nothing of requests that were to be cold and found a replica. A request just after a
    /// wake may be called cold as well: the other interceptor hears of the replica some milliseconds later, and holds it so long.
    fn check(&self) -> anyhow::Result<()> {
        let count = |phase| self.durations.get(phase).map_or(0, |trend: &Trend| trend.count);
        anyhow::ensure!(
            self.thresholds_passed && self.errors == 0,
            "k6 passes what its summary does not: {self:?}"
        );
        let (cold, warm) = (count("cold"), count("warm"));
        anyhow::ensure!(
            (WAKES..=2 * WAKES).contains(&cold) && cold + warm == WAKES * (1 + WARM),
            "{WAKES} cold and {} warm requests were wanted: {self:?}",
            WAKES * WARM
        );
        Ok(())
    }
}

impl Trend {
    fn cells(&self) -> String {
        let times = [self.min_ms, self.p50_ms, self.p95_ms, self.p99_ms, self.max_ms];
        let times = times.map(|ms| format!("{ms:.1}"));
        format!("{} | {}", self.count, times.join(" | "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(cold: u64, warm: u64, errors: u64) -> Summary {
        let trend = |count| {
            serde_json::json!({
                "count": count, "min_ms": 1.0, "p50_ms": 2.0, "p95_ms": 3.04, "p99_ms": 4.0, "max_ms": 5.0,
            })
        };
        serde_json::from_value(serde_json::json!({
            "thresholds_passed": true,
            "errors": errors,
            "durations": { "cold": trend(cold), "warm": trend(warm) },
        }))
        .unwrap()
    }

    #[test]
    fn a_wake_that_was_none_is_a_failure() {
        summary(WAKES, WAKES * WARM, 0).check().unwrap();
        summary(WAKES - 1, WAKES * WARM + 1, 0).check().unwrap_err();
        summary(WAKES, WAKES * WARM, 1).check().unwrap_err();
    }

    #[test]
    fn a_row_has_the_count_and_the_times() {
        let summary = summary(8, 40, 0);
        let cells: Vec<_> = summary.durations.values().map(Trend::cells).collect();
        assert_eq!(
            cells,
            [
                "8 | 1.0 | 2.0 | 3.0 | 4.0 | 5.0",
                "40 | 1.0 | 2.0 | 3.0 | 4.0 | 5.0"
            ]
        );
    }

    #[test]
    fn a_host_that_had_its_turn_is_at_zero_at_the_next() {
        assert!(IDLE * u32::try_from(HOSTS).unwrap() > Duration::from_secs(60 + 2 * 15));
    }
}
