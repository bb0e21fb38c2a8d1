//! Which endpoints a target has: every rule a case.

use k8s_openapi::api::discovery::v1::{EndpointPort, EndpointSlice};
use serde_json::json;

use super::*;
use crate::plan::{TargetProblem, UpstreamProtocol};

/// The index with a route to the port 80 of `chat`.
fn index() -> Index {
    let mut index = Index::new();
    index.apply_http_scaled_object(&http_scaled_object("chat", json!({})));
    index
}

/// The target `chat:80` after these objects, whatever the order they came in.
fn resolve(service: &Service, slices: &[EndpointSlice]) -> TargetConfig {
    let forwards = {
        let mut index = index();
        index.apply_service(service);
        for slice in slices {
            index.apply_endpoint_slice(slice);
        }
        index
    };
    let backwards = {
        let mut index = Index::new();
        for slice in slices.iter().rev() {
            index.apply_endpoint_slice(slice);
        }
        index.apply_service(service);
        index.apply_http_scaled_object(&http_scaled_object("chat", json!({})));
        index
    };
    let [forwards, backwards] = [forwards, backwards].map(|index| config_of(index, "chat"));
    assert_eq!(
        forwards, backwards,
        "the order of the objects makes no difference"
    );
    forwards
}

/// A target as it is: what a new route to it is told.
fn config_of(mut index: Index, service: &str) -> TargetConfig {
    index.delete_http_scaled_object(NAMESPACE, service);
    let changes = index.apply_http_scaled_object(&http_scaled_object(service, json!({})));
    let [(_, config)] = &changes.targets_upserted[..] else {
        panic!("one target, not {changes:?}");
    };
    config.clone()
}

const HTTP: (Option<&str>, i32) = (Some("http"), 80);
const POD_HTTP: (Option<&str>, i32) = (Some("http"), 8000);

#[test]
fn addresses_are_those_that_can_take_requests() {
    let a = || endpoint("10.0.0.1");
    let cases = [
        ("no endpoint", vec![], vec![]),
        ("conditions that say nothing", vec![a()], vec!["10.0.0.1:8000"]),
        (
            "ready unset",
            vec![with_conditions(a(), None, None)],
            vec!["10.0.0.1:8000"],
        ),
        (
            "ready",
            vec![with_conditions(a(), Some(true), Some(false))],
            vec!["10.0.0.1:8000"],
        ),
        ("not ready", vec![with_conditions(a(), Some(false), None)], vec![]),
        (
            "terminating, though ready",
            vec![with_conditions(a(), Some(true), Some(true))],
            vec![],
        ),
        (
            "terminating, ready unset",
            vec![with_conditions(a(), None, Some(true))],
            vec![],
        ),
        (
            "two, sorted",
            vec![endpoint("10.0.0.9"), a()],
            vec!["10.0.0.1:8000", "10.0.0.9:8000"],
        ),
        ("one listed twice", vec![a(), a()], vec!["10.0.0.1:8000"]),
        (
            "only the first address",
            vec![Endpoint {
                addresses: vec!["10.0.0.1".to_owned(), "10.0.0.2".to_owned()],
                ..Endpoint::default()
            }],
            vec!["10.0.0.1:8000"],
        ),
        ("no address", vec![Endpoint::default()], vec![]),
        (
            "no IP address",
            vec![endpoint("chat.example.com"), a()],
            vec!["10.0.0.1:8000"],
        ),
        ("IPv6", vec![endpoint("fd00::1")], vec!["[fd00::1]:8000"]),
    ];
    for (case, endpoints, expected) in cases {
        let config = resolve(
            &service("chat", &[HTTP]),
            &[slice("chat-1", "chat", &[POD_HTTP], &endpoints)],
        );
        assert_eq!(config.ready, addresses(&expected), "{case}");
        assert_eq!(config.problem, None, "{case}");
    }
}

