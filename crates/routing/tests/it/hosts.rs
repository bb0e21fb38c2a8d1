//! How hosts are matched. Where the KEDA HTTP Add-on does otherwise, the test says so.

use crate::support::{route, served};

#[test]
fn an_index_without_routes_matches_nothing() {
    served(vec![]).gives("a.test", "/", None);
}

#[test]
fn a_route_without_rules_matches_nothing() {
    served(vec![route("a")])
        .gives("a.test", "/", None)
        .gives("", "/", None);
}

#[test]
fn a_rule_without_fields_matches_everything() {
    served(vec![route("a").rule(&[], &[])])
        .gives("a.test", "/x", Some("a"))
        .gives("", "/", Some("a"))
        .gives("[::1]:80", "*", Some("a"))
        .gives("a.test", "", Some("a"));
}

#[test]
fn an_empty_host_is_a_catch_all() {
    served(vec![route("a").rule(&[""], &[])]).gives("b.test", "/", Some("a"));
}

#[test]
fn an_exact_host_matches_itself_only() {
    served(vec![route("a").rule(&["a.test"], &[])])
        .gives("a.test", "/", Some("a"))
        .gives("b.test", "/", None)
        .gives("x.a.test", "/", None)
        .gives("test", "/", None)
        .gives("", "/", None);
}

#[test]
fn each_host_and_path_of_a_rule_matches() {
    served(vec![route("a").rule(&["a.test", "b.test"], &["/x", "/y"])])
        .gives("a.test", "/x", Some("a"))
        .gives("a.test", "/y", Some("a"))
        .gives("b.test", "/x/1", Some("a"))
        .gives("b.test", "/z", None);
}

#[test]
fn each_rule_of_a_route_matches_on_its_own() {
    served(vec![
        route("a").rule(&["a.test"], &["/x"]).rule(&["b.test"], &["/y"]),
    ])
    .gives("a.test", "/x", Some("a"))
    .gives("b.test", "/y", Some("a"))
    .gives("a.test", "/y", None)
    .gives("b.test", "/x", None);
}

#[test]
fn a_wildcard_matches_every_depth_and_never_the_bare_domain() {
    served(vec![route("a").rule(&["*.example.com"], &[])])
        .gives("x.example.com", "/", Some("a"))
        .gives("x.y.z.example.com", "/", Some("a"))
        .gives("example.com", "/", None)
        .gives(".example.com", "/", None)
        .gives("xexample.com", "/", None)
        .gives("x.example.org", "/", None);
}

#[test]
fn hosts_are_tried_from_exact_to_widest() {
    served(vec![
        route("catch-all").rule(&["*"], &[]),
        route("com").rule(&["*.com"], &[]),
        route("example").rule(&["*.example.com"], &[]),
        route("deep").rule(&["*.b.example.com"], &[]),
        route("exact").rule(&["a.b.example.com"], &[]),
    ])
    .gives("a.b.example.com", "/", Some("exact"))
    .gives("x.b.example.com", "/", Some("deep"))
    .gives("x.y.b.example.com", "/", Some("deep"))
    .gives("b.example.com", "/", Some("example"))
    .gives("x.example.com", "/", Some("example"))
    .gives("example.com", "/", Some("com"))
    .gives("com", "/", Some("catch-all"))
    .gives("", "/", Some("catch-all"));
}

#[test]
fn a_more_specific_host_wins_over_a_longer_path() {
    served(vec![
        route("exact").rule(&["a.test"], &["/"]),
        route("wildcard").rule(&["*.test"], &["/api"]),
        route("catch-all").rule(&[], &["/api/v1"]),
    ])
    .gives("a.test", "/api/v1", Some("exact"))
    .gives("b.test", "/api/v1", Some("wildcard"))
    .gives("b.other", "/api/v1", Some("catch-all"));
}

