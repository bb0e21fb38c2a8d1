use serde_json::{Value, json};

use super::*;

/// An object that is as small as one can be, with `changes` merged into its spec.
fn object(changes: Value) -> HTTPScaledObject {
    let mut spec = json!({ "scaleTargetRef": { "name": "app", "service": "app", "port": 8000 } });
    merge(&mut spec, changes);
    serde_json::from_value(json!({
        "apiVersion": "http.keda.sh/v1alpha1",
        "kind": "HTTPScaledObject",
        "metadata": { "name": "app", "namespace": "default" },
        "spec": spec,
    }))
    .expect("an HTTPScaledObject")
}

/// A JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    target.remove(&name);
                } else {
                    merge(target.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch,
    }
}

fn errors(changes: Value) -> Vec<String> {
    object(changes)
        .validate()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn every_field_survives_a_round_trip() {
    let written = json!({
        "apiVersion": "http.keda.sh/v1alpha1",
        "kind": "HTTPScaledObject",
        "metadata": { "name": "app", "namespace": "default" },
        "spec": {
            "hosts": ["a.example.com", "*.example.com"],
            "pathPrefixes": ["/api", "/v1"],
            "headers": [{ "name": "X-Tenant", "value": "a" }, { "name": "X-Beta" }],
            "scaleTargetRef": {
                "name": "app",
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "service": "app",
                "portName": "http",
            },
            "coldStartTimeoutFailoverRef": { "service": "sorry", "port": 80, "timeoutSeconds": 7 },
            "replicas": { "min": 1, "max": 5 },
            "targetPendingRequests": 20,
            "scaledownPeriod": 60,
            "initialCooldownPeriod": 10,
            "scalingMetric": {
                "concurrency": { "targetValue": 10 },
                "requestRate": { "targetValue": 5, "window": "30s", "granularity": "2s" },
            },
            "timeouts": { "conditionWait": "20s", "responseHeader": "500ms" },
        },
        "status": {
            "targetWorkload": "apps/v1/StatefulSet/app",
            "targetService": "app:http",
            "conditions": [{
                "type": "Ready",
                "status": "True",
                "reason": "Reconciled",
                "message": "",
                "lastTransitionTime": "2026-11-22T18:00:00Z",
                "observedGeneration": 3,
            }],
        },
    });
    let object: HTTPScaledObject = serde_json::from_value(written.clone()).expect("an HTTPScaledObject");
    assert_eq!(serde_json::to_value(&object).expect("json"), written);
}

#[test]
fn the_api_servers_defaults_are_filled_in_without_one_and_no_others() {
    let object = object(json!({
        "coldStartTimeoutFailoverRef": { "service": "sorry", "port": 80 },
        "scalingMetric": { "concurrency": {}, "requestRate": {} },
    }));
    let written = serde_json::to_value(&object.spec).expect("json");
    assert_eq!(
        written,
        json!({
            "scaleTargetRef": { "name": "app", "service": "app", "port": 8000 },
            "coldStartTimeoutFailoverRef": { "service": "sorry", "port": 80, "timeoutSeconds": 30 },
            "scalingMetric": {
                "concurrency": { "targetValue": 100 },
                "requestRate": { "targetValue": 100, "window": "1m0s", "granularity": "1s" },
            },
        })
    );
}

#[test]
fn fields_of_a_later_version_are_let_through() {
    let object = object(json!({ "notYetKnown": { "a": 1 }, "scaleTargetRef": { "weight": 3 } }));
    assert_eq!(object.validate(), []);
}

#[test]
fn the_smallest_object_is_valid() {
    assert_eq!(errors(json!({})), Vec::<String>::new());
    assert_eq!(
        errors(json!({ "scaleTargetRef": { "port": null, "portName": "http" } })),
        Vec::<String>::new()
    );
}

#[test]
fn each_rule_refuses_what_is_just_beyond_it() {
    let port_rule = "must define either the 'portName' or the 'port'";
    let cases = [
        (json!({ "scaleTargetRef": { "port": null } }), format!("spec.scaleTargetRef: {port_rule}")),
        (json!({ "scaleTargetRef": { "portName": "http" } }), format!("spec.scaleTargetRef: {port_rule}")),
        (
            json!({ "scaleTargetRef": { "port": 0 } }),
            "spec.scaleTargetRef.port: must be from 1 to 65535, not 0".into(),
        ),
        (
            json!({ "scaleTargetRef": { "port": 65_536 } }),
            "spec.scaleTargetRef.port: must be from 1 to 65535, not 65536".into(),
        ),
        (
            json!({ "scaleTargetRef": { "port": null, "portName": "" } }),
            "spec.scaleTargetRef.portName: must not be empty".into(),
        ),
        (
            json!({ "scaleTargetRef": { "apiVersion": "apps" } }),
            "spec.scaleTargetRef.apiVersion: must be a group and a version, such as apps/v1, not \"apps\"".into(),
        ),
        (
            json!({ "scaleTargetRef": { "apiVersion": "apps/v1beta1" } }),
            "spec.scaleTargetRef.apiVersion: must be apps/v1, the only version of its group, not \"apps/v1beta1\"".into(),
        ),
        (
            json!({ "scaleTargetRef": { "apiVersion": "Argo Proj/v1", "kind": "Rollout" } }),
            "spec.scaleTargetRef.apiVersion: must be a group and a version, such as apps/v1, not \"Argo Proj/v1\"".into(),
        ),
        (
            json!({ "scaleTargetRef": { "kind": "deployment" } }),
            "spec.scaleTargetRef.kind: \"deployment\" is none of the kinds in apps/v1 that can be scaled: Deployment, \
             StatefulSet, ReplicaSet".into(),
        ),
        (
            json!({ "scaleTargetRef": { "apiVersion": "v1" } }),
            "spec.scaleTargetRef.kind: \"Deployment\" is none of the kinds in v1 that can be scaled: \
             ReplicationController".into(),
        ),
        (
            json!({ "scaleTargetRef": { "apiVersion": "argoproj.io/v1alpha1", "kind": "Roll out" } }),
            "spec.scaleTargetRef.kind: \"Roll out\" cannot be a kind".into(),
        ),
        // One message, of the first thing that is wrong.
        (
            json!({ "scaleTargetRef": { "name": "My_App", "kind": "deployment" } }),
            "spec.scaleTargetRef.kind: \"deployment\" is none of the kinds in apps/v1 that can be scaled: Deployment, \
             StatefulSet, ReplicaSet".into(),
        ),
        (
            json!({ "scaleTargetRef": { "name": "My_App" } }),
            "spec.scaleTargetRef.name: \"My_App\" cannot be the name of a Deployment: lower-case letters, digits, '-' \
             and '.'".into(),
        ),
        (
            json!({ "scaleTargetRef": { "service": "" } }),
            "spec.scaleTargetRef.service: must not be empty".into(),
        ),
        (
            json!({ "coldStartTimeoutFailoverRef": { "service": "sorry" } }),
            format!("spec.coldStartTimeoutFailoverRef: {port_rule}"),
        ),
        (
            json!({ "coldStartTimeoutFailoverRef": { "service": "", "port": 80 } }),
            "spec.coldStartTimeoutFailoverRef.service: must not be empty".into(),
        ),
        (
            json!({ "coldStartTimeoutFailoverRef": { "service": "sorry", "port": 80, "timeoutSeconds": -1 } }),
            "spec.coldStartTimeoutFailoverRef.timeoutSeconds: must be at least 0, not -1".into(),
        ),
        (
            json!({ "hosts": ["ok.example.com", "http://example.com"] }),
            "spec.hosts[1]: \"http://example.com\" matches no host: neither a scheme nor a path belongs here, \
             and a port is a number"
                .into(),
        ),
        (json!({ "headers": [{ "name": "" }] }), "spec.headers[0].name: must not be empty".into()),
        (
            json!({ "headers": [{ "name": "X-A" }, { "name": "X-A", "value": "1" }] }),
            "spec.headers[1].name: \"X-A\" is listed twice".into(),
        ),
        (json!({ "replicas": { "min": -1 } }), "spec.replicas.min: must be at least 0, not -1".into()),
        (json!({ "replicas": { "max": 0 } }), "spec.replicas.max: must be at least 1, not 0".into()),
        (
            json!({ "replicas": { "min": 4, "max": 3 } }),
            "spec.replicas: min (4) must not be above max (3)".into(),
        ),
        (
            json!({ "replicas": { "min": 101 } }),
            "spec.replicas: min (101) must not be above max (100)".into(),
        ),
        (
            json!({ "targetPendingRequests": 0 }),
            "spec.targetPendingRequests: must be at least 1, not 0".into(),
        ),
        (json!({ "scaledownPeriod": -1 }), "spec.scaledownPeriod: must be at least 0, not -1".into()),
        (
            json!({ "initialCooldownPeriod": -1 }),
            "spec.initialCooldownPeriod: must be at least 0, not -1".into(),
        ),
        (
            json!({ "scalingMetric": { "concurrency": {}, "requestRate": {} } }),
            "spec.scalingMetric: 'concurrency' and 'requestRate' exclude each other".into(),
        ),
        (
            json!({ "scalingMetric": { "concurrency": { "targetValue": 0 } } }),
            "spec.scalingMetric.concurrency.targetValue: must be at least 1, not 0".into(),
        ),
        (
            json!({ "scalingMetric": { "requestRate": { "targetValue": -7 } } }),
            "spec.scalingMetric.requestRate.targetValue: must be at least 1, not -7".into(),
        ),
    ];
    for (changes, expected) in cases {
        assert_eq!(errors(changes.clone()), [expected], "{changes}");
    }
}

#[test]
fn each_rule_accepts_what_is_just_within_it() {
    for changes in [
        json!({ "scaleTargetRef": { "port": 1 } }),
        json!({ "scaleTargetRef": { "name": "app.v2", "kind": "StatefulSet" } }),
        json!({ "scaleTargetRef": { "apiVersion": "v1", "kind": "ReplicationController" } }),
        json!({ "scaleTargetRef": { "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout" } }),
        json!({ "scaleTargetRef": { "name": "", "kind": "", "apiVersion": "" } }),
        // Without a name there is nothing to scale, and the rest has no meaning.
        json!({ "scaleTargetRef": { "name": null, "kind": "deployment" } }),
        json!({ "scaleTargetRef": { "port": 65_535 } }),
        json!({ "coldStartTimeoutFailoverRef": { "service": "s", "port": 80, "timeoutSeconds": 0 } }),
        json!({ "hosts": [], "pathPrefixes": [], "headers": [] }),
        json!({ "hosts": ["*", "", "*.example.com", "a.example.com:8080"] }),
        json!({ "pathPrefixes": ["", "/", "api/"] }),
        json!({ "headers": [{ "name": "X-A", "value": "" }] }),
        json!({ "replicas": { "min": 0, "max": 1 } }),
        json!({ "replicas": { "min": 3, "max": 3 } }),
        json!({ "replicas": { "min": 100 } }),
        json!({ "targetPendingRequests": 1, "scaledownPeriod": 0, "initialCooldownPeriod": 0 }),
        json!({ "scalingMetric": {} }),
        json!({ "scalingMetric": { "concurrency": { "targetValue": 1 } } }),
        json!({ "scalingMetric": { "requestRate": { "targetValue": 1, "window": "0", "granularity": "1h" } } }),
    ] {
        assert_eq!(errors(changes.clone()), Vec::<String>::new(), "{changes}");
    }
}

#[test]
fn a_duration_that_is_none_does_not_parse() {
    for (path, changes) in [
        ("negative", json!({ "timeouts": { "conditionWait": "-1s" } })),
        ("unit", json!({ "timeouts": { "responseHeader": "30" } })),
        (
            "unit",
            json!({ "scalingMetric": { "requestRate": { "window": "1d" } } }),
        ),
    ] {
        let mut spec = json!({ "scaleTargetRef": { "service": "app", "port": 80 } });
        merge(&mut spec, changes);
        let error = serde_json::from_value::<HTTPScaledObjectSpec>(spec).expect_err("no duration");
        assert!(error.to_string().contains(path), "{error}");
    }
}

#[test]
fn scales_on_what_the_add_on_would() {
    let minute = Duration::from_mins(1);
    let second = Duration::from_secs(1);
    let cases = [
        (json!({}), Metric::Concurrency { target: 100 }),
        (
            json!({ "targetPendingRequests": 7 }),
            Metric::Concurrency { target: 7 },
        ),
        (
            json!({ "scalingMetric": {} }),
            Metric::Concurrency { target: 100 },
        ),
        (
            json!({ "targetPendingRequests": 7, "scalingMetric": {} }),
            Metric::Concurrency { target: 7 },
        ),
        // The newer field goes before the older, also with its default.
        (
            json!({ "targetPendingRequests": 7, "scalingMetric": { "concurrency": {} } }),
            Metric::Concurrency { target: 100 },
        ),
        (
            json!({ "targetPendingRequests": 7, "scalingMetric": { "concurrency": { "targetValue": 9 } } }),
            Metric::Concurrency { target: 9 },
        ),
        (
            json!({ "targetPendingRequests": 7, "scalingMetric": { "requestRate": {} } }),
            Metric::RequestRate {
                target: 100,
                window: minute,
                granularity: second,
            },
        ),
        (
            json!({ "scalingMetric": { "requestRate": { "targetValue": 10, "window": "30s", "granularity": "5s" } } }),
            Metric::RequestRate {
                target: 10,
                window: Duration::from_secs(30),
                granularity: Duration::from_secs(5),
            },
        ),
        // What validation refuses still divides by something.
        (
            json!({ "scalingMetric": { "concurrency": { "targetValue": 0 } } }),
            Metric::Concurrency { target: 1 },
        ),
        (
            json!({ "targetPendingRequests": -3 }),
            Metric::Concurrency { target: 1 },
        ),
    ];
    for (changes, expected) in cases {
        assert_eq!(object(changes.clone()).metric(), expected, "{changes}");
    }
}

#[test]
fn warns_of_a_window_that_is_served_otherwise() {
    let rate =
        |window: &str| object(json!({ "scalingMetric": { "requestRate": { "window": window } } })).warnings();
    assert_eq!(rate("1h"), []);
    let warnings = rate("1000000h");
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].path, "spec.scalingMetric.requestRate.window");
}

