//! `cargo xtask bench hold`: resident memory per held request, and whether it is given back.
//!
//! The target's replica runs but is never ready, so that every request is held. Its clients are connections of this process,
//! which costs Rouse's process nothing.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use crate::{
    Common,
    client::Connection,
    manifests::Tenant,
    procfs,
    results::Results,
    rouse_process::{RouseProcess, Settings},
    table::Table,
    wait,
};

const IMAGE: &str = "bench/never-ready";
const BOUND: Duration = Duration::from_mins(2);
/// Descriptors that are not held connections, on either side.
const OTHER_DESCRIPTORS: u64 = 500;
/// Connections opened at the same time.
const OPENING: usize = 64;
/// Moments after the clients have left at which the memory is read.
const AFTER: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(10)];

/// The flags of `hold`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// Requests to hold; fewer where the limit of open files does not allow it.
    #[arg(long, default_value_t = 10_000)]
    count: usize,
    /// Sizes of the requests' heads in bytes.
    #[arg(long, value_delimiter = ',', default_value = "200,1300")]
    heads: Vec<usize>,
}

/// What one size of head came to, memory in bytes.
#[derive(Debug, Clone, Serialize)]
struct Held {
    head_bytes: usize,
    count: usize,
    idle_rss: u64,
    full_rss: u64,
    per_request_bytes: u64,
    /// From the clients' leaving to a count of 0 in `/queue`.
    let_go_ms: f64,
    /// After 2 s and after 10 s.
    after_rss: Vec<u64>,
}

/// One route of `/queue`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct QueueEntry {
    concurrency: usize,
}

/// Measures and reports.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut results = Results::new("hold")?;
    let limit = raise_descriptor_limit()?;
    let possible = limit.saturating_sub(OTHER_DESCRIPTORS) as usize;
    let count = args.count.min(possible);
    if count < args.count {
        results.text(format_args!(
            "Only {count} requests are held: the hard limit of open files is {limit} (`ulimit -Hn`).\n"
        ))?;
    }
    let mut measured = Vec::new();
    for head_bytes in &args.heads {
        measured.push(measure(&args, *head_bytes, count).await?);
    }
    report(&mut results, &measured)?;
    results.write(&args.common.results)
}

async fn measure(args: &Args, head_bytes: usize, count: usize) -> anyhow::Result<Held> {
    let tenant = Tenant {
        image: IMAGE.to_owned(),
        is_probed: true,
        ..Tenant::new("held")
    };
    let never_ready = format!(
        "{} demo-app --host {{host}} --port {{port}} --never-ready",
        args.common.rouse.display()
    );
    let settings = Settings {
        env: vec![
            ("KEDA_HTTP_COLD_START_MAX_PENDING_REQUESTS", count.to_string()),
            ("ROUSE_MAX_PENDING_REQUESTS", count.to_string()),
            ("KEDA_HTTP_READINESS_TIMEOUT", "600s".to_owned()),
        ],
        run: vec![(IMAGE.to_owned(), never_ready)],
    };
    let rouse = RouseProcess::start(&args.common.rouse, std::slice::from_ref(&tenant), &settings).await?;
    let held = hold(&rouse, &tenant, head_bytes, count).await;
    let held = held.with_context(|| format!("hold requests; rouse local said:\n{}", rouse.log()))?;
    rouse.stop().await?;
    Ok(held)
}

async fn hold(
    rouse: &RouseProcess,
    tenant: &Tenant,
    head_bytes: usize,
    count: usize,
) -> anyhow::Result<Held> {
    let request = request(&tenant.host(), head_bytes)?;
    let resident = || procfs::resident_bytes(rouse.pid());
    // One held request first: the replica is started and everything that a first request sets up is there.
    let first = open(rouse, &request).await?;
    wait_for_concurrency(rouse, tenant, 1).await?;
    let idle_rss = resident()?;

    let clients: Vec<_> = stream::iter(1..count)
        .map(|_| open(rouse, &request))
        .buffer_unordered(OPENING)
        .try_collect()
        .await?;
    wait_for_concurrency(rouse, tenant, count).await?;
    let full_rss = resident()?;

    let left = Instant::now();
    drop((first, clients));
    wait_for_concurrency(rouse, tenant, 0).await?;
    let let_go_ms = left.elapsed().as_secs_f64() * 1e3;
    let mut after_rss = Vec::new();
    for after in AFTER {
        sleep_until(left + after).await;
        after_rss.push(resident()?);
    }
    let per_request_bytes = full_rss.saturating_sub(idle_rss) / (count as u64 - 1).max(1);
    Ok(Held {
        head_bytes,
        count,
        idle_rss,
        full_rss,
        per_request_bytes,
        let_go_ms,
        after_rss,
    })
}

