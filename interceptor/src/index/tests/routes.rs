//! Which routes there are, and what they say.

use std::time::Duration;

use http::HeaderName;
use rouse_routing::{HeaderMatch, Rule};
use serde_json::json;

use super::*;
use crate::plan::{RouteConfig, RouteTimeouts};

const HTTPSO: RouteKind = RouteKind::HttpScaledObject;
const IR: RouteKind = RouteKind::InterceptorRoute;

fn upserted(changes: &Changes) -> &PlannedRoute {
    let [route] = &changes.routes_upserted[..] else {
        panic!("one route, not {changes:?}");
    };
    route
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn an_http_scaled_object_becomes_a_route() {
    let mut index = Index::new();
    let mut object = http_scaled_object(
        "chat",
        json!({
            "hosts": ["chat.example.com", "*.chat.example.com"],
            "pathPrefixes": ["/api"],
            "headers": [{ "name": "X-Tenant", "value": "a" }, { "name": "x-debug" }],
            "scaleTargetRef": { "name": "chat", "service": "chat-svc", "portName": "http" },
            "targetPendingRequests": 7,
            "timeouts": { "conditionWait": "20s", "responseHeader": "5s" },
        }),
    );
    object.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
        "2026-01-02T03:04:05Z".parse().expect("a time"),
    ));

    let changes = index.apply_http_scaled_object(&object);

    let rule = Rule {
        hosts: vec!["chat.example.com".to_owned(), "*.chat.example.com".to_owned()],
        paths: vec!["/api".to_owned()],
        headers: vec![
            HeaderMatch {
                name: HeaderName::from_static("x-tenant"),
                value: Some("a".to_owned()),
            },
            HeaderMatch {
                name: HeaderName::from_static("x-debug"),
                value: None,
            },
        ],
    };
    assert_eq!(
        *upserted(&changes),
        PlannedRoute {
            created: "2026-01-02T03:04:05Z".parse().expect("a time"),
            rules: vec![rule],
            config: RouteConfig {
                id: id(HTTPSO, "chat"),
                target: named_key("chat-svc", "http"),
                fallback: None,
                concurrency_target: Some(7),
                rate_window: None,
                max_pending: None,
                timeouts: RouteTimeouts {
                    readiness: Some(seconds(20)),
                    response_header: Some(seconds(5)),
                    request: None,
                },
            },
        }
    );
    assert_eq!(changes.problem, None);
}

#[test]
fn an_interceptor_route_becomes_a_route() {
    let mut index = Index::new();
    let object = interceptor_route(
        "chat",
        json!({
            "target": { "service": "chat-svc", "port": 8000 },
            "rules": [
                { "hosts": ["chat.example.com"], "paths": [{ "value": "/a" }, { "value": "/b" }] },
                { "headers": [{ "name": "X-Tenant" }] },
            ],
            "scalingMetric": {
                "concurrency": { "targetValue": 5 },
                "requestRate": { "targetValue": 9, "window": "30s" },
            },
            "coldStart": {
                "fallback": { "service": { "name": "sorry", "portName": "http" } },
                "maxPendingRequests": 50,
            },
            "timeouts": { "readiness": "20s", "request": "0s", "responseHeader": "5s" },
        }),
    );

    let changes = index.apply_interceptor_route(&object);

    let route = upserted(&changes);
    assert_eq!(
        route.rules,
        [
            Rule {
                hosts: vec!["chat.example.com".to_owned()],
                paths: vec!["/a".to_owned(), "/b".to_owned()],
                headers: vec![],
            },
            Rule {
                hosts: vec![],
                paths: vec![],
                headers: vec![HeaderMatch {
                    name: HeaderName::from_static("x-tenant"),
                    value: None,
                }],
            },
        ]
    );
    assert_eq!(
        route.config,
        RouteConfig {
            id: id(IR, "chat"),
            target: key("chat-svc", 8000),
            fallback: Some(named_key("sorry", "http")),
            concurrency_target: Some(5),
            rate_window: Some(seconds(30)),
            max_pending: Some(50),
            timeouts: RouteTimeouts {
                readiness: Some(seconds(20)),
                response_header: Some(seconds(5)),
                request: Some(Duration::ZERO),
            },
        }
    );
    let targets: Vec<_> = changes
        .targets_upserted
        .iter()
        .map(|(key, _)| key.clone())
        .collect();
    assert_eq!(targets, [key("chat-svc", 8000), named_key("sorry", "http")]);
}