#[test]
fn the_slices_port_is_the_one_of_the_service_ports_name() {
    let grpc = (Some("grpc"), 9000);
    let cases = [
        (
            "the named one of two",
            vec![HTTP, grpc],
            vec![POD_HTTP, (Some("grpc"), 9001)],
            vec!["10.0.0.1:8000"],
        ),
        (
            "unnamed, as an absent name",
            vec![(None, 80)],
            vec![(None, 8000)],
            vec!["10.0.0.1:8000"],
        ),
        (
            "unnamed, as an empty name",
            vec![(None, 80)],
            vec![(Some(""), 8000)],
            vec!["10.0.0.1:8000"],
        ),
        (
            "no slice port of that name",
            vec![HTTP],
            vec![(Some("other"), 8000)],
            vec![],
        ),
        ("no slice port", vec![HTTP], vec![], vec![]),
    ];
    for (case, service_ports, slice_ports, expected) in cases {
        let config = resolve(
            &service("chat", &service_ports),
            &[slice("chat-1", "chat", &slice_ports, &[endpoint("10.0.0.1")])],
        );
        assert_eq!(config.ready, addresses(&expected), "{case}");
        assert_eq!(config.problem, None, "{case}");
    }
}

#[test]
fn slices_may_give_one_port_different_numbers() {
    // A rollout that changes the container's port: old and new pods are in different slices.
    let config = resolve(
        &service("chat", &[HTTP]),
        &[
            slice("chat-1", "chat", &[(Some("http"), 8000)], &[endpoint("10.0.0.1")]),
            slice("chat-2", "chat", &[(Some("http"), 9000)], &[endpoint("10.0.0.2")]),
        ],
    );

    assert_eq!(config.ready, addresses(&["10.0.0.1:8000", "10.0.0.2:9000"]));
}

#[test]
fn ports_that_are_not_tcp_are_passed_over() {
    let mut service = service("chat", &[(Some("dns-udp"), 80), HTTP]);
    let ports = service
        .spec
        .as_mut()
        .and_then(|spec| spec.ports.as_mut())
        .expect("ports");
    ports[0].protocol = Some("UDP".to_owned());
    let mut slice = slice("chat-1", "chat", &[POD_HTTP], &[endpoint("10.0.0.1")]);
    slice.ports.as_mut().expect("ports").insert(
        0,
        EndpointPort {
            name: Some("http".to_owned()),
            port: Some(5353),
            protocol: Some("UDP".to_owned()),
            ..EndpointPort::default()
        },
    );

    assert_eq!(resolve(&service, &[slice]).ready, addresses(&["10.0.0.1:8000"]));
}

#[test]
fn a_dual_stack_pod_counts_once_and_by_its_ipv4_address() {
    let v4 = || endpoint("10.0.0.1");
    let v6 = || endpoint("fd00::1");
    let cases = [
        (
            "same uid",
            of_pod(v4(), "chat-x", Some("u1")),
            of_pod(v6(), "chat-x", Some("u1")),
            vec!["10.0.0.1:8000"],
        ),
        (
            "same name, no uid",
            of_pod(v4(), "chat-x", None),
            of_pod(v6(), "chat-x", None),
            vec!["10.0.0.1:8000"],
        ),
        (
            "two pods",
            of_pod(v4(), "chat-x", Some("u1")),
            of_pod(v6(), "chat-y", Some("u2")),
            vec!["10.0.0.1:8000", "[fd00::1]:8000"],
        ),
        (
            "a name used again",
            of_pod(v4(), "chat-0", Some("u1")),
            of_pod(v6(), "chat-0", Some("u2")),
            vec!["10.0.0.1:8000", "[fd00::1]:8000"],
        ),
        (
            "the IPv4 one is not ready",
            of_pod(with_conditions(v4(), Some(false), None), "chat-x", Some("u1")),
            of_pod(v6(), "chat-x", Some("u1")),
            vec!["[fd00::1]:8000"],
        ),
        (
            "no pods named",
            v4(),
            v6(),
            vec!["10.0.0.1:8000", "[fd00::1]:8000"],
        ),
    ];
    for (case, v4, v6, expected) in cases {
        let slices = [
            slice("chat-6", "chat", &[POD_HTTP], &[v6]),
            slice("chat-4", "chat", &[POD_HTTP], &[v4]),
        ];
        let config = resolve(&service("chat", &[HTTP]), &slices);
        assert_eq!(config.ready, addresses(&expected), "{case}");
    }
}

