//! What a look-up and a change cost among 10,000 routes: `cargo bench -p rouse-routing`.
#![allow(missing_docs, reason = "made by criterion's macros")]

use std::{hint::black_box, sync::Arc};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use rouse_routing::{HeaderMatch, HostOwnership, RouteId, RouteIndex, RouteKind, RouteSpec, Rule};

const ROUTES: u64 = 10_000;

/// Every tenth host is a wildcard; route 0 is the catch-all below `/all`; one host has three prefixes and a header.
fn spec(number: u64, value: u64) -> RouteSpec<Arc<u64>> {
    let name = format!("app-{number}.tenant-{}.example.com", number % 100);
    let rule = match number {
        0 => Rule {
            paths: vec!["/all".into()],
            ..Rule::default()
        },
        1 => Rule {
            hosts: vec![name],
            paths: vec!["/".into(), "/api".into(), "/api/v1".into()],
            headers: vec![HeaderMatch {
                name: HeaderName::from_static("x-version"),
                value: Some("2".into()),
            }],
        },
        _ if number.is_multiple_of(10) => Rule {
            hosts: vec![format!("*.{name}")],
            ..Rule::default()
        },
        _ => Rule {
            hosts: vec![name],
            ..Rule::default()
        },
    };
    RouteSpec {
        id: RouteId::new(RouteKind::InterceptorRoute, "shop", number.to_string()),
        created: Timestamp::UNIX_EPOCH,
        rules: vec![rule],
        value: Arc::new(value),
    }
}

fn index(routes: u64) -> RouteIndex<Arc<u64>> {
    let mut index = RouteIndex::new(HostOwnership::FirstNamespace);
    for number in 0..routes {
        index.apply(spec(number, number));
    }
    index
}

fn lookups(criterion: &mut Criterion) {
    let table = index(ROUTES).table();
    let mut group = criterion.benchmark_group("lookup");
    let headers = HeaderMap::from_iter([
        (
            HeaderName::from_static("x-version"),
            HeaderValue::from_static("2"),
        ),
        (HeaderName::from_static("accept"), HeaderValue::from_static("*/*")),
    ]);
    let slashes = "/api".repeat(15_000);
    for (name, host, path) in [
        ("exact", "app-4321.tenant-21.example.com:8080", "/api/v1/users/7"),
        (
            "exact_upper_case",
            "App-4321.Tenant-21.Example.com",
            "/api/v1/users/7",
        ),
        (
            "exact_prefix_header",
            "app-1.tenant-1.example.com",
            "/api/v1/users/7",
        ),
        (
            "exact_escapes",
            "app-1.tenant-1.example.com",
            "/api/v1/caf%C3%A9/7",
        ),
        ("exact_60k_slashes", "app-1.tenant-1.example.com", &slashes),
        (
            "wildcard",
            "www.app-4320.tenant-20.example.com",
            "/api/v1/users/7",
        ),
        ("catch_all", "other.test", "/all/users/7"),
        ("miss", "other.test", "/api/v1/users/7"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                table
                    .lookup(black_box(host), black_box(path), &headers)
                    .map(Arc::as_ptr)
            });
        });
    }
    // Each look-up meets a table that other work has pushed out of the cache.
    let hosts: Vec<_> = (0..ROUTES)
        .map(|number| format!("app-{number}.tenant-{}.example.com", number % 100))
        .collect();
    let mut next = 0;
    group.bench_function("exact_each_host_in_turn", |bencher| {
        bencher.iter(|| {
            next = (next + 7_919) % hosts.len();
            table
                .lookup(&hosts[next], "/api/v1/users/7", &headers)
                .map(Arc::as_ptr)
        });
    });
    group.finish();
}

fn changes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("change");
    for routes in [ROUTES, 10 * ROUTES] {
        let mut index = index(routes);
        index.table();
        let mut value = routes;
        group.bench_function(format!("one_of_{routes}"), |bencher| {
            bencher.iter(|| {
                value += 1;
                index.apply(spec(4_321, value));
                index.table()
            });
        });
    }
    group.sample_size(10);
    group.bench_function(format!("build_{ROUTES}"), |bencher| {
        bencher.iter(|| index(ROUTES).table());
    });
    group.finish();
}

criterion_group!(benches, lookups, changes);
criterion_main!(benches);
