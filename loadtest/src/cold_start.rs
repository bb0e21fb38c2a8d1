//! `cargo xtask bench cold-start`: wakes tenants of `rouse local` one after another and takes each cold start apart.
//!
//! All moments are on the machine's monotonic clock: this process knows when a request was written and when the scaler's
//! message and the answer arrived; the demo app knows when it started, listened and read its first byte.

use std::time::Duration;

use anyhow::Context as _;
use rouse_demo_app::{TimingReport, monotonic_ns};
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    Common,
    activation::{Activations, Scaler},
    client::{self, Connection},
    k6,
    manifests::Tenant,
    procfs,
    results::Results,
    rouse_process::{RouseProcess, Settings},
    say,
    stats::Durations,
    table::Table,
    wait,
};

/// Longest cold start, and longest way back to zero.
const BOUND: Duration = Duration::from_mins(1);
const SIGNAL_BOUND: Duration = Duration::from_secs(10);

/// The flags of `cold-start`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// Cold starts in all.
    #[arg(long, default_value_t = 200)]
    count: usize,
    /// Tenants that take turns; every second one has a readiness probe.
    #[arg(long, default_value_t = 20)]
    tenants: usize,
    /// Leave the k6 scripts out.
    #[arg(long)]
    no_k6: bool,
    /// The k6 program.
    #[arg(long, env = "K6_BIN", default_value = "k6", value_name = "FILE")]
    k6: String,
}

/// The moments of one cold start, in nanoseconds of the monotonic clock.
#[derive(Debug, Clone, Serialize)]
struct ColdStart {
    is_probed: bool,
    /// Just before the first byte of the request was written.
    requested: u64,
    /// `StreamIsActive: true` was received and decoded here.
    signalled: u64,
    started: u64,
    listened: u64,
    first_byte: u64,
    /// The whole answer was read.
    answered: u64,
}

impl ColdStart {
    fn between(from: u64, to: u64) -> Duration {
        Duration::from_nanos(to.saturating_sub(from))
    }
}

/// A tenant under measurement.
struct Lane {
    tenant: Tenant,
    activations: Activations,
    /// The replica of its last cold start.
    replica: Option<u32>,
}

/// Measures and reports.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut results = Results::new("cold-start")?;
    let tenants: Vec<_> = (0..args.tenants)
        .map(|index| Tenant {
            is_probed: index % 2 == 1,
            ..Tenant::new(format!("tenant-{index}"))
        })
        .collect();
    let rouse = RouseProcess::start(&args.common.rouse, &tenants, &Settings::default()).await?;
    let measured = measure(&args, &rouse, tenants.clone()).await;
    let starts = measured
        .with_context(|| format!("measure; the end of rouse local's log:\n{}", tail(&rouse.log())))?;
    report(&mut results, &starts)?;
    if !args.no_k6 {
        let hosts: Vec<_> = tenants.iter().map(Tenant::host).collect();
        k6::run_all(&args.k6, rouse.proxy, &hosts, &mut results).await?;
    }
    rouse.stop().await?;
    results.write(&args.common.results)
}

async fn measure(args: &Args, rouse: &RouseProcess, tenants: Vec<Tenant>) -> anyhow::Result<Vec<ColdStart>> {
    let mut scaler = Scaler::connect(rouse.scaler).await?;
    let mut lanes: Vec<_> = tenants
        .into_iter()
        .map(|tenant| {
            let activations = scaler.subscribe("default", &tenant.name);
            Lane {
                tenant,
                activations,
                replica: None,
            }
        })
        .collect();
    let mut connection = Connection::open(rouse.proxy)
        .await
        .context("connect to the proxy")?;
    let mut starts = Vec::with_capacity(args.count);
    while starts.len() < args.count {
        for lane in &mut lanes {
            if starts.len() == args.count {
                break;
            }
            let what = format!("cold start {} of {}", starts.len() + 1, lane.tenant.name);
            wait_for_zero(lane, &mut scaler)
                .await
                .with_context(|| what.clone())?;
            let start = timeout(BOUND, cold_start(lane, &mut connection)).await;
            starts.push(start.with_context(|| what.clone())?.context(what)?);
        }
        say(format_args!("{} of {} cold starts", starts.len(), args.count))?;
    }
    Ok(starts)
}

