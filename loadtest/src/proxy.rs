//! `cargo xtask bench proxy`: processor time per proxied keep-alive HTTP/1.1 request, Rouse beside HAProxy.
//!
//! Both forward to the same application in the same run, in turns, each on the same processor alone; the application and the
//! load generator have another, so that how busy they are does not count. What counts is the processor time of the proxy's
//! own process, not the wall clock. Rouse's includes its scaler and its scaling loop, which idle beside the traffic.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::Context as _;
use serde::Serialize;

use crate::{
    Common, affinity,
    client::{self, Connection},
    generator::{self, Load},
    haproxy::{self, HaProxy},
    manifests::Tenant,
    results::Results,
    rouse_process::{RouseProcess, Settings},
    say,
    stats::Spread,
    table::Table,
    wait,
};

const IMAGE: &str = "bench/backend";
const START_BOUND: Duration = Duration::from_secs(30);

/// The flags of `proxy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// Keep-alive connections; each has one request at a time.
    #[arg(long, value_delimiter = ',', default_value = "1,32,256")]
    connections: Vec<usize>,
    /// Rounds of each proxy with each number of connections.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of a round.
    #[arg(long, default_value_t = 3000)]
    round_ms: u64,
    /// The HAProxy program.
    #[arg(long, default_value = "haproxy", value_name = "FILE")]
    haproxy: String,
}

/// A proxy under measurement.
#[derive(Debug, Clone)]
struct Contestant {
    name: &'static str,
    addr: SocketAddr,
    pid: u32,
}

#[derive(Debug, Clone, Serialize)]
struct Round {
    proxy: &'static str,
    connections: usize,
    turn: usize,
    cpu_us_per_request: f64,
    requests_per_second: f64,
    load: Load,
}

/// Measures and reports.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut results = Results::new("proxy")?;
    let cpus = affinity::allowed()?;
    let (proxy_cpu, load_cpu) = match *cpus.as_slice() {
        [] => anyhow::bail!("no processor is allowed"),
        [only] => (only, only),
        [first, second, ..] => (first, second),
    };
    let directory = tempfile::tempdir().context("make a directory")?;
    let announcement = directory.path().join("backend");
    let tenant = Tenant {
        image: IMAGE.to_owned(),
        min: 1,
        ..Tenant::new("bench")
    };
    let program = std::env::current_exe().context("find this program")?;
    let serve = format!(
        "{} serve --addr 127.0.0.1:{{port}} --announce {} --cpu {load_cpu}",
        program.display(),
        announcement.display()
    );
    let settings = Settings {
        run: vec![(IMAGE.to_owned(), serve)],
        ..Settings::default()
    };
    // A process keeps the processors of the thread that starts it, and this future is not moved between threads.
    affinity::pin(&[proxy_cpu])?;
    let rouse = RouseProcess::start(&args.common.rouse, std::slice::from_ref(&tenant), &settings).await;
    affinity::pin(&cpus)?;
    let rouse = rouse?;
    let backend = wait_for_backend(&announcement, rouse.proxy, &tenant).await;
    let backend =
        backend.with_context(|| format!("start the backend; rouse local said:\n{}", rouse.log()))?;

    let mut contestants = vec![Contestant {
        name: "rouse",
        addr: rouse.proxy,
        pid: rouse.pid(),
    }];
    let haproxy = if let Some(version) = haproxy::version(&args.haproxy) {
        results.text(format_args!("Beside {version}.\n"))?;
        let haproxy = affinity::pinned(&[proxy_cpu], || HaProxy::spawn(&args.haproxy, backend))?;
        haproxy.wait_until_ready().await?;
        contestants.push(Contestant {
            name: "haproxy",
            addr: haproxy.addr,
            pid: haproxy.pid(),
        });
        Some(haproxy)
    } else {
        results.text("Rouse alone: HAProxy is not installed (Debian: `apt install haproxy`).\n")?;
        None
    };

    let mut rounds = Vec::new();
    for connections in &args.connections {
        for turn in 0..args.rounds {
            // The one that goes first changes, so that neither always follows the other.
            contestants.rotate_left(1);
            for contestant in &contestants {
                let load = generator::Args {
                    addr: contestant.addr,
                    host: tenant.host(),
                    path: "/".to_owned(),
                    connections: *connections,
                    warmup_ms: 500,
                    duration_ms: args.round_ms,
                    cpu: Some(load_cpu),
                };
                let (load, cpu) = generator::run_beside(&load, contestant.pid).await?;
                anyhow::ensure!(load.requests > 0, "{} answered nothing", contestant.name);
                rounds.push(Round {
                    proxy: contestant.name,
                    connections: *connections,
                    turn,
                    cpu_us_per_request: cpu.as_secs_f64() * 1e6 / load.requests as f64,
                    requests_per_second: load.requests as f64 * 1e3 / load.elapsed_ms,
                    load,
                });
            }
        }
        say(format_args!(
            "{connections} connections: {} rounds each",
            args.rounds
        ))?;
    }
    drop(haproxy);
    rouse.stop().await?;
    report(&mut results, &rounds, &args.connections)?;
    results.write(&args.common.results)
}

