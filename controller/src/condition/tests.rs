use rouse_api::condition::{ACCEPTED, GATEWAY_READY, READY, SCALER_READY, TARGET_FOUND, WAITING_FOR_NODE};
use rouse_routing::RouteKind;
use serde_json::{Value, json};

use super::*;
use crate::observed::{
    Engine, Existence, Observed, Route,
    testing::{
        add_target, autoscaler, cluster, http_scaled_object, id, interceptor_route, route, says,
        scaled_object, service,
    },
};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Status and reason, as a table shows them.
fn short(finding: &Finding) -> (&'static str, &'static str) {
    (finding.status.as_str(), finding.reason)
}

// === from findings to a status ===

#[test]
fn a_condition_keeps_its_time_while_its_status_stays() {
    let early = time("2026-01-01T00:00:00Z");
    let late = time("2026-01-02T00:00:00Z");
    let before = [
        Finding::holds(READY, "Reconciled", ""),
        Finding::holds(ACCEPTED, "Accepted", ""),
    ];
    let live = conditions(&before, &[], 1, early);
    let after = [
        Finding::holds(ACCEPTED, "Accepted", "another text"),
        Finding::fails(READY, "Invalid", "no"),
        Finding::holds(TARGET_FOUND, "Found", ""),
    ];
    let desired = conditions(&after, &live, 2, late);
    let seen: Vec<_> = desired
        .iter()
        .map(|condition| {
            let since = condition.last_transition_time.0;
            (condition.type_.as_str(), condition.observed_generation, since)
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("Ready", Some(2), late),
            ("Accepted", Some(2), early),
            ("TargetFound", Some(2), late)
        ]
    );
}

#[test]
fn a_status_is_written_when_one_of_rouses_conditions_differs() {
    let now = time("2026-01-01T00:00:00Z");
    let ready = [Finding::holds(READY, "Reconciled", "")];
    let desired = conditions(&ready, &[], 1, now);
    let mut live = desired.clone();
    live.insert(
        0,
        Condition {
            type_: "SomebodyElses".to_owned(),
            ..desired[0].clone()
        },
    );
    assert!(
        are_written(&desired, &live),
        "others' conditions make no difference"
    );
    assert!(!are_written(&desired, &[]));
    assert!(
        !are_written(&conditions(&ready, &live, 2, now), &live),
        "the generation"
    );
    live.push(Condition {
        type_: WAITING_FOR_NODE.to_owned(),
        ..desired[0].clone()
    });
    assert!(!are_written(&desired, &live), "one is to go");
}

#[test]
fn a_long_message_is_cut_at_a_character() {
    let finding = Finding::fails(READY, "Invalid", "ä".repeat(MAX_MESSAGE));
    assert!(finding.message.len() <= MAX_MESSAGE);
    assert!(finding.message.ends_with('…'));
    let whole = "x".repeat(MAX_MESSAGE);
    assert_eq!(Finding::fails(READY, "Invalid", whole.clone()).message, whole);
}

// === Accepted ===