#[test]
fn what_a_route_scales_on_decides_its_target_and_its_window() {
    let cases = [
        ("nothing said", json!({}), Some(100), None),
        (
            "concurrency",
            json!({ "scalingMetric": { "concurrency": { "targetValue": 3 } } }),
            Some(3),
            None,
        ),
        (
            "rate",
            json!({ "scalingMetric": { "requestRate": { "targetValue": 3, "window": "2m" } } }),
            None,
            Some(seconds(120)),
        ),
        (
            "rate, an absurd window",
            json!({ "scalingMetric": { "requestRate": { "targetValue": 3, "window": "9000h" } } }),
            None,
            Some(seconds(3_600)),
        ),
    ];
    for (case, spec, concurrency_target, rate_window) in cases {
        let changes = Index::new().apply_http_scaled_object(&http_scaled_object("chat", spec));
        let config = &upserted(&changes).config;
        assert_eq!(
            (config.concurrency_target, config.rate_window),
            (concurrency_target, rate_window),
            "{case}"
        );
    }
}

#[test]
fn a_failover_is_a_fallback_with_a_readiness_timeout() {
    let failover = |timeout: Option<i32>, wait: Option<&str>| {
        let mut failover = json!({ "service": "sorry", "port": 80 });
        if let Some(timeout) = timeout {
            failover["timeoutSeconds"] = timeout.into();
        }
        let mut spec = json!({ "coldStartTimeoutFailoverRef": failover });
        if let Some(wait) = wait {
            spec["timeouts"] = json!({ "conditionWait": wait });
        }
        spec
    };
    for (case, spec, readiness) in [
        (
            "thirty seconds unless it says",
            failover(None, None),
            Some(seconds(30)),
        ),
        ("its own", failover(Some(7), None), Some(seconds(7))),
        (
            "its own before conditionWait",
            failover(Some(7), Some("20s")),
            Some(seconds(7)),
        ),
    ] {
        let changes = Index::new().apply_http_scaled_object(&http_scaled_object("chat", spec));
        let config = &upserted(&changes).config;
        assert_eq!(config.fallback, Some(key("sorry", 80)), "{case}");
        assert_eq!(config.timeouts.readiness, readiness, "{case}");
    }
}

#[test]
fn no_deadline_and_a_fallback_make_thirty_seconds() {
    let fallback = json!({ "fallback": { "service": { "name": "sorry", "port": 80 } } });
    for (case, spec, readiness) in [
        (
            "zero with a fallback",
            json!({ "coldStart": fallback, "timeouts": { "readiness": "0s" } }),
            Some(seconds(30)),
        ),
        (
            "zero without",
            json!({ "timeouts": { "readiness": "0s" } }),
            Some(Duration::ZERO),
        ),
        ("unset with a fallback", json!({ "coldStart": fallback }), None),
    ] {
        let changes = Index::new().apply_interceptor_route(&interceptor_route("chat", spec));
        assert_eq!(upserted(&changes).config.timeouts.readiness, readiness, "{case}");
    }
}

#[test]
fn the_same_object_again_changes_nothing() {
    let mut index = Index::new();
    let mut object = http_scaled_object("chat", json!({}));
    assert!(!index.apply_http_scaled_object(&object).is_empty());

    object.metadata.resource_version = Some("2".to_owned());
    assert!(index.apply_http_scaled_object(&object).is_empty());
    assert!(index.delete_http_scaled_object(NAMESPACE, "other").is_empty());
    assert!(index.delete_interceptor_route(NAMESPACE, "chat").is_empty());
}

#[test]
fn a_deleted_route_takes_its_targets_along() {
    let mut index = Index::new();
    let failover = json!({ "coldStartTimeoutFailoverRef": { "service": "sorry", "port": 80 } });
    index.apply_http_scaled_object(&http_scaled_object("chat", failover));

    let changes = index.delete_http_scaled_object(NAMESPACE, "chat");

    assert_eq!(
        changes,
        Changes {
            routes_removed: vec![id(HTTPSO, "chat")],
            targets_removed: vec![key("chat", 80), key("sorry", 80)],
            ..Changes::default()
        }
    );
}

#[test]
fn a_target_stays_as_long_as_any_route_uses_it() {
    let mut index = Index::new();
    let to_chat = || json!({ "scaleTargetRef": { "service": "chat", "port": 80 } });
    index.apply_http_scaled_object(&http_scaled_object("one", to_chat()));
    let second = index.apply_http_scaled_object(&http_scaled_object("two", to_chat()));
    assert_eq!(second.targets_upserted, [], "it is known already");

    assert_eq!(
        index.delete_http_scaled_object(NAMESPACE, "one").targets_removed,
        []
    );
    assert_eq!(
        index.delete_http_scaled_object(NAMESPACE, "two").targets_removed,
        [key("chat", 80)]
    );
}

#[test]
fn a_route_may_name_one_service_twice() {
    let mut index = Index::new();
    let failover = json!({ "coldStartTimeoutFailoverRef": { "service": "chat", "port": 80 } });

    let changes = index.apply_http_scaled_object(&http_scaled_object("chat", failover));
    assert_eq!(changes.targets_upserted.len(), 1);

    let without = index.apply_http_scaled_object(&http_scaled_object("chat", json!({})));
    assert_eq!(without.targets_removed, [], "it is still the target");
    let gone = index.delete_http_scaled_object(NAMESPACE, "chat");
    assert_eq!(gone.targets_removed, [key("chat", 80)]);
}

