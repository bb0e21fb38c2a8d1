use std::time::Duration;

use serde_json::{Value, json};

use super::*;

/// A route that is as small as one can be, with `changes` in place of fields of its spec.
fn route(changes: Value) -> InterceptorRoute {
    let mut spec = json!({
        "target": { "service": "app", "port": 8000 },
        "scalingMetric": { "concurrency": { "targetValue": 100 } },
    });
    let (Value::Object(fields), Value::Object(changes)) = (&mut spec, changes) else {
        panic!("a spec and its changes are maps");
    };
    fields.extend(changes);
    serde_json::from_value(json!({
        "apiVersion": "http.keda.sh/v1beta1",
        "kind": "InterceptorRoute",
        "metadata": { "name": "app", "namespace": "default" },
        "spec": spec,
    }))
    .expect("an InterceptorRoute")
}

fn errors(changes: Value) -> Vec<String> {
    route(changes)
        .validate()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn every_field_survives_a_round_trip() {
    let rule = json!({
        "hosts": ["a.example.com", "*.example.com"],
        "paths": [{ "value": "/api" }],
        "headers": [{ "name": "X-Tenant", "value": "a" }, { "name": "X-Beta" }],
    });
    let written = json!({
        "apiVersion": "http.keda.sh/v1beta1",
        "kind": "InterceptorRoute",
        "metadata": { "name": "app", "namespace": "default" },
        "spec": {
            "target": { "service": "app", "portName": "http" },
            "rules": [rule, {}],
            "scalingMetric": {
                "concurrency": { "targetValue": 10 },
                "requestRate": { "targetValue": 5, "window": "30s", "granularity": "2s" },
            },
            "coldStart": {
                "fallback": { "service": { "name": "sorry", "port": 80 } },
                "placeholder": {
                    "response": {
                        "statusCode": 503,
                        "body": "soon",
                        "headers": { "Content-Type": "text/plain", "Refresh": "5" },
                    },
                },
                "maxPendingRequests": 20,
                "overflow": "Placeholder",
            },
            "timeouts": { "readiness": "0s", "request": "1m0s", "responseHeader": "500ms" },
            "staticRoutes": [{
                "rules": [{ "paths": [{ "value": "/healthz" }] }],
                "response": { "bodyFromConfigMap": { "name": "pages", "key": "ok.html" } },
                "responseMode": "Always",
            }],
        },
        "status": {
            "conditions": [{
                "type": "Ready",
                "status": "True",
                "reason": "Reconciled",
                "message": "InterceptorRoute reconciled",
                "lastTransitionTime": "2026-11-22T18:00:00Z",
            }],
        },
    });
    let route: InterceptorRoute = serde_json::from_value(written.clone()).expect("an InterceptorRoute");
    assert_eq!(serde_json::to_value(&route).expect("json"), written);
    assert_eq!(route.validate(), []);
}

#[test]
fn the_api_servers_defaults_are_filled_in_without_one_and_no_others() {
    let route = route(json!({
        "scalingMetric": { "requestRate": { "targetValue": 5 } },
        "coldStart": { "maxPendingRequests": 1 },
        "staticRoutes": [{ "rules": [{}], "response": {} }],
    }));
    assert_eq!(
        serde_json::to_value(&route.spec).expect("json"),
        json!({
            "target": { "service": "app", "port": 8000 },
            "scalingMetric": { "requestRate": { "targetValue": 5, "window": "1m0s", "granularity": "1s" } },
            "coldStart": { "maxPendingRequests": 1, "overflow": "Reject" },
            "staticRoutes": [{ "rules": [{}], "response": {}, "responseMode": "WhenUnavailable" }],
        })
    );
}

#[test]
fn each_rule_refuses_what_is_just_beyond_it() {
    let port_rule = "exactly one of 'port' or 'portName' must be set";
    let fallback = |service: Value| json!({ "coldStart": { "fallback": { "service": service } } });
    let placeholder = |response: Value| json!({ "coldStart": { "placeholder": { "response": response } } });
    let response = "spec.coldStart.placeholder.response";
    let rule = |rule: Value| json!({ "rules": [{}, rule] });
    let cases = [
        (
            json!({ "target": { "service": "app" } }),
            format!("spec.target: {port_rule}"),
        ),
        (
            json!({ "target": { "service": "app", "port": 80, "portName": "http" } }),
            format!("spec.target: {port_rule}"),
        ),
        (
            json!({ "target": { "service": "app", "port": 0 } }),
            "spec.target.port: must be from 1 to 65535, not 0".into(),
        ),
        (
            json!({ "target": { "service": "app", "port": 65_536 } }),
            "spec.target.port: must be from 1 to 65535, not 65536".into(),
        ),
        (
            json!({ "target": { "service": "app", "portName": "" } }),
            "spec.target.portName: must not be empty".into(),
        ),
        (
            json!({ "target": { "service": "", "port": 80 } }),
            "spec.target.service: must not be empty".into(),
        ),
        (
            json!({ "scalingMetric": {} }),
            "spec.scalingMetric: at least one of 'concurrency' or 'requestRate' must be set".into(),
        ),
        (
            json!({ "scalingMetric": { "concurrency": { "targetValue": 0 } } }),
            "spec.scalingMetric.concurrency.targetValue: must be at least 1, not 0".into(),
        ),
        (
            json!({ "scalingMetric": { "requestRate": { "targetValue": 0 } } }),
            "spec.scalingMetric.requestRate.targetValue: must be at least 1, not 0".into(),
        ),
        (
            rule(json!({ "hosts": ["a b"] })),
            "spec.rules[1].hosts[0]: \"a b\" matches no host: ' ' is no part of a host name".into(),
        ),
        (
            rule(json!({ "hosts": ["a.b", "a.b"] })),
            "spec.rules[1].hosts[1]: \"a.b\" is listed twice".into(),
        ),
        (
            rule(json!({ "paths": [{ "value": "/" }, { "value": "" }] })),
            "spec.rules[1].paths[1].value: must not be empty".into(),
        ),
        (
            rule(json!({ "headers": [{ "name": "X-A" }, { "name": "X-A" }] })),
            "spec.rules[1].headers[1].name: \"X-A\" is listed twice".into(),
        ),
        (
            json!({ "coldStart": {} }),
            "spec.coldStart: at least one of 'fallback', 'placeholder' or 'maxPendingRequests' must be set"
                .into(),
        ),
        (
            json!({ "coldStart": { "maxPendingRequests": 5, "overflow": "Placeholder" } }),
            "spec.coldStart: 'placeholder' must be set when 'overflow' is 'Placeholder'".into(),
        ),
        (
            json!({ "coldStart": { "maxPendingRequests": 0 } }),
            "spec.coldStart.maxPendingRequests: must be at least 1, not 0".into(),
        ),
        (
            fallback(json!({ "name": "", "port": 80 })),
            "spec.coldStart.fallback.service.name: must not be empty".into(),
        ),
        (
            fallback(json!({ "name": "sorry" })),
            format!("spec.coldStart.fallback.service: {port_rule}"),
        ),
        (
            fallback(json!({ "name": "sorry", "port": 0 })),
            "spec.coldStart.fallback.service.port: must be from 1 to 65535, not 0".into(),
        ),
        (
            placeholder(json!({ "statusCode": 99 })),
            format!("{response}.statusCode: must be from 100 to 599, not 99"),
        ),
        (
            placeholder(json!({ "statusCode": 600 })),
            format!("{response}.statusCode: must be from 100 to 599, not 600"),
        ),
        (
            placeholder(json!({ "statusCode": 199 })),
            format!("{response}.statusCode: 199 announces a response and is none: from 200 to 599"),
        ),
        (
            placeholder(json!({ "body": "", "bodyFromConfigMap": { "name": "pages" } })),
            format!("{response}: at most one of 'body' or 'bodyFromConfigMap' may be set"),
        ),
        (
            placeholder(json!({ "body": "x".repeat(32_769) })),
            format!("{response}.body: must have at most 32768 characters"),
        ),
        (
            placeholder(json!({ "bodyFromConfigMap": { "name": "" } })),
            format!("{response}.bodyFromConfigMap.name: must not be empty"),
        ),
        (
            placeholder(json!({ "headers": { "X A": "1" } })),
            format!("{response}.headers: \"X A\" cannot be the name of a header"),
        ),
        (
            placeholder(json!({ "headers": { "X-A": "1\r\nX-B: 2" } })),
            format!("{response}.headers.X-A: \"1\\r\\nX-B: 2\" cannot be the value of a header"),
        ),
        (
            json!({ "staticRoutes": [{ "rules": [], "response": {} }] }),
            "spec.staticRoutes[0].rules: must have at least one rule".into(),
        ),
        (
            json!({ "staticRoutes": [{ "rules": [{ "hosts": ["/"] }], "response": {} }] }),
            "spec.staticRoutes[0].rules[0].hosts[0]: \"/\" matches no host: '/' is no part of a host name"
                .into(),
        ),
        (
            json!({ "staticRoutes": [{ "rules": [{}], "response": { "statusCode": 99 } }] }),
            "spec.staticRoutes[0].response.statusCode: must be from 100 to 599, not 99".into(),
        ),
    ];
    for (changes, expected) in cases {
        assert_eq!(errors(changes.clone()), [expected], "{changes}");
    }
}

#[test]
fn each_rule_accepts_what_is_just_within_it() {
    let placeholder = |response: Value| json!({ "coldStart": { "placeholder": { "response": response } } });
    for changes in [
        json!({}),
        json!({ "target": { "service": "app", "port": 1 } }),
        json!({ "target": { "service": "app", "port": 65_535 } }),
        json!({ "target": { "service": "app", "portName": "http" } }),
        json!({ "rules": [{}] }),
        json!({ "rules": [{ "hosts": ["*"], "paths": [{ "value": "/" }], "headers": [{ "name": "X" }] }] }),
        // The same host in two rules is two rules, not a list with a duplicate.
        json!({ "rules": [{ "hosts": ["a.b"] }, { "hosts": ["a.b"] }] }),
        json!({ "scalingMetric": { "requestRate": { "targetValue": 1 } } }),
        json!({
            "scalingMetric": { "concurrency": { "targetValue": 1 }, "requestRate": { "targetValue": 1 } }
        }),
        json!({ "coldStart": { "maxPendingRequests": 1 } }),
        json!({ "coldStart": { "placeholder": { "response": {} }, "overflow": "Placeholder" } }),
        placeholder(json!({ "statusCode": 200 })),
        placeholder(json!({ "statusCode": 599 })),
        // Characters are counted, not bytes.
        placeholder(json!({ "body": "\u{fc}".repeat(32_768) })),
        json!({ "timeouts": { "readiness": "0s", "request": "0s", "responseHeader": "0s" } }),
    ] {
        assert_eq!(errors(changes.clone()), Vec::<String>::new(), "{changes}");
    }
}

#[test]
fn both_metrics_are_served_concurrency_first() {
    let metrics = |metric: Value| route(json!({ "scalingMetric": metric })).metrics();
    let concurrency = Metric::Concurrency { target: 10 };
    let rate = Metric::RequestRate {
        target: 5,
        window: Duration::from_mins(1),
        granularity: Duration::from_secs(1),
    };
    let given_concurrency = json!({ "targetValue": 10 });
    let given_rate = json!({ "targetValue": 5 });
    assert_eq!(
        metrics(json!({ "concurrency": given_concurrency })),
        [concurrency]
    );
    assert_eq!(metrics(json!({ "requestRate": given_rate })), [rate]);
    assert_eq!(
        metrics(json!({ "requestRate": given_rate, "concurrency": given_concurrency })),
        [concurrency, rate]
    );
    assert_eq!(metrics(json!({})), []);
}

#[test]
fn warns_of_what_does_nothing_or_is_served_otherwise() {
    let warnings = |changes: Value| -> Vec<String> {
        route(changes)
            .warnings()
            .into_iter()
            .map(|warning| warning.path)
            .collect()
    };
    assert_eq!(warnings(json!({})), ["spec.rules"]);
    assert_eq!(warnings(json!({ "rules": [{}] })), Vec::<String>::new());
    assert_eq!(
        warnings(json!({
            "rules": [{}],
            "scalingMetric": { "requestRate": { "targetValue": 1, "window": "10s", "granularity": "1m" } },
        })),
        ["spec.scalingMetric.requestRate.granularity"]
    );
}

#[test]
fn an_unset_timeout_differs_from_zero() {
    let timeouts = |changes: Value| route(json!({ "timeouts": changes })).spec.timeouts;
    assert_eq!(timeouts(json!({})).readiness, None);
    assert_eq!(
        timeouts(json!({ "readiness": "0s" })).readiness,
        Some(GoDuration::ZERO)
    );
}

#[test]
fn ports_are_told_apart() {
    let port = |target: Value| route(json!({ "target": target })).spec.target;
    assert_eq!(
        port(json!({ "service": "a", "port": 80 })).service_port(),
        Some(ServicePort::Number(80))
    );
    assert_eq!(
        port(json!({ "service": "a", "portName": "http" })).service_port(),
        Some(ServicePort::Name("http"))
    );
}