#[test]
fn what_can_be_served_is_accepted() {
    let mut observed = cluster();
    let cases: Vec<(&str, Route, (&str, &str))> = vec![
        (
            "good",
            http_scaled_object("a/good", 9, &json!({})),
            ("True", "Accepted"),
        ),
        (
            "invalid",
            http_scaled_object("a/invalid", 8, &json!({ "replicas": { "min": 3, "max": 1 } })),
            ("False", "Invalid"),
        ),
        (
            "both metrics",
            http_scaled_object(
                "a/both",
                8,
                &json!({ "scalingMetric": { "concurrency": {}, "requestRate": {} } }),
            ),
            ("False", "Invalid"),
        ),
        (
            "unreadable",
            route(
                RouteKind::HttpScaledObject,
                "a/torn",
                8,
                &json!({}),
                &json!({ "scaleTargetRef": 1 }),
            ),
            ("False", "Invalid"),
        ),
        (
            "same host in its namespace",
            http_scaled_object("a/again", 7, &json!({ "hosts": ["a.good.test"] })),
            ("False", "HostConflict"),
        ),
        (
            "same host, another path",
            http_scaled_object(
                "a/path",
                7,
                &json!({ "hosts": ["a.good.test"], "pathPrefixes": ["/x"] }),
            ),
            ("True", "Accepted"),
        ),
        (
            "same host in another namespace",
            http_scaled_object(
                "b/thief",
                6,
                &json!({ "hosts": ["a.good.test"], "pathPrefixes": ["/y"] }),
            ),
            ("False", "HostOwnedByOtherNamespace"),
        ),
        (
            "replaced",
            http_scaled_object("c/both", 6, &json!({})),
            ("False", "Superseded"),
        ),
        (
            "replacing",
            interceptor_route("c/both", 5, &json!({})),
            ("True", "Accepted"),
        ),
    ];
    for (_, route, _) in &cases {
        observed.apply_route(route.clone());
    }
    observed.settle();
    for (name, route, expected) in &cases {
        assert_eq!(short(&accepted::find(&observed, route)), *expected, "{name}");
    }
    let conflict = accepted::find(&observed, &cases[4].1).message;
    assert!(conflict.contains("a.good.test/"), "{conflict}");
    assert!(conflict.contains("a/good"), "{conflict}");
}

#[test]
fn what_is_served_differently_is_said() {
    let mut observed = cluster();
    let empty = interceptor_route("a/empty", 1, &json!({ "rules": [] }));
    observed.apply_route(empty.clone());
    observed.settle();
    let finding = accepted::find(&observed, &empty);
    assert_eq!(short(&finding), ("True", "Accepted"));
    assert!(
        finding.message.contains("matches no request"),
        "{}",
        finding.message
    );
}

// === TargetFound ===

fn target_of(observed: &mut Observed, changes: &Value) -> Finding {
    let route = http_scaled_object("a/one", 1, changes);
    observed.apply_route(route.clone());
    target_found::find(observed, &route)
}

#[test]
fn a_target_is_found_when_everything_that_is_named_is_there() {
    let target = |changes: Value| json!({ "scaleTargetRef": changes });
    let mut observed = cluster();
    add_target(&mut observed, "a");
    let (name, external) = service("a", "far", &json!({ "type": "ExternalName" }));
    observed.apply_service(name, external);
    let (name, headless) = service("a", "headless", &json!({ "clusterIP": "None" }));
    observed.apply_service(name, headless);
    let (name, udp) = service(
        "a",
        "udp",
        &json!({ "ports": [{ "port": 80, "protocol": "UDP" }] }),
    );
    observed.apply_service(name, udp);
    let failover =
        |service: &str| json!({ "coldStartTimeoutFailoverRef": { "service": service, "port": 80 } });
    let cases = [
        (json!({}), ("True", "Found")),
        (
            target(json!({ "port": null, "portName": "http" })),
            ("True", "Found"),
        ),
        (
            target(json!({ "service": "headless", "port": 9898 })),
            ("True", "Found"),
        ),
        (target(json!({ "service": "none" })), ("False", "ServiceNotFound")),
        (target(json!({ "port": 81 })), ("False", "PortNotFound")),
        (
            target(json!({ "port": null, "portName": "grpc" })),
            ("False", "PortNotFound"),
        ),
        (target(json!({ "service": "udp" })), ("False", "PortNotFound")),
        (target(json!({ "service": "far" })), ("False", "ExternalName")),
        (target(json!({ "name": "none" })), ("False", "WorkloadNotFound")),
        (
            target(json!({ "kind": "StatefulSet" })),
            ("False", "WorkloadNotFound"),
        ),
        (
            target(json!({ "kind": "Rollout", "apiVersion": "argoproj.io/v1alpha1" })),
            ("Unknown", "WorkloadUnknown"),
        ),
        (failover("none"), ("False", "ServiceNotFound")),
        (failover("far"), ("True", "Found")),
    ];
    for (changes, expected) in cases {
        assert_eq!(short(&target_of(&mut observed, &changes)), expected, "{changes}");
    }
    let all = target_of(
        &mut observed,
        &target(json!({ "service": "none", "name": "neither" })),
    );
    assert!(
        all.message.contains("Service none") && all.message.contains("Deployment neither"),
        "both are named: {}",
        all.message
    );
    let port = target_of(&mut observed, &target(json!({ "port": 81 })));
    assert!(
        port.message.contains("80 (http)"),
        "what there is: {}",
        port.message
    );
}