#[test]
fn a_route_with_a_new_target_brings_it_and_drops_the_old_one() {
    let mut index = Index::new();
    index.apply_http_scaled_object(&http_scaled_object("chat", json!({})));

    let to_other = json!({ "scaleTargetRef": { "service": "other", "port": 80 } });
    let changes = index.apply_http_scaled_object(&http_scaled_object("chat", to_other));

    assert_eq!(upserted(&changes).config.target, key("other", 80));
    assert_eq!(changes.routes_removed, []);
    assert_eq!(changes.targets_upserted.len(), 1);
    assert_eq!(changes.targets_removed, [key("chat", 80)]);
}

#[test]
fn an_interceptor_route_comes_before_an_http_scaled_object_of_its_name() {
    let mut index = Index::new();
    index.apply_http_scaled_object(&http_scaled_object("chat", json!({})));

    let changes = index.apply_interceptor_route(&interceptor_route("chat", json!({})));
    assert_eq!(upserted(&changes).config.id, id(IR, "chat"));
    assert_eq!(changes.routes_removed, [id(HTTPSO, "chat")]);
    assert_eq!(changes.targets_removed, [], "both use it");

    let hidden = json!({ "targetPendingRequests": 1 });
    let changes = index.apply_http_scaled_object(&http_scaled_object("chat", hidden));
    assert!(changes.is_empty(), "{changes:?}");

    let changes = index.delete_interceptor_route(NAMESPACE, "chat");
    assert_eq!(upserted(&changes).config.id, id(HTTPSO, "chat"));
    assert_eq!(upserted(&changes).config.concurrency_target, Some(1));
    assert_eq!(changes.routes_removed, [id(IR, "chat")]);
    assert_eq!(index.route_count(), 1);
}

#[test]
fn a_bad_object_is_named_with_its_field_and_its_last_good_version_serves_on() {
    let mut index = Index::new();
    index.apply_http_scaled_object(&http_scaled_object("chat", json!({})));
    let bad = http_scaled_object(
        "chat",
        json!({ "scaleTargetRef": { "service": "chat", "port": 70_000 }, "hosts": ["a b"] }),
    );

    let changes = index.apply_http_scaled_object(&bad);
    let said = changes.problem.as_ref().expect("a problem").to_string();
    assert!(said.starts_with("HTTPScaledObject shop/chat: "), "{said}");
    assert!(said.contains("spec.hosts[0]: "), "{said}");
    assert!(said.contains("spec.scaleTargetRef.port: "), "{said}");
    assert!(changes.routes_upserted.is_empty() && changes.routes_removed.is_empty());
    assert_eq!(index.route_count(), 1);
    assert_eq!(index.problems().count(), 1);

    assert!(index.apply_http_scaled_object(&bad).is_empty(), "it is said once");
    let again = index.apply_http_scaled_object(&http_scaled_object("chat", json!({})));
    assert!(
        again.is_empty(),
        "the good version was served all along: {again:?}"
    );
    assert_eq!(index.problems().count(), 0);
}

#[test]
fn an_object_that_was_never_good_serves_nothing_and_hides_nothing() {
    let mut index = Index::new();
    let bad = interceptor_route("chat", json!({ "target": { "service": "chat" } }));

    assert!(index.apply_interceptor_route(&bad).problem.is_some());
    assert_eq!(index.route_count(), 0);
    let changes = index.apply_http_scaled_object(&http_scaled_object("chat", json!({})));
    assert_eq!(upserted(&changes).config.id, id(HTTPSO, "chat"));

    let changes = index.delete_interceptor_route(NAMESPACE, "chat");
    assert!(changes.is_empty(), "{changes:?}");
    assert_eq!(index.problems().count(), 0);
}

#[test]
fn what_is_not_served_yet_is_said_once() {
    let mut index = Index::new();
    let spec = json!({
        "coldStart": { "placeholder": { "response": { "body": "wait" } } },
        "staticRoutes": [{ "rules": [{ "paths": [{ "value": "/robots.txt" }] }], "response": {} }],
    });
    let object = interceptor_route("chat", spec);

    let changes = index.apply_interceptor_route(&object);
    assert_eq!(
        changes.warning.expect("a warning").to_string(),
        "InterceptorRoute shop/chat: \
         spec.coldStart.placeholder: not served yet: requests are held instead; \
         spec.staticRoutes: not served yet: their requests go to the target"
    );
    assert_eq!(index.apply_interceptor_route(&object).warning, None);
}

#[test]
fn an_interceptor_route_without_rules_is_a_route_that_matches_nothing() {
    let changes = Index::new().apply_interceptor_route(&interceptor_route("chat", json!({ "rules": [] })));

    assert_eq!(upserted(&changes).rules, []);
    assert!(changes.warning.is_some());
}
