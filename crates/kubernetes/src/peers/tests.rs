use serde_json::json;

use super::*;

fn slice(name: &str, addresses: &[(&str, &str, bool)]) -> EndpointSlice {
    let family = if addresses.iter().any(|(address, ..)| address.contains(':')) {
        "IPv6"
    } else {
        "IPv4"
    };
    let endpoints: Vec<_> = addresses
        .iter()
        .map(|(address, pod, is_draining)| {
            json!({
                "addresses": [address],
                "conditions": { "ready": !is_draining, "serving": !is_draining, "terminating": is_draining },
                "targetRef": { "kind": "Pod", "name": pod, "uid": format!("uid-{pod}") },
            })
        })
        .collect();
    serde_json::from_value(json!({
        "metadata": { "namespace": "keda", "name": name },
        "addressType": family,
        "ports": [
            { "name": "metrics", "port": 9, "protocol": "UDP" },
            { "name": "admin", "port": 9090, "protocol": "TCP" },
            { "name": "proxy", "port": 8080, "protocol": "TCP" },
        ],
        "endpoints": endpoints,
    }))
    .unwrap()
}

fn listed(names: &[&str]) -> Listed {
    names.iter().map(|name| ("keda", *name)).collect()
}

fn told(addresses: &Addresses) -> Option<Vec<String>> {
    let addresses = addresses.borrow().clone()?;
    Some(addresses.iter().map(ToString::to_string).collect())
}

#[test]
fn nothing_is_told_before_all_are_known() {
    let (sink, addresses) = PeerSink::new(None);
    sink.apply(slice("a", &[("10.0.0.1", "one", false)]));
    assert_eq!(told(&addresses), None);
    sink.reset(Some("keda"), &listed(&["a"]));
    assert_eq!(told(&addresses), Some(vec!["10.0.0.1:9090".to_owned()]));
}

#[test]
fn no_interceptor_at_all_is_told_as_well() {
    let (sink, addresses) = PeerSink::new(None);
    sink.reset(Some("keda"), &listed(&[]));
    assert_eq!(told(&addresses), Some(Vec::new()));
}

#[test]
fn peers_follow_the_slices() {
    let (sink, addresses) = PeerSink::new(None);
    sink.reset(Some("keda"), &listed(&[]));
    sink.apply(slice(
        "a",
        &[("10.0.0.1", "one", false), ("10.0.0.2", "two", false)],
    ));
    sink.apply(slice("b", &[("10.0.0.3", "three", false)]));
    assert_eq!(told(&addresses).unwrap().len(), 3);
    sink.apply(slice("a", &[("10.0.0.2", "two", false)]));
    assert_eq!(told(&addresses).unwrap(), ["10.0.0.2:9090", "10.0.0.3:9090"]);
    sink.delete("keda", "b");
    assert_eq!(told(&addresses).unwrap(), ["10.0.0.2:9090"]);
    sink.reset(Some("keda"), &listed(&[]));
    assert_eq!(told(&addresses).unwrap(), [""; 0]);
}

#[test]
fn a_draining_interceptor_counts() {
    let (sink, addresses) = PeerSink::new(None);
    sink.reset(Some("keda"), &listed(&[]));
    sink.apply(slice("a", &[("10.0.0.1", "one", true)]));
    assert_eq!(told(&addresses).unwrap(), ["10.0.0.1:9090"]);
}

#[test]
fn a_pod_with_two_addresses_is_one_peer() {
    let (sink, addresses) = PeerSink::new(None);
    sink.reset(Some("keda"), &listed(&[]));
    sink.apply(slice(
        "six",
        &[("fd00::1", "one", false), ("fd00::2", "two", false)],
    ));
    sink.apply(slice("four", &[("10.0.0.1", "one", false)]));
    assert_eq!(told(&addresses).unwrap(), ["10.0.0.1:9090", "[fd00::2]:9090"]);
}

#[test]
fn the_port_is_the_one_asked_for() {
    for (port, expected) in [
        ("9191", vec!["10.0.0.1:9191"]),
        ("proxy", vec!["10.0.0.1:8080"]),
        ("grpc", vec![]),
    ] {
        let (sink, addresses) = PeerSink::new(Some(port.parse().unwrap()));
        sink.reset(Some("keda"), &listed(&[]));
        sink.apply(slice("a", &[("10.0.0.1", "one", false)]));
        assert_eq!(told(&addresses).unwrap(), expected, "{port}");
    }
}

#[test]
fn what_is_no_port_is_refused() {
    for text in ["", "0", "65536", "Admin", "a b"] {
        assert_eq!(text.parse::<PeerPort>(), Err(PeerPortError), "{text:?}");
    }
}

#[test]
fn the_same_addresses_again_are_no_news() {
    let (sink, mut addresses) = PeerSink::new(None);
    sink.reset(Some("keda"), &listed(&[]));
    sink.apply(slice("a", &[("10.0.0.1", "one", false)]));
    addresses.mark_unchanged();
    sink.apply(slice("a", &[("10.0.0.1", "one", true)]));
    assert!(!addresses.has_changed().unwrap());
}