#[test]
fn a_workload_that_was_looked_up_is_found_or_not() {
    let rollout = json!({ "scaleTargetRef": { "kind": "Rollout", "apiVersion": "argoproj.io/v1alpha1" } });
    let mut observed = cluster();
    add_target(&mut observed, "a");
    target_of(&mut observed, &rollout);
    let workload = observed.route(&id("a/one")).unwrap().workload().unwrap();
    for (existence, expected) in [
        (Existence::Exists, ("True", "Found")),
        (Existence::Missing, ("False", "WorkloadNotFound")),
        (
            Existence::Unknown("forbidden".into()),
            ("Unknown", "WorkloadUnknown"),
        ),
    ] {
        observed.workload_looked_up(&workload, existence);
        assert_eq!(short(&target_of(&mut observed, &rollout)), expected);
    }
}

// === ScalerReady ===

fn scaler_of(observed: &Observed, name: &str) -> Option<(&'static str, &'static str)> {
    let route = observed.route(&id(name)).unwrap();
    scaler_ready::find(observed, route, None).as_ref().map(short)
}

#[test]
fn the_scaler_is_as_ready_as_keda_says() {
    let mut observed = cluster();
    observed.apply_route(http_scaled_object("a/app", 1, &json!({})));
    assert_eq!(scaler_of(&observed, "a/app"), Some(("Unknown", "Pending")));
    let owned = json!({ "metadata": { "ownerReferences": [
        { "apiVersion": "v1", "kind": "HTTPScaledObject", "name": "app", "uid": "uid-a-app" },
    ] } });
    let paused = json!({ "metadata": { "annotations": { "autoscaling.keda.sh/paused": "true" } } });
    let going = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } });
    let cases = [
        (vec![owned.clone()], ("Unknown", "Pending")),
        (
            vec![owned.clone(), says("True", "")],
            ("True", "ScaledObjectReady"),
        ),
        (vec![owned.clone(), says("True", ""), paused], ("True", "Paused")),
        (
            vec![owned.clone(), says("False", "no metric specs")],
            ("False", "ScaledObjectNotReady"),
        ),
        (
            vec![owned.clone(), says("True", ""), going],
            ("False", "ScaledObjectNotReady"),
        ),
        (vec![owned, says("Unknown", "")], ("Unknown", "Pending")),
    ];
    for (changes, expected) in cases {
        let mut all = json!({});
        for changes in &changes {
            crate::observed::testing::merge(&mut all, changes);
        }
        observed.apply_scaled_object(scaled_object("a/app", &all));
        assert_eq!(scaler_of(&observed, "a/app"), Some(expected), "{all}");
    }
}

#[test]
fn without_keda_nothing_is_scaled() {
    let mut observed = cluster();
    observed.apply_route(http_scaled_object("a/app", 1, &json!({})));
    observed.set_engine(Engine::Missing);
    assert_eq!(scaler_of(&observed, "a/app"), Some(("False", "KedaMissing")));
}