#[test]
fn an_endpoint_in_two_slices_counts_once() {
    // As while the control plane moves endpoints between slices.
    let slices = ["chat-1", "chat-2"].map(|name| slice(name, "chat", &[POD_HTTP], &[endpoint("10.0.0.1")]));

    assert_eq!(
        resolve(&service("chat", &[HTTP]), &slices).ready,
        addresses(&["10.0.0.1:8000"])
    );
}

#[test]
fn a_service_without_selector_is_served_from_slices_made_by_hand() {
    let slice = slice("by-hand", "chat", &[(None, 3000)], &[endpoint("192.0.2.7")]);

    assert_eq!(
        resolve(&service("chat", &[(None, 80)]), &[slice]).ready,
        addresses(&["192.0.2.7:3000"])
    );
}

#[test]
fn a_headless_service_is_called_on_the_pods_own_port() {
    let headless = |ports: &[(Option<&str>, i32)]| {
        let mut service = service("chat", ports);
        service.spec.as_mut().expect("a spec").cluster_ip = Some("None".to_owned());
        service
    };
    let cases = [
        (
            "with ports",
            headless(&[HTTP]),
            vec![POD_HTTP],
            vec!["10.0.0.1:8000"],
            None,
        ),
        ("without ports", headless(&[]), vec![], vec!["10.0.0.1:80"], None),
        (
            "without that port",
            headless(&[(Some("grpc"), 9000)]),
            vec![],
            vec![],
            Some(TargetProblem::PortNotFound),
        ),
    ];
    for (case, service, slice_ports, expected, problem) in cases {
        let slice = slice("chat-1", "chat", &slice_ports, &[endpoint("10.0.0.1")]);
        let config = resolve(&service, &[slice]);
        assert_eq!(config.ready, addresses(&expected), "{case}");
        assert_eq!(config.problem, problem, "{case}");
    }
}

#[test]
fn the_service_ports_app_protocol_says_what_is_spoken() {
    for (app_protocol, expected) in [
        (None, UpstreamProtocol::Http1),
        (Some("http"), UpstreamProtocol::Http1),
        (Some("kubernetes.io/ws"), UpstreamProtocol::Http1),
        (Some("kubernetes.io/h2c"), UpstreamProtocol::H2c),
    ] {
        let mut service = service("chat", &[HTTP]);
        let ports = service
            .spec
            .as_mut()
            .and_then(|spec| spec.ports.as_mut())
            .expect("ports");
        ports[0].app_protocol = app_protocol.map(str::to_owned);
        assert_eq!(resolve(&service, &[]).protocol, expected, "{app_protocol:?}");
    }
}

#[test]
fn what_cannot_be_resolved_says_why() {
    let slices = [slice("chat-1", "chat", &[POD_HTTP], &[endpoint("10.0.0.1")])];
    let mut external = service("chat", &[HTTP]);
    external.spec.as_mut().expect("a spec").type_ = Some("ExternalName".to_owned());

    for (case, service, problem) in [
        (
            "no such Service",
            service("other", &[HTTP]),
            TargetProblem::ServiceNotFound,
        ),
        (
            "no such port",
            service("chat", &[(Some("http"), 8080)]),
            TargetProblem::PortNotFound,
        ),
        ("no ports", service("chat", &[]), TargetProblem::PortNotFound),
        ("ExternalName", external, TargetProblem::ExternalName),
    ] {
        let config = resolve(&service, &slices);
        assert_eq!(config.problem, Some(problem), "{case}");
        assert_eq!(config.ready, [], "{case}");
    }
}