#[test]
fn a_miss_on_the_path_falls_back_to_wider_hosts() {
    served(vec![
        route("exact").rule(&["a.b.test"], &["/api"]),
        route("near").rule(&["*.b.test"], &["/img"]),
        route("far").rule(&["*.test"], &["/css"]),
        route("catch-all").rule(&[], &["/js"]),
    ])
    .gives("a.b.test", "/api", Some("exact"))
    .gives("a.b.test", "/img", Some("near"))
    .gives("a.b.test", "/css", Some("far"))
    .gives("a.b.test", "/js", Some("catch-all"))
    .gives("a.b.test", "/", None);
}

// The add-on compares hosts with case.
#[test]
fn hosts_compare_without_case() {
    served(vec![
        route("exact").rule(&["Chat.Example.Com"], &[]),
        route("wildcard").rule(&["*.EXAMPLE.org"], &[]),
    ])
    .gives("chat.example.com", "/", Some("exact"))
    .gives("CHAT.EXAMPLE.COM", "/", Some("exact"))
    .gives("A.b.Example.Org", "/", Some("wildcard"));
}

// The add-on takes `a.test.` for another host.
#[test]
fn a_trailing_dot_makes_no_difference() {
    served(vec![
        route("a").rule(&["a.test."], &[]),
        route("b").rule(&["*.b.test."], &[]),
    ])
    .gives("a.test", "/", Some("a"))
    .gives("a.test.", "/", Some("a"))
    .gives("a.test.:80", "/", Some("a"))
    .gives("x.b.test.", "/", Some("b"))
    .gives("b.test.", "/", None);
}

#[test]
fn ports_are_ignored_in_objects_and_requests() {
    served(vec![
        route("a").rule(&["a.test:8080"], &[]),
        route("b").rule(&["*.b.test:443"], &[]),
        route("six").rule(&["[::1]:8080"], &[]),
        route("seven").rule(&["::7"], &[]),
    ])
    .gives("a.test", "/", Some("a"))
    .gives("a.test:9090", "/", Some("a"))
    .gives("x.b.test:1", "/", Some("b"))
    .gives("[::1]:8080", "/", Some("six"))
    .gives("[::1]", "/", Some("six"))
    .gives("::1", "/", Some("six"))
    .gives("[::7]:80", "/", Some("seven"))
    .gives("[::2]:8080", "/", None);
}

// The add-on finds the routes behind the pattern.
#[test]
fn a_client_that_sends_a_pattern_reaches_a_catch_all_only() {
    let wildcard = route("wildcard").rule(&["*.example.com"], &[]);
    let wider = route("wider").rule(&["*.com"], &[]);
    served(vec![wildcard.clone(), wider.clone()])
        .gives("*.example.com", "/", None)
        .gives("*.x.example.com", "/", None)
        .gives("*", "/", None);
    served(vec![wildcard, wider, route("all").rule(&["*"], &[])])
        .gives("*.example.com", "/", Some("all"))
        .gives("*.example.com:80", "/", Some("all"))
        .gives("*", "/", Some("all"))
        .gives("*.", "/", Some("all"));
}

#[test]
fn a_host_longer_than_dns_allows_matches_a_catch_all_only() {
    let long = format!("{}.example.com", "a.".repeat(30_000));
    let wildcard = route("wildcard").rule(&["*.example.com"], &[]);
    served(vec![wildcard.clone()]).gives(&long, "/", None);
    served(vec![wildcard, route("all").rule(&[], &[])]).gives(&long, "/", Some("all"));
    let longest = format!("{}aaaa.example.com", "a.".repeat(118));
    assert_eq!(longest.len(), 252);
    served(vec![route("wildcard").rule(&["*.example.com"], &[])])
        .gives(&longest, "/", Some("wildcard"))
        .gives(&longest.to_uppercase(), "/", Some("wildcard"));
}

#[test]
fn wildcards_of_any_depth_are_found() {
    let deep = format!("{}example.com", "a.".repeat(120));
    let dots = "..".repeat(100);
    served(vec![
        route("deep").rule(&[&format!("*.{deep}")], &[]),
        route("dots").rule(&[&format!("*.{dots}x")], &[]),
    ])
    .gives(&format!("b.{deep}"), "/", Some("deep"))
    .gives(&format!("b.{dots}x"), "/", Some("dots"))
    .gives(&deep, "/", None);
}