#[test]
fn a_workload_that_another_scales_is_left_to_it() {
    let mut observed = cluster();
    observed.apply_route(http_scaled_object("a/app", 1, &json!({})));
    let (name, hpa) = autoscaler("a", "by-hand", &json!([]));
    observed.apply_autoscaler(name.clone(), hpa);
    assert_eq!(scaler_of(&observed, "a/app"), Some(("False", "ConflictingHPA")));

    observed.apply_scaled_object(scaled_object("a/by-hand", &json!({})));
    assert_eq!(
        scaler_of(&observed, "a/app"),
        Some(("False", "ConflictingScaledObject"))
    );
    observed.delete_scaled_object(&crate::observed::ObjectName::new("a", "by-hand"));

    let of_keda =
        json!([{ "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "app", "uid": "so-app" }]);
    let (_, hpa) = autoscaler("a", "by-hand", &of_keda);
    observed.apply_autoscaler(name, hpa);
    assert_eq!(scaler_of(&observed, "a/app"), Some(("Unknown", "Pending")));
}

#[test]
fn of_two_routes_of_one_workload_the_older_scales_it() {
    let mut observed = cluster();
    observed.apply_route(http_scaled_object("a/old", 5, &json!({})));
    observed.apply_route(http_scaled_object("a/young", 1, &json!({})));
    assert_eq!(scaler_of(&observed, "a/old"), Some(("Unknown", "Pending")));
    assert_eq!(
        scaler_of(&observed, "a/young"),
        Some(("False", "ConflictingScaledObject"))
    );

    // Also where the younger one's exists already, from a time without KEDA's webhook.
    let owned = json!({
        "metadata": { "ownerReferences": [
            { "apiVersion": "v1", "kind": "HTTPScaledObject", "name": "young", "uid": "uid-a-young" },
        ] },
    });
    observed.apply_scaled_object(scaled_object("a/young", &owned));
    assert_eq!(scaler_of(&observed, "a/old"), Some(("Unknown", "Pending")));
    assert_eq!(
        scaler_of(&observed, "a/young"),
        Some(("False", "ConflictingScaledObject"))
    );
}

#[test]
fn a_refusal_is_told_in_the_api_servers_words() {
    let mut observed = cluster();
    let route = http_scaled_object("a/app", 1, &json!({}));
    observed.apply_route(route.clone());
    let finding = scaler_ready::find(&observed, &route, Some("denied: no")).unwrap();
    assert_eq!(short(&finding), ("False", "CreateError"));
    assert_eq!(finding.message, "denied: no");
}

#[test]
fn routes_without_a_scaled_object_say_nothing_of_it() {
    let mut observed = cluster();
    let written = interceptor_route("a/app", 1, &json!({}));
    observed.apply_route(written.clone());
    assert_eq!(scaler_ready::find(&observed, &written, None), None);

    let mut by_hand = json!({ "spec": { "triggers": [{ "metadata": { "interceptorRoute": "app" } }] } });
    crate::observed::testing::merge(&mut by_hand, &says("False", "no scaler"));
    observed.apply_scaled_object(scaled_object("a/by-hand", &by_hand));
    let finding = scaler_ready::find(&observed, &written, None).unwrap();
    assert_eq!(short(&finding), ("False", "ScaledObjectNotReady"));
}

// === Ready ===

#[test]
fn ready_follows_the_first_of_the_others_that_fails() {
    let good = || {
        vec![
            Finding::holds(ACCEPTED, "Accepted", ""),
            Finding::holds(TARGET_FOUND, "Found", ""),
        ]
    };
    let with = |more: Vec<Finding>| {
        let mut findings = more;
        findings.extend(good());
        short(&ready::find(&findings, ""))
    };
    assert_eq!(with(vec![]), ("True", "Reconciled"));
    assert_eq!(
        with(vec![Finding::unknown(SCALER_READY, "Pending", "")]),
        ("True", "Reconciled")
    );
    assert_eq!(
        with(vec![Finding::fails(GATEWAY_READY, "NoRoute", "")]),
        ("False", "NoRoute")
    );
    assert_eq!(
        with(vec![Finding::holds(WAITING_FOR_NODE, "Unschedulable", "")]),
        ("True", "Reconciled")
    );
    assert_eq!(
        with(vec![
            Finding::fails(GATEWAY_READY, "NoRoute", ""),
            Finding::fails(SCALER_READY, "KedaMissing", "")
        ]),
        ("False", "KedaMissing")
    );
}