#[test]
fn zero_and_unset_timeouts_are_the_interceptors_own() {
    let timeouts = |changes: Value| {
        let spec = object(changes).spec;
        (spec.readiness_timeout(), spec.response_header_timeout())
    };
    let secs = |secs| Some(Duration::from_secs(secs));
    let failover = |secs: i32| json!({ "service": "sorry", "port": 80, "timeoutSeconds": secs });

    assert_eq!(timeouts(json!({})), (None, None));
    assert_eq!(timeouts(json!({ "timeouts": {} })), (None, None));
    let zero = json!({ "timeouts": { "conditionWait": "0s", "responseHeader": "0s" } });
    assert_eq!(timeouts(zero), (None, None));
    let both = json!({ "timeouts": { "conditionWait": "20s", "responseHeader": "5s" } });
    assert_eq!(timeouts(both), (secs(20), secs(5)));

    let wait = json!({ "conditionWait": "20s" });
    let with = |failover: Value| json!({ "timeouts": wait, "coldStartTimeoutFailoverRef": failover });
    assert_eq!(timeouts(with(failover(7))), (secs(7), None));
    assert_eq!(timeouts(with(failover(0))), (secs(20), None));
    assert_eq!(timeouts(with(failover(-1))), (secs(20), None));
    assert_eq!(
        timeouts(with(json!({ "service": "sorry", "port": 80 }))),
        (secs(30), None)
    );
}

