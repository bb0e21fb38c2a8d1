use std::{fs, path::Path};

use serde_json::json;

use super::*;

fn object(api_version: &str, kind: &str, spec: Value) -> Value {
    let mut object = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": "app" } });
    object["spec"] = spec;
    object
}

fn http_scaled_object(spec: Value) -> Value {
    object("http.keda.sh/v1alpha1", "HTTPScaledObject", spec)
}

fn interceptor_route(spec: Value) -> Value {
    object("http.keda.sh/v1beta1", "InterceptorRoute", spec)
}

fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn refused<R: Checked>(object: &Value) -> Vec<String> {
    match parse::<R>(object) {
        Ok(_) => Vec::new(),
        Err(errors) => {
            assert!(
                !errors.is_empty(),
                "an object was refused without a word: {object}"
            );
            texts(&errors)
        }
    }
}

#[test]
fn every_route_of_the_examples_parses() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut routes = Vec::new();
    let mut folders = vec![examples];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the examples") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = fs::read_to_string(&path).expect("a file");
                let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
                for document in documents {
                    let name = format!("{}: {}", path.display(), document["metadata"]["name"]);
                    let errors = match document["kind"].as_str() {
                        Some("HTTPScaledObject") => refused::<HTTPScaledObject>(&document),
                        Some("InterceptorRoute") => refused::<InterceptorRoute>(&document),
                        _ => continue,
                    };
                    assert_eq!(errors, Vec::<String>::new(), "{name}");
                    routes.push(name);
                }
            }
        }
    }
    assert!(
        routes.len() >= 3,
        "the chatbot and two tenants, at least: {routes:?}"
    );
}

#[test]
fn a_good_object_is_read_with_its_defaults() {
    let object = http_scaled_object(json!({
        "hosts": ["a.example.com"],
        "scaleTargetRef": { "name": "app", "service": "app", "port": 80 },
        "scalingMetric": { "requestRate": { "window": "30s" } },
    }));
    let parsed: HTTPScaledObject = parse(&object).expect("an HTTPScaledObject");
    assert_eq!(
        parsed
            .spec
            .scaling_metric
            .expect("a metric")
            .request_rate
            .expect("a rate")
            .target_value,
        100
    );
    assert_eq!(parsed.metadata.name.as_deref(), Some("app"));
}

