//! Conflicts, ownership of hosts, and what changes when objects come and go.

use std::sync::Arc;

use crate::support::{Route, Served, headers, id, route};
use rouse_routing::{
    Conflict, ConflictKind, HostOwnership, HostPattern, MAX_MATCHES, Rejection, RouteIndex, RouteKind,
};

type Index = RouteIndex<Arc<str>>;

fn index(ownership: HostOwnership, routes: Vec<Route>) -> Index {
    let mut index = RouteIndex::new(ownership);
    for route in routes {
        assert!(index.apply(route.0));
    }
    index
}

fn owned(routes: Vec<Route>) -> Index {
    index(HostOwnership::FirstNamespace, routes)
}

fn conflicts(index: &mut Index) -> Vec<Conflict> {
    index.conflicts().cloned().collect()
}

fn exact(name: &str) -> HostPattern {
    HostPattern::Exact(name.into())
}

#[test]
fn the_oldest_object_serves_what_two_claim() {
    let old = route("old")
        .created(1)
        .rule(&["a.test"], &["/api"])
        .header("x-beta", Some("1"));
    let young = route("young")
        .created(2)
        .rule(&["A.test:80"], &["api/"])
        .header("X-Beta", Some("1"));
    let mut index = owned(vec![young, old]);
    Served(index.table()).gives_with("a.test", "/api", &headers(&[("x-beta", "1")]), Some("old"));
    assert_eq!(
        conflicts(&mut index),
        [Conflict {
            host: exact("a.test"),
            path: "/api".into(),
            route: id("shop", "young"),
            serving: id("shop", "old"),
            kind: ConflictKind::SameMatch,
        }]
    );

    assert!(index.remove(&id("shop", "old")));
    Served(index.table()).gives_with("a.test", "/api", &headers(&[("x-beta", "1")]), Some("young"));
    assert_eq!(conflicts(&mut index), []);
}

#[test]
fn objects_of_one_age_are_ordered_by_namespace_name_and_kind() {
    let claim = |namespace, name| route(name).namespace(namespace).rule(&["a.test"], &[]);
    let mut index = index(
        HostOwnership::Shared,
        vec![
            claim("b", "a"),
            claim("a", "b")
                .kind(RouteKind::HttpScaledObject)
                .value("scaled object"),
            claim("a", "b"),
            claim("a", "c"),
        ],
    );
    Served(index.table()).gives("a.test", "/", Some("b"));
    assert!(index.remove(&id("a", "b")));
    Served(index.table()).gives("a.test", "/", Some("scaled object"));
    assert!(index.remove(&rouse_routing::RouteId::new(
        RouteKind::HttpScaledObject,
        "a",
        "b"
    )));
    Served(index.table()).gives("a.test", "/", Some("c"));
    assert!(index.remove(&id("a", "c")));
    Served(index.table()).gives("a.test", "/", Some("a"));
}

#[test]
fn three_claims_are_each_reported_against_the_one_that_serves() {
    let claim = |name, created| route(name).created(created).rule(&["a.test"], &[]);
    let mut index = owned(vec![claim("c", 3), claim("a", 1), claim("b", 2)]);
    let lost: Vec<_> = index
        .conflicts()
        .map(|lost| (&*lost.route.name, &*lost.serving.name))
        .collect();
    assert_eq!(lost, [("b", "a"), ("c", "a")]);
}

#[test]
fn a_route_is_no_conflict_to_itself() {
    let mut index = owned(vec![
        route("a")
            .rule(&["a.test", "A.test."], &["/x", "x/"])
            .rule(&["a.test"], &["/x", "/y"]),
    ]);
    assert_eq!(conflicts(&mut index), []);
    Served(index.table()).gives("a.test", "/x", Some("a"));
}

#[test]
fn different_paths_or_headers_are_no_conflict() {
    let mut index = owned(vec![
        route("a").rule(&["a.test"], &["/a"]),
        route("b").rule(&["a.test"], &["/b"]),
        route("c").rule(&["a.test"], &["/a"]).header("x-beta", None),
        route("d").rule(&["a.test"], &["/a"]).header("x-beta", Some("")),
    ]);
    assert_eq!(conflicts(&mut index), []);
}