#[test]
fn replicas_and_cooldown_have_the_add_ons_defaults() {
    let of = |changes: Value| {
        let spec = object(changes).spec;
        (
            spec.min_replicas(),
            spec.max_replicas(),
            spec.cooldown_period().as_secs(),
        )
    };
    assert_eq!(of(json!({})), (0, 100, 300));
    assert_eq!(of(json!({ "replicas": {} })), (0, 100, 300));
    assert_eq!(
        of(json!({ "replicas": { "min": 1, "max": 5 }, "scaledownPeriod": 60 })),
        (1, 5, 60)
    );
    assert_eq!(
        of(json!({ "replicas": { "min": -1, "max": -1 }, "scaledownPeriod": -1 })),
        (0, 0, 0)
    );
}

#[test]
fn a_workload_without_kind_is_a_deployment() {
    let of = |changes: Value| object(json!({ "scaleTargetRef": changes })).spec.scale_target_ref;
    let deployment = Workload {
        api_version: "apps/v1",
        kind: "Deployment",
        name: "app",
    };
    assert_eq!(of(json!({})).workload(), Some(deployment));
    assert_eq!(
        of(json!({ "kind": "", "apiVersion": "" })).workload(),
        Some(deployment)
    );
    let rollout = of(json!({ "kind": "Rollout", "apiVersion": "argoproj.io/v1alpha1" }));
    assert_eq!(
        rollout.workload(),
        Some(Workload {
            api_version: "argoproj.io/v1alpha1",
            kind: "Rollout",
            name: "app"
        })
    );
    assert_eq!(of(json!({ "name": null })).workload(), None);
    assert_eq!(of(json!({ "name": "" })).workload(), None);
}
