//! What a change costs, seen from inside: which parts of the table are shared with the one before.

use std::sync::Arc;

use http::HeaderMap;
use jiff::Timestamp;

use super::{HostOwnership, RouteIndex};
use crate::{
    RouteId, RouteKind, RouteSpec, RouteTable, Rule,
    table::{SHARDS, shard_of},
};

const ROUTES: u32 = 10_000;

fn spec(number: u32, hosts: &[String], value: u32) -> RouteSpec<u32> {
    RouteSpec {
        id: RouteId::new(RouteKind::HttpScaledObject, "shop", number.to_string()),
        created: Timestamp::UNIX_EPOCH,
        rules: vec![Rule {
            hosts: hosts.to_vec(),
            ..Rule::default()
        }],
        value,
    }
}

fn host(number: u32) -> String {
    format!("{number}.example.com")
}

fn full_index() -> RouteIndex<u32> {
    let mut index = RouteIndex::new(HostOwnership::default());
    for number in 0..ROUTES {
        assert!(index.apply(spec(number, &[host(number)], number)));
    }
    index
}

/// The shards in which two tables differ.
fn changed_shards(before: &RouteTable<u32>, after: &RouteTable<u32>) -> Vec<usize> {
    (0..SHARDS)
        .filter(|shard| !Arc::ptr_eq(&before.shards[*shard], &after.shards[*shard]))
        .collect()
}

fn shard(table: &RouteTable<u32>, name: &str) -> usize {
    shard_of(table.hash(name.as_bytes()))
}

#[test]
fn one_change_among_ten_thousand_routes_rebuilds_one_shard_and_one_host() {
    let mut index = full_index();
    let before = index.table();
    assert!(index.apply(spec(7, &[host(7)], 70_000)));
    let after = index.table();

    let changed = shard(&after, &host(7));
    assert_eq!(changed_shards(&before, &after), [changed]);
    let kept = |table: &RouteTable<u32>| {
        let others = table.shards[changed]
            .iter()
            .filter(|slot| slot.host.pattern.to_string() != host(7));
        others.map(|slot| Arc::as_ptr(&slot.host)).collect::<Vec<_>>()
    };
    assert!(!kept(&before).is_empty());
    assert_eq!(kept(&before), kept(&after));

    let lookup = |table: &RouteTable<u32>| table.lookup(&host(7), "/", &HeaderMap::new()).copied();
    assert_eq!((lookup(&before), lookup(&after)), (Some(7), Some(70_000)));
}

#[test]
fn a_removed_route_and_a_new_wildcard_rebuild_their_shards_only() {
    let mut index = full_index();
    let before = index.table();
    assert!(index.remove(&spec(7, &[], 0).id));
    assert!(index.apply(spec(8, &[host(8), "*.test".into()], 8)));
    let after = index.table();

    let mut expected = [
        shard(&after, &host(7)),
        shard(&after, &host(8)),
        shard(&after, "test"),
    ]
    .to_vec();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(changed_shards(&before, &after), expected);
}

#[test]
fn a_catch_all_touches_no_shard() {
    let mut index = full_index();
    let before = index.table();
    assert!(index.apply(spec(ROUTES, &["*".into()], 1)));
    let after = index.table();
    assert!(changed_shards(&before, &after).is_empty());
    assert_eq!(after.lookup("other.test", "/", &HeaderMap::new()), Some(&1));
}

#[test]
fn tables_are_shared_between_threads() {
    fn is_shared<T: Send + Sync>(_: &T) {}
    let mut index = RouteIndex::<Arc<str>>::new(HostOwnership::default());
    is_shared(&index.table());
    is_shared(&index);
}

#[test]
fn an_emptied_index_keeps_nothing() {
    let mut index = full_index();
    assert!(index.apply(spec(0, &["*.test".into(), "*".into(), "https://x".into()], 0)));
    index.table();
    for number in 0..ROUTES {
        assert!(index.remove(&spec(number, &[], 0).id));
    }
    let table = index.table();
    assert!(index.routes.is_empty() && index.claimants.is_empty() && index.dirty.is_empty());
    assert!(index.conflicts.is_empty() && index.rejections.is_empty());
    assert!(index.wildcards.iter().all(|count| *count == 0));
    assert_eq!(table.wildcard_depths, crate::table::WildcardDepths::default());
    assert!(table.catch_all.is_none() && table.shards.iter().all(|shard| shard.is_empty()));
}

#[test]
fn hosts_spread_over_the_shards() {
    let table = full_index().table();
    let largest = table.shards.iter().map(|shard| shard.len()).max().unwrap();
    // Ten each on average; the chance of fifty in any is below one in a billion billion.
    assert!(largest < 50, "{largest} hosts in one shard");
}

#[test]
fn a_host_with_very_many_routes_is_rebuilt_quickly_enough_to_be_tested() {
    let mut index = RouteIndex::new(HostOwnership::Shared);
    for number in 0..ROUTES {
        let mut spec = spec(number, &["a.test".into()], number);
        spec.rules[0].paths = vec![format!("/{number}")];
        index.apply(spec);
    }
    let table = index.table();
    for number in [0, 1, 10, ROUTES - 1] {
        assert_eq!(
            table.lookup("a.test", &format!("/{number}/x"), &HeaderMap::new()),
            Some(&number)
        );
    }
}
