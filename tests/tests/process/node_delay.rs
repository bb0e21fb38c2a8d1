//! A node has to come first, and the caller is impatient.

use std::{
    io::Write as _,
    net::Shutdown,
    time::{Duration, Instant},
};

use rouse_tests::{Rouse, eventually, http, manifest::Tenant, pause};

/// The user's webhook at a fifth of its pace: gives up after 1 s, comes back every 2 s, the node takes 8 s, the pods
/// stay for 2 s of no traffic.
#[test]
fn a_caller_that_gives_up_and_comes_back_is_answered_after_one_wake() {
    let tenant = Tenant {
        scaledown_period: 2,
        ..Tenant::new("webhook")
    };
    let rouse = Rouse::start(&tenant.yaml(), &["--node-delay", "8s"]);
    let started = Instant::now();
    let answer = (0..10).find_map(|attempt| {
        let due = started + Duration::from_secs(2) * attempt;
        pause(due.saturating_duration_since(Instant::now()));
        let mut stream = http::connect(rouse.proxy()).expect("the proxy listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(1)))
            .expect("a timeout");
        let asked = Instant::now();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: webhook.test\r\nconnection: close\r\n\r\n")
            .expect("the proxy reads");
        let answer = http::read_answer(&mut stream, asked);
        if answer.is_err() {
            stream.shutdown(Shutdown::Both).expect("the connection is open");
        }
        answer.ok()
    });
    let answer = answer.expect("answered once the node was there");
    assert_eq!(answer.status, 200);
    let elapsed = started.elapsed();
    assert!(
        elapsed >= Duration::from_secs(8),
        "not before the node came: {elapsed:?}"
    );
    assert!(
        elapsed < Duration::from_secs(16),
        "one wake, one node: {elapsed:?}"
    );
    let pods: Vec<_> = std::fs::read_dir(rouse.directory().join("logs/default"))
        .expect("logs")
        .collect();
    assert_eq!(pods.len(), 1, "one replica was started: {pods:?}");
}

#[test]
fn a_held_request_waits_for_the_node_and_is_answered() {
    let rouse = Rouse::start(&Tenant::new("patient").yaml(), &["--node-delay", "2s"]);
    let answer = rouse.get("patient.test", "/");
    assert_eq!(
        (answer.status, answer.header("x-keda-http-cold-start")),
        (200, Some("true"))
    );
    assert!(answer.took >= Duration::from_secs(2));
    eventually("nothing is counted any longer", rouse_tests::PATIENCE, || {
        (rouse.queued("patient") == 0).then_some(())
    });
}