#[test]
fn a_port_may_be_named() {
    let mut index = Index::new();
    index.apply_service(&service("chat", &[HTTP]));
    index.apply_endpoint_slice(&slice("chat-1", "chat", &[POD_HTTP], &[endpoint("10.0.0.1")]));
    let to = |port: &str| json!({ "scaleTargetRef": { "service": "chat", "portName": port } });

    let found = index.apply_http_scaled_object(&http_scaled_object("chat", to("http")));
    assert_eq!(found.targets_upserted[0].0, named_key("chat", "http"));
    assert_eq!(found.targets_upserted[0].1.ready, addresses(&["10.0.0.1:8000"]));

    let missing = index.apply_http_scaled_object(&http_scaled_object("chat", to("metrics")));
    assert_eq!(
        missing.targets_upserted[0].1.problem,
        Some(TargetProblem::PortNotFound)
    );
    assert_eq!(missing.targets_removed, [named_key("chat", "http")]);
}

#[test]
fn a_change_of_endpoints_changes_that_target_and_no_other() {
    let mut index = index();
    index.apply_http_scaled_object(&http_scaled_object("other", json!({})));
    for name in ["chat", "other"] {
        index.apply_service(&service(name, &[HTTP]));
    }

    let changes = index.apply_endpoint_slice(&slice("chat-1", "chat", &[POD_HTTP], &[endpoint("10.0.0.1")]));

    let expected = TargetConfig {
        ready: addresses(&["10.0.0.1:8000"]),
        ..TargetConfig::default()
    };
    assert_eq!(
        changes,
        Changes {
            targets_upserted: vec![(key("chat", 80), expected)],
            ..Changes::default()
        }
    );
}

#[test]
fn what_makes_no_difference_changes_nothing() {
    let mut index = index();
    let service = service("chat", &[HTTP]);
    let ready = slice("chat-1", "chat", &[POD_HTTP], &[endpoint("10.0.0.1")]);
    index.apply_service(&service);
    index.apply_endpoint_slice(&ready);

    let mut labelled = ready.clone();
    labelled.metadata.resource_version = Some("2".to_owned());
    let starting = with_conditions(endpoint("10.0.0.2"), Some(false), None);
    for (case, changes) in [
        ("the Service again", index.apply_service(&service)),
        ("the slice again", index.apply_endpoint_slice(&ready)),
        ("another version of it", index.apply_endpoint_slice(&labelled)),
        (
            "a pod that is not ready",
            index.apply_endpoint_slice(&slice(
                "chat-1",
                "chat",
                &[POD_HTTP],
                &[endpoint("10.0.0.1"), starting],
            )),
        ),
        (
            "a slice that is not there",
            index.delete_endpoint_slice(NAMESPACE, "chat-9"),
        ),
        (
            "a Service that is not there",
            index.delete_service(NAMESPACE, "other"),
        ),
        (
            "a Service nobody routes to",
            index.apply_service(&super::service("other", &[HTTP])),
        ),
        (
            "a node that nobody waits for",
            index.set_waiting_for_node(NAMESPACE, "chat", false),
        ),
    ] {
        assert!(changes.is_empty(), "{case}: {changes:?}");
    }
}

#[test]
fn endpoints_go_with_their_slice() {
    let mut index = index();
    index.apply_service(&service("chat", &[HTTP]));
    for (name, address) in [("chat-1", "10.0.0.1"), ("chat-2", "10.0.0.2")] {
        index.apply_endpoint_slice(&slice(name, "chat", &[POD_HTTP], &[endpoint(address)]));
    }

    let changes = index.delete_endpoint_slice(NAMESPACE, "chat-1");

    assert_eq!(changes.targets_upserted[0].1.ready, addresses(&["10.0.0.2:8000"]));
}

