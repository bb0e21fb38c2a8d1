use std::{net::SocketAddr, sync::Arc, time::Duration};

use rouse_routing::RouteKind;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::Instant,
};

use super::*;
use crate::{
    endpoint::EndpointGuard,
    gate::{Grant, Verdict},
    plan::{TargetPort, UpstreamProtocol},
};

fn target() -> Arc<Target> {
    let key = TargetKey {
        namespace: "default".into(),
        service: "app".into(),
        port: TargetPort::Number(80),
    };
    let settings = testing::settings();
    Target::new(key, Arc::new(settings))
}

fn addr(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn ready(ports: &[u16]) -> TargetConfig {
    TargetConfig {
        ready: ports.iter().map(|&port| addr(port)).collect(),
        ..TargetConfig::default()
    }
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_stay_keep_their_record_and_those_that_go_are_retired() {
    let target = target();
    target.update(&ready(&[1, 2]));
    let before = target.endpoints().endpoints.clone();
    target.update(&ready(&[2, 3]));
    let after = target.endpoints().endpoints.clone();
    assert!(Arc::ptr_eq(&before[1], &after[0]));
    assert!(before[0].is_retired());
    assert!(!after[0].is_retired());
    assert_eq!(after[1].addr(), addr(3));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_changes_protocol_is_a_new_one() {
    let target = target();
    target.update(&ready(&[1]));
    let before = target.endpoints().endpoints.clone();
    target.update(&TargetConfig {
        protocol: UpstreamProtocol::H2c,
        ..ready(&[1])
    });
    assert!(before[0].is_retired());
    assert_eq!(target.endpoints().endpoints[0].protocol(), UpstreamProtocol::H2c);
}

/// Of 20 requests on the heels of one another, which are not answered yet, those that go to the endpoint at this port.
fn sent_to(target: &Target, port: u16) -> usize {
    let picked: Vec<_> = (0..20)
        .filter_map(|_| Some(target.pick(Instant::now())?.begin()))
        .collect();
    assert_eq!(picked.len(), 20);
    let there = |guard: &&EndpointGuard| guard.endpoint().addr() == addr(port);
    picked.iter().filter(there).count()
}

#[tokio::test(start_paused = true)]
async fn after_a_quarantine_one_request_finds_out_whether_the_endpoint_is_back() {
    let target = target();
    target.update(&ready(&[1, 2]));
    let gone = Arc::clone(&target.endpoints().endpoints[0]);
    for quarantine in [50, 100, 200] {
        gone.failed(Instant::now());
        assert_eq!(sent_to(&target, 1), 0, "in quarantine");
        tokio::time::advance(Duration::from_millis(quarantine)).await;
        assert_eq!(sent_to(&target, 1), 1, "after {quarantine} ms");
        assert_eq!(sent_to(&target, 1), 0, "it has not answered yet");
    }
    gone.succeeded();
    assert_eq!(sent_to(&target, 1), 10, "it is back");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hears_nothing_keeps_others_away_for_a_while_only() {
    let target = target();
    target.update(&ready(&[1, 2]));
    let gone = Arc::clone(&target.endpoints().endpoints[0]);
    gone.failed(Instant::now());
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(sent_to(&target, 1), 1);
    }
}

/// A target whose driver runs on the test's own runtime.
fn driven() -> Arc<Target> {
    let settings = testing::settings();
    settings.set_workers(vec![Handle::current()]);
    let key = target().key().clone();
    Target::new(key, Arc::new(settings))
}

/// An address that refuses connections until the socket listens.
fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(addr(0)).expect("a free port");
    let addr = socket.local_addr().expect("bound");
    (socket, addr)
}

async fn granted(ticket: &mut Ticket) -> Grant {
    match ticket.verdict().await {
        Verdict::Granted(grant) => grant,
        other => panic!("expected a grant, got {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_driver_hears_of_a_refusal_at_once() {
    let target = driven();
    let route = RouteId::new(RouteKind::HttpScaledObject, "default", "a");
    let (socket, addr) = refusing();
    let mut first = target.wait(&route, 1, 1);
    let _second = target.wait(&route, 2, 1);
    target.update(&ready(&[addr.port()]));
    let grant = granted(&mut first).await;
    // By now the driver waits for the window to grow.
    tokio::time::sleep(Duration::from_millis(10)).await;

    let refused = Instant::now();
    let _listener = socket.listen(8).expect("bound");
    grant.endpoint.endpoint().failed(refused);
    grant.slot.failed();
    drop((grant.endpoint, first));
    let mut first = target.wait(&route, 1, 1);
    let _grant = granted(&mut first).await;
    assert!(
        refused.elapsed() < Duration::from_millis(20),
        "{:?}",
        refused.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_does_not_answer_holds_up_no_other() {
    let target = driven();
    let route = RouteId::new(RouteKind::HttpScaledObject, "default", "a");
    let (silent, _backlog) = silent().await;
    let (socket, addr) = refusing();
    let _listener = socket.listen(8).expect("bound");
    target.update(&ready(&[silent.port(), addr.port()]));
    for endpoint in &target.endpoints().endpoints {
        endpoint.failed(Instant::now());
    }
    let waiting = Instant::now();
    let mut ticket = target.wait(&route, 1, 1);
    let grant = granted(&mut ticket).await;
    assert_eq!(grant.endpoint.endpoint().addr(), addr);
    let waited = waiting.elapsed();
    assert!(waited < Duration::from_millis(20), "{waited:?}");
}

/// An address where attempts to connect go unanswered: its backlog is full.
async fn silent() -> (SocketAddr, (TcpListener, Vec<TcpStream>)) {
    let (socket, addr) = refusing();
    let listener = socket.listen(1).expect("bound");
    let mut waiting = Vec::new();
    loop {
        let connect = TcpStream::connect(addr);
        match tokio::time::timeout(Duration::from_millis(50), connect).await {
            Ok(stream) => waiting.push(stream.expect("a connection in the backlog")),
            Err(_) => return (addr, (listener, waiting)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_ready_generation_counts_wakes() {
    let target = target();
    assert_eq!(target.ready_generation(), 0);
    target.update(&ready(&[1]));
    target.update(&ready(&[1, 2]));
    assert_eq!(target.ready_generation(), 1);
    target.update(&ready(&[]));
    target.update(&ready(&[2]));
    assert_eq!(target.ready_generation(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_less_busy_of_two_is_picked() {
    let target = target();
    target.update(&ready(&[1, 2]));
    let _busy = target.endpoints().endpoints[0].begin();
    for _ in 0..50 {
        assert_eq!(
            target.pick(Instant::now()).map(|picked| picked.addr()),
            Some(addr(2))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_in_quarantine_is_not_picked_until_it_is_over() {
    let target = target();
    target.update(&ready(&[1, 2, 3]));
    target.endpoints().endpoints[1].failed(Instant::now());
    for _ in 0..100 {
        let picked = target.pick(Instant::now()).expect("two are left");
        assert_ne!(picked.addr(), addr(2));
    }
    for endpoint in &target.endpoints().endpoints {
        endpoint.failed(Instant::now());
    }
    assert!(target.pick(Instant::now()).is_none());
    assert!(!target.has_usable_endpoint(Instant::now()));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(target.pick(Instant::now()).is_some());
}
