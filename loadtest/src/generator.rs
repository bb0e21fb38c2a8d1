//! Makes load: a fixed number of keep-alive connections, each sending its next request when it has its answer.
//!
//! Prints `begin` when the warm-up is over and a line of JSON ([`Load`]) at the end, so that the benchmark can read the proxy's
//! processor time at the same two moments.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    client::{self, Connection},
    procfs, say,
    stats::Durations,
};

/// How long the generator may take beyond the time it was asked for.
const GRACE: Duration = Duration::from_secs(20);

/// The flags of the hidden command `generate`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    pub(crate) addr: SocketAddr,
    #[arg(long)]
    pub(crate) host: String,
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    #[arg(long)]
    pub(crate) connections: usize,
    #[arg(long)]
    pub(crate) warmup_ms: u64,
    #[arg(long)]
    pub(crate) duration_ms: u64,
    #[arg(long)]
    pub(crate) cpu: Option<usize>,
}

/// What happened between `begin` and the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) requests: usize,
    pub(crate) errors: usize,
    pub(crate) elapsed_ms: f64,
    pub(crate) latency: Option<Durations>,
}

/// One connection's part of a [`Load`].
#[derive(Debug, Default)]
struct Part {
    latencies: Vec<Duration>,
    errors: usize,
}

/// Makes load as asked and prints the two lines.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let begin = Instant::now() + Duration::from_millis(args.warmup_ms);
    let end = begin + Duration::from_millis(args.duration_ms);
    let mut connections = JoinSet::new();
    for _ in 0..args.connections {
        connections.spawn(drive(args.addr, client::get(&args.host, &args.path), begin, end));
    }
    tokio::time::sleep_until(begin).await;
    say("begin")?;
    let mut load = Part::default();
    while let Some(part) = connections.join_next().await {
        let part = part.context("join a connection")?;
        load.latencies.extend(part.latencies);
        load.errors += part.errors;
    }
    let load = Load {
        requests: load.latencies.len(),
        errors: load.errors,
        elapsed_ms: begin.elapsed().as_secs_f64() * 1e3,
        latency: Durations::of(load.latencies),
    };
    say(serde_json::to_string(&load).context("write the result as JSON")?)
}

async fn drive(addr: SocketAddr, request: Vec<u8>, begin: Instant, end: Instant) -> Part {
    let mut part = Part::default();
    while Instant::now() < end {
        // A connection that fails is replaced; its error is counted below.
        if let Ok(mut connection) = Connection::open(addr).await {
            loop {
                let started = Instant::now();
                if started >= end {
                    return part;
                }
                let status = timeout(GRACE / 2, connection.exchange_unread(&request)).await;
                let now = Instant::now();
                if now < begin {
                    continue;
                }
                match status {
                    Ok(Ok(200)) => part.latencies.push(now - started),
                    Ok(Ok(_)) => part.errors += 1,
                    Ok(Err(_)) | Err(_) => break,
                }
            }
        }
        part.errors += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    part
}

/// Runs the generator as a process of its own; gives its load, and the processor time that process `pid` used meanwhile.
pub(crate) async fn run_beside(args: &Args, pid: u32) -> anyhow::Result<(Load, Duration)> {
    let program = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(program);
    command.args([
        "generate",
        "--addr",
        &args.addr.to_string(),
        "--host",
        &args.host,
        "--path",
        &args.path,
    ]);
    command.args(["--connections", &args.connections.to_string()]);
    command.args([
        "--warmup-ms",
        &args.warmup_ms.to_string(),
        "--duration-ms",
        &args.duration_ms.to_string(),
    ]);
    if let Some(cpu) = args.cpu {
        command.args(["--cpu", &cpu.to_string()]);
    }
    let mut child = command
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("start the load generator")?;
    let output = child.stdout.take().context("read the load generator's output")?;
    let mut lines = BufReader::new(output).lines();
    let bound = Duration::from_millis(args.warmup_ms + args.duration_ms) + GRACE;
    let measured = timeout(bound, async {
        let begin = lines
            .next_line()
            .await
            .context("read the load generator's output")?;
        anyhow::ensure!(
            begin.as_deref() == Some("begin"),
            "the load generator did not begin"
        );
        let before = procfs::cpu_time(pid)?;
        let load = lines
            .next_line()
            .await
            .context("read the load generator's output")?;
        let used = procfs::cpu_time(pid)?.saturating_sub(before);
        let load = load.context("the load generator did not end well")?;
        let load: Load = serde_json::from_str(&load).context("read the load generator's result")?;
        Ok((load, used))
    });
    let measured = measured.await.context("the load generator hangs")??;
    child.wait().await.context("wait for the load generator")?;
    Ok(measured)
}