#[test]
fn a_slice_that_changes_its_service_changes_both_targets() {
    let mut index = index();
    index.apply_http_scaled_object(&http_scaled_object("other", json!({})));
    for name in ["chat", "other"] {
        index.apply_service(&service(name, &[HTTP]));
    }
    index.apply_endpoint_slice(&slice("s", "chat", &[POD_HTTP], &[endpoint("10.0.0.1")]));

    let changes = index.apply_endpoint_slice(&slice("s", "other", &[POD_HTTP], &[endpoint("10.0.0.1")]));

    let ready: Vec<_> = changes
        .targets_upserted
        .iter()
        .map(|(key, config)| (&*key.service, config.ready.len()))
        .collect();
    assert_eq!(ready, [("chat", 0), ("other", 1)]);
}

#[test]
fn a_slice_that_loses_its_service_loses_its_endpoints() {
    let mut index = index();
    index.apply_service(&service("chat", &[HTTP]));
    let mut slice = slice("s", "chat", &[POD_HTTP], &[endpoint("10.0.0.1")]);
    index.apply_endpoint_slice(&slice);

    slice.metadata.labels = None;
    let changes = index.apply_endpoint_slice(&slice);

    assert_eq!(changes.targets_upserted[0].1.ready, []);
}

#[test]
fn a_service_that_goes_takes_its_targets_endpoints_along() {
    let mut index = index();
    index.apply_service(&service("chat", &[HTTP]));
    index.apply_endpoint_slice(&slice("chat-1", "chat", &[POD_HTTP], &[endpoint("10.0.0.1")]));

    let changes = index.delete_service(NAMESPACE, "chat");

    let config = &changes.targets_upserted[0].1;
    assert_eq!(config.problem, Some(TargetProblem::ServiceNotFound));
    assert_eq!(config.ready, []);
}

#[test]
fn a_service_waits_for_a_node_until_told_otherwise() {
    let mut index = index();
    index.apply_service(&service("chat", &[HTTP]));

    let waiting = index.set_waiting_for_node(NAMESPACE, "chat", true);
    assert!(waiting.targets_upserted[0].1.waiting_for_node);
    assert!(index.set_waiting_for_node(NAMESPACE, "chat", true).is_empty());

    let done = index.set_waiting_for_node(NAMESPACE, "chat", false);
    assert!(!done.targets_upserted[0].1.waiting_for_node);
}

#[test]
fn a_service_that_is_made_anew_still_waits_for_a_node() {
    let mut index = index();
    index.apply_service(&service("chat", &[HTTP]));
    index.set_waiting_for_node(NAMESPACE, "chat", true);

    index.delete_service(NAMESPACE, "chat");
    let again = index.apply_service(&service("chat", &[HTTP]));

    assert!(again.targets_upserted[0].1.waiting_for_node);
}

#[test]
fn objects_of_one_namespace_are_not_seen_from_another() {
    let mut index = index();
    let mut service = service("chat", &[HTTP]);
    service.metadata.namespace = Some("other".to_owned());

    assert!(index.apply_service(&service).is_empty());
    assert_eq!(
        config_of(index, "chat").problem,
        Some(TargetProblem::ServiceNotFound)
    );
}

#[test]
fn an_object_without_a_name_is_a_problem_and_nothing_else() {
    let mut index = index();
    let mut service = service("chat", &[HTTP]);
    service.metadata = ObjectMeta::default();

    let changes = index.apply_service(&service);

    assert_eq!(
        changes.problem.expect("a problem").to_string(),
        "Service /: metadata.namespace: must not be empty; metadata.name: must not be empty"
    );
}

#[test]
fn an_index_is_empty_again_when_everything_is_gone() {
    let mut index = index();
    index.apply_service(&service("chat", &[HTTP]));
    index.apply_endpoint_slice(&slice("chat-1", "chat", &[POD_HTTP], &[endpoint("10.0.0.1")]));
    index.set_waiting_for_node(NAMESPACE, "chat", true);

    index.delete_http_scaled_object(NAMESPACE, "chat");
    index.delete_endpoint_slice(NAMESPACE, "chat-1");
    index.delete_service(NAMESPACE, "chat");
    index.set_waiting_for_node(NAMESPACE, "chat", false);

    assert!(index.namespaces.is_empty(), "{index:?}");
}