async fn open(rouse: &RouseProcess, request: &[u8]) -> anyhow::Result<Connection> {
    let mut connection = Connection::open(rouse.proxy)
        .await
        .context("connect to the proxy")?;
    connection.send(request).await.context("send a request")?;
    Ok(connection)
}

/// Waits until `/queue` counts `expected` requests.
async fn wait_for_concurrency(rouse: &RouseProcess, tenant: &Tenant, expected: usize) -> anyhow::Result<()> {
    let key = format!("default/{}", tenant.name);
    let mut latest = None;
    let waited = wait::until(
        "the count in /queue",
        BOUND,
        Duration::from_millis(10),
        async || {
            let queue = rouse.admin("/queue").await.ok()?;
            let queue: BTreeMap<String, QueueEntry> = serde_json::from_slice(&queue).ok()?;
            latest = Some(queue.get(&key)?.concurrency);
            (latest == Some(expected)).then_some(())
        },
    );
    let waited = waited.await;
    waited.with_context(|| format!("expected {expected}, got {latest:?}"))
}

/// A GET whose head, blank line included, is `bytes` long.
fn request(host: &str, bytes: usize) -> anyhow::Result<Vec<u8>> {
    let mut head = format!("GET / HTTP/1.1\r\nhost: {host}\r\n");
    // Headers of the size that a gateway and a browser send, not one large one; the last fits exactly.
    let mut number = 0;
    loop {
        let left = bytes
            .checked_sub(head.len() + 2)
            .context("a request's head cannot be so short")?;
        if left == 0 {
            break;
        }
        let line = if left > 120 { 100 } else { left };
        let name = format!("x-filler-{number}: ");
        let value = line
            .checked_sub(name.len() + 2)
            .context("a request's head cannot have that length")?;
        write!(head, "{name}{:.<value$}\r\n", "").context("write a head")?;
        number += 1;
    }
    head.push_str("\r\n");
    Ok(head.into_bytes())
}

/// Raises the soft limit of open files to the hard one, which Rouse's process takes over; gives the limit.
fn raise_descriptor_limit() -> anyhow::Result<u64> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
    raised.context("raise the limit of open files")?;
    Ok(maximum.unwrap_or(u64::MAX))
}

fn report(results: &mut Results, measured: &[Held]) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        "head, bytes",
        "held",
        "KiB per held request",
        "RSS idle, MiB",
        "held",
        "2 s after",
        "10 s after",
        "given back, %",
        "let go, ms",
    ]);
    for held in measured {
        let mib = |bytes: u64| format!("{:.1}", bytes as f64 / 1024.0 / 1024.0);
        let grown = held.full_rss.saturating_sub(held.idle_rss).max(1) as f64;
        let last = held.after_rss.last().copied().unwrap_or(held.full_rss);
        let given_back = held.full_rss.saturating_sub(last) as f64 / grown;
        let after = held.after_rss.iter().map(|bytes| mib(*bytes));
        let mut row = vec![
            held.head_bytes.to_string(),
            held.count.to_string(),
            format!("{:.2}", held.per_request_bytes as f64 / 1024.0),
            mib(held.idle_rss),
            mib(held.full_rss),
        ];
        row.extend(after);
        row.push(format!("{:.0}", given_back * 100.0));
        row.push(format!("{:.0}", held.let_go_ms));
        table.row(row);
    }
    results.text(&table)?;
    results.text("RSS is that of the whole `rouse local` process; idle is with one request held.\n")?;
    results.value("held", &measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_as_long_as_asked() {
        for bytes in [200, 201, 333, 1300, 1301] {
            let head = request("held.example.com", bytes).expect("a head");
            assert_eq!(head.len(), bytes, "{}", String::from_utf8_lossy(&head));
        }
    }
}
