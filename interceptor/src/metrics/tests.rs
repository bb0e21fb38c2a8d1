//! What a scrape shows.

use prometheus_client::encoding::text;
use rouse_routing::RouteKind;

use super::*;

fn id(kind: RouteKind, name: &str) -> RouteId {
    RouteId::new(kind, "shop", name)
}

fn chat() -> RouteId {
    id(RouteKind::HttpScaledObject, "chat")
}

fn registered() -> (Registry, Metrics) {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    (registry, metrics)
}

fn scrape(registry: &Registry) -> String {
    let mut text = String::new();
    text::encode(&mut text, registry).expect("an encodable registry");
    text
}

/// The value of the sample `sample`, labels included.
#[track_caller]
fn value<'a>(text: &'a str, sample: &str) -> &'a str {
    let line = text.lines().find(|line| {
        line.strip_prefix(sample)
            .is_some_and(|rest| rest.starts_with(' '))
    });
    let Some(line) = line else {
        panic!("no {sample} in:\n{text}");
    };
    line.rsplit_once(' ').expect("a value").1
}

const MILLIS: Duration = Duration::from_millis(1);

#[test]
fn requests_are_counted_under_the_add_ons_name_and_labels() {
    let (registry, metrics) = registered();
    let route = metrics.for_route(&chat());
    route.request_ended(&Method::GET, Some(StatusCode::OK), 7 * MILLIS, false);
    route.request_ended(&Method::GET, Some(StatusCode::OK), 2_000 * MILLIS, true);
    route.request_ended(&Method::POST, Some(StatusCode::BAD_GATEWAY), MILLIS, false);

    let text = scrape(&registry);

    let count = |code, method| {
        format!(
            r#"interceptor_request_count_total{{code="{code}",method="{method}",route_name="chat",route_namespace="shop"}}"#
        )
    };
    assert_eq!(value(&text, &count(200, "GET")), "2", "held or not");
    assert_eq!(value(&text, &count(502, "POST")), "1");
    // (part of the series, labels, value)
    for (part, labels, expected) in [
        ("count", r#"cold_start="false""#, "1"),
        ("sum", r#"cold_start="true""#, "2.0"),
        ("bucket", r#"cold_start="false",le="0.005""#, "0"),
        ("bucket", r#"cold_start="false",le="0.01""#, "1"),
        ("bucket", r#"cold_start="false",le="+Inf""#, "1"),
    ] {
        let found = text.lines().find(|line| {
            line.starts_with(&format!("interceptor_request_duration_seconds_{part}{{"))
                && line.contains(r#"code="200""#)
                && labels.split(',').all(|label| line.contains(label))
        });
        let value = found
            .and_then(|line| line.rsplit_once(' '))
            .map(|(_, value)| value);
        assert_eq!(value, Some(expected), "{part} {labels} in:\n{text}");
    }
}

#[test]
fn methods_that_are_not_standard_are_one() {
    let (registry, metrics) = registered();
    let route = metrics.for_route(&chat());
    for method in ["get", "PROPFIND", "X"] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        route.request_ended(&method, Some(StatusCode::OK), MILLIS, false);
    }

    let sample = r#"interceptor_request_count_total{code="200",method="_OTHER",route_name="chat",route_namespace="shop"}"#;
    assert_eq!(value(&scrape(&registry), sample), "3");
}

#[test]
fn a_client_that_left_is_counted_as_499() {
    let (registry, metrics) = registered();
    let route = metrics.for_route(&chat());
    route.request_ended(&Method::GET, None, MILLIS, true);

    let sample = r#"interceptor_request_count_total{code="499",method="GET",route_name="chat",route_namespace="shop"}"#;
    assert_eq!(value(&scrape(&registry), sample), "1");
}

#[test]
fn tunnels_are_counted_and_their_lives_are_no_durations() {
    let (registry, metrics) = registered();
    let route = metrics.for_route(&chat());
    let day = Duration::from_hours(24);
    route.request_ended(&Method::GET, Some(StatusCode::SWITCHING_PROTOCOLS), day, false);

    let text = scrape(&registry);
    assert!(
        text.contains(r#"interceptor_request_count_total{code="101""#),
        "{text}"
    );
    assert!(
        !text.contains("interceptor_request_duration_seconds_count"),
        "{text}"
    );
}

#[test]
fn an_application_with_a_thousand_statuses_has_a_bounded_number_of_series() {
    let (registry, metrics) = registered();
    let route = metrics.for_route(&chat());
    for code in 100..=999 {
        let status = StatusCode::from_u16(code).expect("a status");
        route.request_ended(&Method::GET, Some(status), MILLIS, false);
    }

    let text = scrape(&registry);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("interceptor_request_count_total{"))
        .collect();
    assert_eq!(lines.len(), slots::MAX_ENTRIES + 1);
    let total: usize = lines
        .iter()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(_, count)| count.parse::<usize>().expect("a count"))
        .sum();
    assert_eq!(total, 900, "none is lost");
}

#[test]
fn requests_without_a_route_have_empty_labels() {
    let (registry, metrics) = registered();
    metrics.unrouted(&Method::GET, StatusCode::NOT_FOUND, "route_not_found");
    metrics.own_answer("pending_limit");
    metrics.own_answer("pending_limit");

    let text = scrape(&registry);
    let sample =
        r#"interceptor_request_count_total{code="404",method="GET",route_name="",route_namespace=""}"#;
    assert_eq!(value(&text, sample), "1");
    let answers = |reason| format!(r#"rouse_interceptor_answers_total{{reason="{reason}"}}"#);
    assert_eq!(value(&text, &answers("route_not_found")), "1");
    assert_eq!(value(&text, &answers("pending_limit")), "2");
}

#[test]
fn holds_are_shown_by_route_and_together() {
    let (registry, metrics) = registered();
    let routes = ["chat", "other"].map(|name| metrics.for_route(&id(RouteKind::HttpScaledObject, name)));
    for route in &routes {
        route.hold_ended(3_000 * MILLIS, HoldOutcome::Served);
    }
    let [route, _] = &routes;
    route.hold_ended(MILLIS, HoldOutcome::Abandoned);
    route.rejected();
    route.retried();
    route.retried();

    let text = scrape(&registry);
    let hold = |outcome| {
        format!(
            r#"interceptor_cold_start_duration_seconds_count{{outcome="{outcome}",route_name="chat",route_namespace="shop"}}"#
        )
    };
    assert_eq!(value(&text, &hold("served")), "1");
    assert_eq!(value(&text, &hold("abandoned")), "1");
    let all = |outcome| format!(r#"rouse_interceptor_pending_duration_seconds_count{{outcome="{outcome}"}}"#);
    assert_eq!(value(&text, &all("served")), "2");
    assert_eq!(value(&text, &all("timeout")), "0");
    let rejections = r#"interceptor_cold_start_rejections_total{route_name="chat",route_namespace="shop"}"#;
    assert_eq!(value(&text, rejections), "1");
    assert_eq!(
        value(
            &text,
            r#"rouse_interceptor_retries_total{namespace="shop",route="chat"}"#
        ),
        "2"
    );
}

#[test]
fn a_routes_series_go_with_its_last_handle() {
    let (registry, metrics) = registered();
    let route = metrics.for_route(&chat());
    let held = route.clone();
    route.request_ended(&Method::GET, Some(StatusCode::OK), MILLIS, false);

    drop(route);
    assert!(
        scrape(&registry).contains("route_name=\"chat\""),
        "a request is under way"
    );
    drop(held);
    assert!(!scrape(&registry).contains("route_name=\"chat\""));
    assert!(metrics.0.routes.lock().is_empty(), "nothing is left of it");
}

#[test]
fn a_route_that_comes_back_counts_on_while_the_old_one_is_in_use() {
    let (registry, metrics) = registered();
    let old = metrics.for_route(&chat());
    old.request_ended(&Method::GET, Some(StatusCode::OK), MILLIS, false);
    let new = metrics.for_route(&id(RouteKind::InterceptorRoute, "chat"));
    new.request_ended(&Method::GET, Some(StatusCode::OK), MILLIS, false);
    drop(old);

    let text = scrape(&registry);
    let lines = text
        .lines()
        .filter(|line| line.starts_with("interceptor_request_count_total{"))
        .count();
    assert_eq!(
        lines, 1,
        "a series twice would make the scraper refuse all of it:\n{text}"
    );
}

#[test]
fn routes_that_saw_no_request_have_no_series() {
    let (registry, metrics) = registered();
    let _route = metrics.for_route(&chat());

    assert!(!scrape(&registry).contains("chat"));
}

#[test]
fn connects_and_process_gauges_are_shown() {
    let (mut registry, metrics) = registered();
    metrics.connect_ended(2 * MILLIS, ConnectOutcome::Connected);
    metrics.connect_ended(MILLIS, ConnectOutcome::Refused);
    metrics.retry_budget_exhausted();
    Metrics::observe_process(&mut registry, || ProcessGauges {
        downstream_connections: 1,
        downstream_connections_accepted: 1,
        panics: 0,
        upstream_in_flight_requests: 2,
        upstream_idle_connections: 3,
        pending_bytes: 4,
    });

    let text = scrape(&registry);
    for (sample, expected) in [
        (
            r#"rouse_interceptor_upstream_connects_total{outcome="connected"}"#,
            "1",
        ),
        (
            r#"rouse_interceptor_upstream_connects_total{outcome="refused"}"#,
            "1",
        ),
        ("rouse_interceptor_connect_duration_seconds_count", "1"),
        ("rouse_interceptor_downstream_connections_accepted_total", "1"),
        ("rouse_interceptor_retry_budget_exhausted_total", "1"),
        ("rouse_interceptor_downstream_connections", "1"),
        ("rouse_interceptor_upstream_in_flight_requests", "2"),
        ("rouse_interceptor_upstream_idle_connections", "3"),
        ("rouse_interceptor_pending_bytes", "4"),
    ] {
        assert_eq!(value(&text, sample), expected, "{sample}");
    }
}