/// Waits until the replica has announced its address and the proxy reaches it.
async fn wait_for_backend(
    announcement: &Path,
    proxy: SocketAddr,
    tenant: &Tenant,
) -> anyhow::Result<SocketAddr> {
    let request = client::get(&tenant.host(), "/");
    wait::until(
        "the backend answers",
        START_BOUND,
        Duration::from_millis(50),
        async || {
            let backend: SocketAddr = fs::read_to_string(announcement).ok()?.parse().ok()?;
            let mut connection = Connection::open(proxy).await.ok()?;
            let status = connection.exchange_unread(&request).await.ok()?;
            (status == 200).then_some(backend)
        },
    )
    .await
}

fn report(results: &mut Results, rounds: &[Round], connections: &[usize]) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        "proxy, connections",
        "CPU µs/request: min",
        "median",
        "max",
        "requests/s: median",
        "p50 ms",
        "p99 ms",
        "errors",
    ]);
    let mut ratios = Table::new(&[
        "rouse ÷ haproxy, CPU per request",
        "min",
        "median",
        "max",
        "requests/s: median",
    ]);
    for connections in connections {
        let of = |proxy: &'static str| {
            rounds
                .iter()
                .filter(move |round| round.proxy == proxy && round.connections == *connections)
        };
        for proxy in ["rouse", "haproxy"] {
            let Some(cpu) = Spread::of(of(proxy).map(|round| round.cpu_us_per_request)) else {
                continue;
            };
            let median = |value: fn(&Round) -> f64| {
                Spread::of(of(proxy).map(value)).map_or(0.0, |spread| spread.median)
            };
            let latency = |value: fn(&Load) -> f64| Spread::of(of(proxy).map(|round| value(&round.load)));
            let p50 = latency(|load| load.latency.map_or(0.0, |latency| latency.p50_ms));
            let p99 = latency(|load| load.latency.map_or(0.0, |latency| latency.p99_ms));
            table.row([
                format!("{proxy}, {connections}"),
                format!("{:.2}", cpu.min),
                format!("{:.2}", cpu.median),
                format!("{:.2}", cpu.max),
                format!("{:.0}", median(|round| round.requests_per_second)),
                format!("{:.3}", p50.map_or(0.0, |spread| spread.median)),
                format!("{:.3}", p99.map_or(0.0, |spread| spread.median)),
                of(proxy)
                    .map(|round| round.load.errors)
                    .sum::<usize>()
                    .to_string(),
            ]);
        }
        // Round by round, because the two of a round ran next to each other.
        let ratio = |value: fn(&Round) -> f64| {
            Spread::of(
                of("rouse")
                    .zip(of("haproxy"))
                    .map(|(rouse, haproxy)| value(rouse) / value(haproxy)),
            )
        };
        if let (Some(cpu), Some(rate)) = (
            ratio(|round| round.cpu_us_per_request),
            ratio(|round| round.requests_per_second),
        ) {
            ratios.row([
                format!("{connections} connections"),
                format!("{:.2}", cpu.min),
                format!("{:.2}", cpu.median),
                format!("{:.2}", cpu.max),
                format!("{:.2}", rate.median),
            ]);
            results.value(&format!("ratio_{connections}"), &cpu)?;
        }
    }
    results.text(&table)?;
    results.text(&ratios)?;
    results.value("rounds", &rounds)
}
