//! How headers are matched. Where the KEDA HTTP Add-on does otherwise, the test says so.

use crate::support::{headers, route, served};

#[test]
fn a_header_with_a_value_matches_exactly() {
    let index = served(vec![
        route("a").rule(&["a.test"], &[]).header("x-version", Some("v2")),
    ]);
    index.gives("a.test", "/", None);
    index.gives_with("a.test", "/", &headers(&[("X-Version", "v2")]), Some("a"));
    index.gives_with("a.test", "/", &headers(&[("x-version", "V2")]), None);
    index.gives_with("a.test", "/", &headers(&[("x-version", "v22")]), None);
    index.gives_with("a.test", "/", &headers(&[("x-version", "")]), None);
}

#[test]
fn any_of_several_values_may_match() {
    let index = served(vec![
        route("a").rule(&["a.test"], &[]).header("x-version", Some("v2")),
    ]);
    index.gives_with(
        "a.test",
        "/",
        &headers(&[("x-version", "v1"), ("x-version", "v2")]),
        Some("a"),
    );
    index.gives_with("a.test", "/", &headers(&[("x-version", "v1, v2")]), None);
}

#[test]
fn a_header_without_a_value_matches_when_present() {
    let index = served(vec![route("a").rule(&["a.test"], &[]).header("x-beta", None)]);
    index.gives("a.test", "/", None);
    index.gives_with("a.test", "/", &headers(&[("X-BETA", "anything")]), Some("a"));
    index.gives_with("a.test", "/", &headers(&[("x-beta", "")]), Some("a"));
}

#[test]
fn a_header_with_an_empty_value_matches_an_empty_value_only() {
    let index = served(vec![route("a").rule(&["a.test"], &[]).header("x-beta", Some(""))]);
    index.gives("a.test", "/", None);
    index.gives_with("a.test", "/", &headers(&[("x-beta", "")]), Some("a"));
    index.gives_with("a.test", "/", &headers(&[("x-beta", "1")]), None);
}

#[test]
fn all_headers_of_a_rule_must_match() {
    let index = served(vec![
        route("a")
            .rule(&["a.test"], &[])
            .header("x-one", Some("1"))
            .header("x-two", None),
    ]);
    index.gives_with("a.test", "/", &headers(&[("x-one", "1")]), None);
    index.gives_with("a.test", "/", &headers(&[("x-two", "2")]), None);
    index.gives_with(
        "a.test",
        "/",
        &headers(&[("x-two", "2"), ("x-one", "1")]),
        Some("a"),
    );
}

#[test]
fn more_headers_with_values_win_over_more_headers_and_those_over_age() {
    let index = served(vec![
        route("plain").created(1).rule(&["a.test"], &[]),
        route("present-one")
            .created(2)
            .rule(&["a.test"], &[])
            .header("x-one", None),
        route("present-two")
            .created(3)
            .rule(&["a.test"], &[])
            .header("x-one", None)
            .header("x-two", None),
        route("value")
            .created(4)
            .rule(&["a.test"], &[])
            .header("x-one", Some("1")),
        route("value-and-one")
            .created(5)
            .rule(&["a.test"], &[])
            .header("x-one", Some("1"))
            .header("x-two", None),
    ]);
    index.gives("a.test", "/", Some("plain"));
    index.gives_with("a.test", "/", &headers(&[("x-one", "0")]), Some("present-one"));
    index.gives_with(
        "a.test",
        "/",
        &headers(&[("x-one", "0"), ("x-two", "2")]),
        Some("present-two"),
    );
    index.gives_with("a.test", "/", &headers(&[("x-one", "1")]), Some("value"));
    index.gives_with(
        "a.test",
        "/",
        &headers(&[("x-one", "1"), ("x-two", "2")]),
        Some("value-and-one"),
    );

    // One header with a value against two without.
    let index = served(vec![
        route("two")
            .created(1)
            .rule(&["a.test"], &[])
            .header("x-one", None)
            .header("x-two", None),
        route("value")
            .created(2)
            .rule(&["a.test"], &[])
            .header("x-one", Some("1")),
    ]);
    index.gives_with(
        "a.test",
        "/",
        &headers(&[("x-one", "1"), ("x-two", "2")]),
        Some("value"),
    );
}

#[test]
fn among_equally_specific_rules_the_oldest_object_wins() {
    let one = |name, created| {
        route(name)
            .created(created)
            .rule(&["a.test"], &[])
            .header("x-one", None)
    };
    let two = |name, created| {
        route(name)
            .created(created)
            .rule(&["a.test"], &[])
            .header("x-two", None)
    };
    let both = headers(&[("x-one", ""), ("x-two", "")]);
    served(vec![one("a", 2), two("b", 1)]).gives_with("a.test", "/", &both, Some("b"));
    served(vec![one("a", 1), two("b", 2)]).gives_with("a.test", "/", &both, Some("a"));
    served(vec![one("b", 1), two("a", 1)]).gives_with("a.test", "/", &both, Some("a"));
}

// The add-on examines the longest prefix only and goes on to wildcards.
#[test]
fn a_miss_on_the_headers_falls_back_to_the_next_shorter_prefix() {
    let index = served(vec![
        route("deep")
            .rule(&["a.test"], &["/api/v1"])
            .header("x-beta", Some("1")),
        route("api").rule(&["a.test"], &["/api"]).header("x-beta", None),
        route("root").rule(&["a.test"], &["/"]),
        route("wildcard").rule(&["*.test"], &["/api/v1"]),
    ]);
    index.gives_with("a.test", "/api/v1", &headers(&[("x-beta", "1")]), Some("deep"));
    index.gives_with("a.test", "/api/v1", &headers(&[("x-beta", "2")]), Some("api"));
    index.gives("a.test", "/api/v1", Some("root"));
}

#[test]
fn a_miss_on_the_headers_of_every_prefix_falls_back_to_wider_hosts() {
    let index = served(vec![
        route("exact")
            .rule(&["a.b.test"], &["/", "/api"])
            .header("x-a", None),
        route("near").rule(&["*.b.test"], &[]).header("x-b", None),
        route("far").rule(&["*.test"], &[]).header("x-c", None),
        route("all").rule(&[], &[]),
    ]);
    index.gives_with(
        "a.b.test",
        "/api",
        &headers(&[("x-a", ""), ("x-c", "")]),
        Some("exact"),
    );
    index.gives_with(
        "a.b.test",
        "/api",
        &headers(&[("x-b", ""), ("x-c", "")]),
        Some("near"),
    );
    index.gives_with("a.b.test", "/api", &headers(&[("x-c", "")]), Some("far"));
    index.gives("a.b.test", "/api", Some("all"));
}

#[test]
fn deeply_nested_prefixes_whose_headers_miss_are_walked_once() {
    let paths: Vec<_> = (1..=2_000).map(|depth| "/a".repeat(depth)).collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    let index = served(vec![
        route("deep").rule(&["a.test"], &paths).header("x-beta", None),
        route("root").rule(&["a.test"], &["/"]),
    ]);
    index.gives("a.test", &format!("{}/b", "/a".repeat(1_500)), Some("root"));
    let beta = headers(&[("x-beta", "")]);
    index.gives_with(
        "a.test",
        &format!("{}/b", "/a".repeat(1_500)),
        &beta,
        Some("deep"),
    );
}