#[test]
fn a_host_belongs_to_the_namespace_that_claimed_it_first() {
    let mut index = owned(vec![
        route("intruder")
            .namespace("other")
            .created(2)
            .rule(&["a.test", "b.test"], &["/", "/api"]),
        route("owner").created(1).rule(&["a.test"], &["/shop"]),
        route("sibling").created(3).rule(&["a.test"], &["/api"]),
    ]);
    Served(index.table())
        .gives("a.test", "/shop", Some("owner"))
        .gives("a.test", "/api", Some("sibling"))
        .gives("a.test", "/", None)
        .gives("b.test", "/api", Some("intruder"));
    let lost = |path: &str| Conflict {
        host: exact("a.test"),
        path: path.into(),
        route: id("other", "intruder"),
        serving: id("shop", "owner"),
        kind: ConflictKind::HostOwned,
    };
    assert_eq!(conflicts(&mut index), [lost("/"), lost("/api")]);
    assert_eq!(
        lost("/api").to_string(),
        "InterceptorRoute other/intruder does not serve a.test/api: namespace shop claimed the host first, with \
         InterceptorRoute shop/owner"
    );
}

#[test]
fn a_shared_host_is_served_for_every_namespace() {
    let routes = vec![
        route("a").created(1).rule(&["a.test"], &["/shop"]),
        route("b")
            .namespace("other")
            .created(2)
            .rule(&["a.test"], &["/", "/shop"]),
    ];
    let mut index = index(HostOwnership::Shared, routes);
    Served(index.table())
        .gives("a.test", "/shop", Some("a"))
        .gives("a.test", "/", Some("b"));
    let lost: Vec<_> = index.conflicts().map(|lost| (&*lost.path, lost.kind)).collect();
    assert_eq!(lost, [("/shop", ConflictKind::SameMatch)]);
}

#[test]
fn the_next_namespace_takes_over_when_the_owner_goes() {
    let mut index = owned(vec![
        route("owner").created(1).rule(&["a.test"], &[]),
        route("sibling").created(3).rule(&["a.test"], &["/api"]),
        route("next").namespace("other").created(2).rule(&["a.test"], &[]),
    ]);
    Served(index.table()).gives("a.test", "/api", Some("sibling"));

    assert!(index.remove(&id("shop", "owner")));
    Served(index.table())
        .gives("a.test", "/api", Some("next"))
        .gives("a.test", "/", Some("next"));
    let lost: Vec<_> = index
        .conflicts()
        .map(|lost| (&*lost.route.name, &*lost.serving.name))
        .collect();
    assert_eq!(lost, [("sibling", "next")]);

    assert!(
        index.apply(
            route("next")
                .namespace("other")
                .created(2)
                .rule(&["b.test"], &[])
                .0
        )
    );
    Served(index.table())
        .gives("a.test", "/api", Some("sibling"))
        .gives("b.test", "/", Some("next"));
    assert_eq!(conflicts(&mut index), []);
}

#[test]
fn wildcards_and_catch_alls_are_owned_as_they_are_written() {
    let mut index = owned(vec![
        route("owner").created(1).rule(&["*", "*.test"], &["/shop"]),
        route("other")
            .namespace("other")
            .created(2)
            .rule(&["*", "*.test", "a.test", "*.a.test"], &["/"]),
    ]);
    Served(index.table())
        .gives("b.test", "/shop", Some("owner"))
        .gives("b.test", "/", None)
        .gives("else", "/", None)
        .gives("a.test", "/", Some("other"))
        .gives("b.a.test", "/shop", Some("other"));
    let hosts: Vec<_> = index.conflicts().map(|lost| lost.host.to_string()).collect();
    assert_eq!(hosts, ["*.test", "*"]);
}

#[test]
fn applying_the_same_again_changes_nothing() {
    let spec = route("a").rule(&["a.test"], &["/x"]).header("x-beta", None);
    let mut index = owned(vec![spec.clone()]);
    let table = index.table();
    assert!(!index.apply(spec.0));
    assert!(
        !index.apply(
            route("a")
                .rule(&["A.TEST.", "a.test:80"], &["x//"])
                .header("X-Beta", None)
                .0
        )
    );
    assert!(Arc::ptr_eq(&table, &index.table()));
}