/// Waits until the tenant's process is gone and its scaler calls it inactive.
async fn wait_for_zero(lane: &Lane, scaler: &mut Scaler) -> anyhow::Result<()> {
    wait::until("back at zero", BOUND, Duration::from_millis(20), async || {
        let is_gone = !lane.replica.is_some_and(procfs::exists);
        let is_active = scaler.is_active("default", &lane.tenant.name).await;
        (is_gone && is_active.is_ok_and(|is_active| !is_active)).then_some(())
    })
    .await
}

async fn cold_start(lane: &mut Lane, connection: &mut Connection) -> anyhow::Result<ColdStart> {
    let host = lane.tenant.host();
    let request = client::get(&host, "/");
    let requested = monotonic_ns();
    let answer = async {
        let answer = connection.exchange(&request).await.context("exchange")?;
        let answered = monotonic_ns();
        let is_cold = answer.header("x-keda-http-cold-start");
        anyhow::ensure!(
            answer.status == 200 && is_cold == Some("true"),
            "expected 200 after a cold start, got {} (cold: {is_cold:?})",
            answer.status
        );
        Ok(answered)
    };
    let (signalled, answered) = tokio::join!(lane.activations.first_since(requested, SIGNAL_BOUND), answer);
    let (answered, signalled) = (answered?, signalled?);

    let timing = connection
        .exchange(&client::get(&host, "/timing"))
        .await
        .context("ask for the timing")?;
    let timing: TimingReport = serde_json::from_slice(&timing.body).context("read the timing")?;
    lane.replica = Some(timing.pid);
    Ok(ColdStart {
        is_probed: lane.tenant.is_probed,
        requested,
        signalled,
        started: timing.started_ns,
        listened: timing
            .listened_ns
            .context("the application did not note when it listened")?,
        first_byte: timing
            .first_byte_ns
            .context("the application did not note its first request")?,
        answered,
    })
}

fn report(results: &mut Results, starts: &[ColdStart]) -> anyhow::Result<()> {
    let mut table = Table::new(&["cold start, ms", "count", "min", "p50", "p95", "p99", "max"]);
    let mut add = |name: &str, durations: &mut dyn Iterator<Item = Duration>| {
        if let Some(durations) = Durations::of(durations) {
            table.row([name.to_owned()].into_iter().chain(durations.cells()));
        }
    };
    let between = ColdStart::between;
    add(
        "P3: request → StreamIsActive",
        &mut starts
            .iter()
            .map(|start| between(start.requested, start.signalled)),
    );
    add(
        "request → process runs",
        &mut starts.iter().map(|start| between(start.requested, start.started)),
    );
    add(
        "process runs → listening",
        &mut starts.iter().map(|start| between(start.started, start.listened)),
    );
    for (name, is_probed) in [
        ("P4: listening → first byte, no probe", false),
        ("P4: listening → first byte, probe", true),
    ] {
        let of_kind = starts.iter().filter(|start| start.is_probed == is_probed);
        add(
            name,
            &mut of_kind.map(|start| between(start.listened, start.first_byte)),
        );
    }
    add(
        "P4: listening → first byte, all",
        &mut starts
            .iter()
            .map(|start| between(start.listened, start.first_byte)),
    );
    add(
        "first byte → answer",
        &mut starts
            .iter()
            .map(|start| between(start.first_byte, start.answered)),
    );
    add(
        "in all: request → answer",
        &mut starts
            .iter()
            .map(|start| between(start.requested, start.answered)),
    );

    results.text(&table)?;
    results.text(
        "P3 is an upper bound: from before the request is written to after the message is decoded in this client, on the \
         processors that Rouse uses too. P4 is measured inside the application, from the return of `listen()` to the \
         return of its first read; without a probe the replica is Ready before it listens.\n",
    )?;
    results.value("cold_starts", &starts)
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines
        .get(lines.len().saturating_sub(40)..)
        .unwrap_or_default()
        .join("\n")
}
