//! What ten thousand routes cost in resident memory. Its own binary, because it measures the process.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::{fs, sync::Arc};

use http::HeaderMap;
use jiff::Timestamp;
use rouse_routing::{HostOwnership, RouteId, RouteIndex, RouteKind, RouteSpec, Rule};

const ROUTES: usize = 10_000;

/// A route's index entry, its part of two tables (an old one is still read while the next is built) and allocator
/// overhead. P6 allows 64 MiB for 10,000 routes with all that the process keeps of them, so the table has to be small.
const BYTES_PER_ROUTE: usize = 2 * 1024;

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kibibytes: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kibibytes * 1024
}

fn spec(number: usize, value: &str) -> RouteSpec<Arc<str>> {
    RouteSpec {
        id: RouteId::new(
            RouteKind::HttpScaledObject,
            format!("tenant-{}", number / 10),
            format!("application-{number}"),
        ),
        created: Timestamp::UNIX_EPOCH,
        rules: vec![Rule {
            hosts: vec![format!("application-{number}.tenant-{}.example.com", number / 10)],
            paths: vec!["/".into(), "/api".into()],
            headers: Vec::new(),
        }],
        value: value.into(),
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figure, for `-- --nocapture`")]
fn ten_thousand_routes_stay_small_also_while_every_one_changes() {
    let before = resident_bytes();
    let mut index = RouteIndex::new(HostOwnership::FirstNamespace);
    for number in 0..ROUTES {
        index.apply(spec(number, "first"));
    }
    let first = index.table();
    for number in 0..ROUTES {
        index.apply(spec(number, "second"));
    }
    let second = index.table();

    let per_route = resident_bytes().saturating_sub(before) / ROUTES;
    assert!(per_route < BYTES_PER_ROUTE, "{per_route} bytes per route");
    println!("{per_route} bytes per route");
    let lookup = |table: &rouse_routing::RouteTable<Arc<str>>| {
        let host = "application-4321.tenant-432.example.com";
        table
            .lookup(host, "/api/x", &HeaderMap::new())
            .map(ToString::to_string)
    };
    assert_eq!(lookup(&first).as_deref(), Some("first"));
    assert_eq!(lookup(&second).as_deref(), Some("second"));
}