#[test]
fn every_part_of_a_route_is_a_change() {
    let spec = || route("a").rule(&["a.test"], &["/x"]).header("x-beta", None);
    let mut index = owned(vec![spec()]);
    for changed in [
        spec().value("b"),
        spec().created(7),
        spec().rule(&["b.test"], &[]),
        spec().header("x-two", None),
        route("a").rule(&["a.test"], &["/x"]).header("x-beta", Some("")),
        route("a").rule(&["a.test"], &["/y"]).header("x-beta", None),
        route("a").rule(&["*.a.test"], &["/x"]).header("x-beta", None),
        route("a"),
    ] {
        let table = index.table();
        assert!(index.apply(changed.0.clone()), "{changed:?}");
        assert!(!Arc::ptr_eq(&table, &index.table()), "{changed:?}");
        assert!(!index.apply(changed.0));
        assert!(index.apply(spec().0));
    }
}

#[test]
fn a_new_value_is_served_and_the_old_table_keeps_the_old_one() {
    let mut index = owned(vec![route("a").rule(&["a.test"], &[])]);
    let before = Served(index.table());
    assert!(index.apply(route("a").rule(&["a.test"], &[]).value("new").0));
    Served(index.table()).gives("a.test", "/", Some("new"));
    before.gives("a.test", "/", Some("a"));
    assert_eq!(index.get(&id("shop", "a")).map(AsRef::as_ref), Some("new"));
}

#[test]
fn a_changed_host_leaves_the_old_one() {
    let mut index = owned(vec![route("a").rule(&["*.a.test"], &[])]);
    index.table();
    assert!(index.apply(route("a").rule(&["*.b.test"], &[]).0));
    Served(index.table())
        .gives("x.a.test", "/", None)
        .gives("x.b.test", "/", Some("a"));
}

#[test]
fn a_removed_route_is_not_served() {
    let mut index = owned(vec![route("a").rule(&["a.test", "*.a.test", "*"], &[])]);
    Served(index.table()).gives("b.test", "/", Some("a"));
    assert!(index.remove(&id("shop", "a")));
    assert!(!index.remove(&id("shop", "a")));
    assert!(index.is_empty());
    Served(index.table())
        .gives("a.test", "/", None)
        .gives("x.a.test", "/", None)
        .gives("b.test", "/", None);
}

#[test]
fn an_index_knows_its_routes() {
    let index = owned(vec![route("a"), route("b").rule(&[], &[])]);
    assert_eq!(index.len(), 2);
    let mut ids: Vec<_> = index.ids().cloned().collect();
    ids.sort();
    assert_eq!(ids, [id("shop", "a"), id("shop", "b")]);
}

#[test]
fn a_host_that_no_request_can_have_is_named_and_the_others_are_served() {
    let mut index = owned(vec![
        route("a").rule(&["https://a.test", "b.test", "a.*.test"], &[]),
    ]);
    Served(index.table())
        .gives("b.test", "/", Some("a"))
        .gives("https", "/", None)
        .gives("c.test", "/", None);
    let rejections: Vec<_> = index
        .rejections()
        .map(|(id, why)| format!("{id}: {why}"))
        .collect();
    assert_eq!(
        rejections,
        [
            r#"shop/a: "a.*.test" is not a host name, *.name or *"#,
            r#"shop/a: "https://a.test" is not a host name, *.name or *"#,
        ]
    );
    assert!(index.apply(route("a").rule(&["b.test"], &[]).0));
    assert_eq!(index.rejections().count(), 0);
}

#[test]
fn a_rule_whose_hosts_are_all_broken_is_no_catch_all() {
    let mut index = owned(vec![route("a").rule(&["https://a.test"], &[])]);
    Served(index.table())
        .gives("b.test", "/", None)
        .gives("", "/", None);
}

#[test]
fn a_route_may_claim_so_many_pairs_of_host_and_path_and_no_more() {
    let names: Vec<_> = (0..MAX_MATCHES / 100)
        .map(|host| format!("{host}.test"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let paths: Vec<_> = (0..100).map(|path| format!("/{path}")).collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();

    let full = route("a").rule(&names, &paths);
    let mut index = owned(vec![full.clone()]);
    assert_eq!(index.rejections().count(), 0);
    Served(index.table()).gives("7.test", "/42/x", Some("a"));

    assert!(index.apply(full.rule(&["one-more.test"], &[]).0));
    let rejections: Vec<_> = index.rejections().map(|(_, why)| why.clone()).collect();
    assert_eq!(rejections, [Rejection::TooManyMatches(MAX_MATCHES + 1)]);
    Served(index.table())
        .gives("7.test", "/42/x", None)
        .gives("one-more.test", "/", None);
}