#[test]
fn null_is_the_same_as_nothing() {
    let object = http_scaled_object(json!({
        "hosts": null,
        "headers": null,
        "scaleTargetRef": { "name": "app", "service": "app", "port": 80, "portName": null },
        "coldStartTimeoutFailoverRef": { "service": "s", "port": 80, "timeoutSeconds": null },
        "replicas": { "min": null, "max": 5 },
        "unheardOf": null,
    }));
    let parsed: HTTPScaledObject = parse(&object).expect("an HTTPScaledObject");
    assert_eq!(
        parsed
            .spec
            .cold_start_timeout_failover_ref
            .expect("a failover")
            .timeout_seconds,
        30
    );

    let object = http_scaled_object(json!({ "scaleTargetRef": null }));
    assert_eq!(
        refused::<HTTPScaledObject>(&object),
        ["spec.scaleTargetRef: must be set"]
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_path() {
    let object = http_scaled_object(json!({
        "hosts": "a.example.com",
        "headers": [{ "value": "x" }, { "name": "", "value": 3 }],
        "replicas": { "min": "0", "maximum": 5, "Max": 5 },
        "scaleTargetRef": { "name": "app", "port": 3_000_000_000_i64, "portname": "http" },
        "scaledownPeriod": 60.5,
        "scalingMetric": { "requestRate": { "window": "1d", "granularity": 1 } },
        "timeouts": { "conditionWait": "-1s" },
        "scaleDownPeriod": 60,
    }));
    let findings = check::<HTTPScaledObject>(&object);
    assert_eq!(
        texts(&findings.errors),
        [
            "spec.headers[0].name: must be set",
            "spec.headers[1].name: must not be empty",
            "spec.headers[1].value: must be a string, not the number 3",
            r#"spec.hosts: must be a list, not the string "a.example.com""#,
            r#"spec.replicas.min: must be an integer, not the string "0""#,
            "spec.scaleTargetRef.service: must be set",
            "spec.scaleTargetRef.port: must be from -2147483648 to 2147483647, not 3000000000",
            "spec.scaledownPeriod: must be an integer of at most 64 bits, not 60.5",
            "spec.scalingMetric.requestRate.granularity: must be a string, not the number 1",
            r#"spec.scalingMetric.requestRate.window: "1d" has the unit "d", which is none of ns, us, ms, s, m and h"#,
            r#"spec.timeouts.conditionWait: "-1s" is negative"#,
        ]
    );
    assert_eq!(
        texts(&findings.unknown),
        [
            "spec.replicas.Max: unknown field, did you mean max?",
            "spec.replicas.maximum: unknown field",
            "spec.scaleDownPeriod: unknown field, did you mean scaledownPeriod?",
            "spec.scaleTargetRef.portname: unknown field, did you mean portName?",
        ]
    );
    let errors = refused::<HTTPScaledObject>(&object);
    assert_eq!(errors.len(), findings.errors.len() + findings.unknown.len());
}

#[test]
fn the_bounds_of_the_schema_are_the_api_servers() {
    let with = |field: &str, value: Value| {
        let mut spec = json!({
            "target": { "service": "app", "port": 80 },
            "scalingMetric": { "concurrency": { "targetValue": 1 } },
        });
        spec[field] = value;
        let findings = check::<InterceptorRoute>(&interceptor_route(spec));
        assert_eq!(findings.unknown, []);
        texts(&findings.errors)
    };
    let placeholder = |response: Value| json!({ "placeholder": { "response": response } });
    for (field, value, expected) in [
        (
            "target",
            json!({ "service": "app", "port": 65_536 }),
            "spec.target.port: must be from 1 to 65535, not 65536",
        ),
        (
            "target",
            json!({ "service": "", "port": 80 }),
            "spec.target.service: must not be empty",
        ),
        (
            "scalingMetric",
            json!({ "concurrency": { "targetValue": 0 } }),
            "spec.scalingMetric.concurrency.targetValue: must be at least 1, not 0",
        ),
        (
            "staticRoutes",
            json!([{ "rules": [], "response": {} }]),
            "spec.staticRoutes[0].rules: must have at least 1 entry",
        ),
        (
            "staticRoutes",
            json!([{ "rules": [{}], "response": {}, "responseMode": "Sometimes" }]),
            r#"spec.staticRoutes[0].responseMode: must be "Always" or "WhenUnavailable", not "Sometimes""#,
        ),
        (
            "coldStart",
            json!({ "maxPendingRequests": 1, "overflow": "Drop" }),
            r#"spec.coldStart.overflow: must be "Reject" or "Placeholder", not "Drop""#,
        ),
        (
            "coldStart",
            placeholder(json!({ "statusCode": 600 })),
            "spec.coldStart.placeholder.response.statusCode: must be from 100 to 599, not 600",
        ),
        (
            "coldStart",
            placeholder(json!({ "body": "x".repeat(32_769) })),
            "spec.coldStart.placeholder.response.body: must have at most 32768 characters",
        ),
        (
            "coldStart",
            placeholder(json!({ "headers": { "Retry-After": 5 } })),
            "spec.coldStart.placeholder.response.headers.Retry-After: must be a string, not the number 5",
        ),
        (
            "rules",
            json!([{ "hosts": ["a.b", "c.d", "a.b"] }]),
            r#"spec.rules[0].hosts[2]: "a.b" is listed twice"#,
        ),
        (
            "rules",
            json!([{ "headers": [{ "name": "X" }, { "name": "X", "value": "1" }] }]),
            r#"spec.rules[0].headers[1]: "X" is listed twice"#,
        ),
    ] {
        assert_eq!(with(field, value.clone()), [expected], "{field}: {value}");
    }
    assert_eq!(
        with(
            "rules",
            json!([{ "paths": [{ "value": "/a" }, { "value": "/a" }] }])
        ),
        Vec::<String>::new()
    );
    assert_eq!(
        with("coldStart", placeholder(json!({ "body": "x".repeat(32_768) }))),
        Vec::<String>::new()
    );
}

#[test]
fn rules_between_fields_are_applied_after_the_schema() {
    let object = interceptor_route(json!({
        "target": { "service": "app", "port": 80, "portName": "http" },
        "scalingMetric": {},
    }));
    assert_eq!(check::<InterceptorRoute>(&object), Findings::default());
    assert_eq!(
        refused::<InterceptorRoute>(&object),
        [
            "spec.target: exactly one of 'port' or 'portName' must be set",
            "spec.scalingMetric: at least one of 'concurrency' or 'requestRate' must be set",
        ]
    );
}

#[test]
fn another_kind_or_version_is_refused() {
    let mut object = http_scaled_object(json!({ "scaleTargetRef": { "service": "app", "port": 80 } }));
    object["apiVersion"] = json!("http.keda.sh/v1beta1");
    assert_eq!(
        refused::<HTTPScaledObject>(&object),
        [r#"apiVersion: must be "http.keda.sh/v1alpha1", not "http.keda.sh/v1beta1""#]
    );
    object["apiVersion"] = json!("http.keda.sh/v1alpha1");
    object["kind"] = json!("HttpScaledObject");
    assert_eq!(
        refused::<HTTPScaledObject>(&object),
        [r#"kind: must be "HTTPScaledObject", not "HttpScaledObject""#]
    );
}

#[test]
fn metadata_is_checked_like_the_rest() {
    let mut object = http_scaled_object(json!({ "scaleTargetRef": { "service": "app", "port": 80 } }));
    object["metadata"] = json!({
        "name": "app",
        "namespace": 5,
        "label": {},
        "labels": { "app.kubernetes.io/version": 1.5 },
        "annotations": { "a": "b" },
        "creationTimestamp": "2026-11-22T18:00:00Z",
        "ownerReferences": [{ "apiVersion": "v1", "kind": "A", "name": "a", "uid": "u", "blockOwnerDeletion": 1 }],
    });
    let findings = check::<HTTPScaledObject>(&object);
    assert_eq!(
        texts(&findings.errors),
        [
            "metadata.labels.app.kubernetes.io/version: must be a string, not the number 1.5",
            "metadata.namespace: must be a string, not the number 5",
            "metadata.ownerReferences[0].blockOwnerDeletion: must be a boolean, not the number 1",
        ]
    );
    assert_eq!(texts(&findings.unknown), ["metadata.label: unknown field"]);

    object["metadata"] = json!({ "namespace": "default" });
    assert_eq!(
        refused::<HTTPScaledObject>(&object),
        ["metadata.name: must be set"]
    );
}

#[test]
fn what_is_no_object_at_all_is_refused() {
    for value in [
        json!(null),
        json!([]),
        json!("text"),
        json!({}),
        json!({ "spec": [] }),
    ] {
        assert!(!refused::<HTTPScaledObject>(&value).is_empty(), "{value}");
        assert!(!refused::<InterceptorRoute>(&value).is_empty(), "{value}");
    }
    let without_spec = json!({
        "apiVersion": "http.keda.sh/v1alpha1",
        "kind": "HTTPScaledObject",
        "metadata": { "name": "app" },
    });
    assert_eq!(refused::<HTTPScaledObject>(&without_spec), ["spec: must be set"]);
}
