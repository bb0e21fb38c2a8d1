//! The whole scaler between interceptors that are made up and a client that calls as KEDA does, over real connections.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test's helpers fail the test, and what was measured is for whoever runs it with --nocapture"
)]

mod kubernetes;
mod support;

use std::time::Duration;

use futures_util::future::join_all;
use rouse_daemon::phase::Phase;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use tonic::Code;

use self::support::{
    FakeInterceptor, PATIENCE, config, eventually, held, httpso, idle, keda, ready, scaled_object,
    start_scaler,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_travels_from_an_interceptor_to_keda_at_once() {
    let names: Vec<String> = (0..100).map(|number| format!("app-{number}")).collect();
    let (app, interceptor) = (start_scaler().await, FakeInterceptor::start(1).await);
    for name in &names {
        app.catalog().apply_http_scaled_object(&httpso(name));
    }
    let targets = names.iter().map(|name| ready(name, 0)).collect();
    interceptor.set_full(names.iter().map(|name| idle(name)).collect(), targets);
    app.peers().set([interceptor.addr]);
    app.phase()
        .wait_for(|phase| *phase >= Phase::Ready)
        .await
        .unwrap();
    let mut client = keda(&app).await;

    let mut latencies = Vec::new();
    for name in &names {
        let mut stream = client
            .stream_is_active(scaled_object(name))
            .await
            .unwrap()
            .into_inner();
        let opening = timeout(PATIENCE, stream.message())
            .await
            .expect("in time")
            .unwrap()
            .unwrap();
        assert!(!opening.result);
        let sent = Instant::now();
        interceptor.report(vec![held(name, 1)], vec![]);
        let push = timeout(PATIENCE, stream.message())
            .await
            .expect("in time")
            .unwrap()
            .unwrap();
        latencies.push(sent.elapsed());
        assert!(push.result);
    }
    latencies.sort_unstable();
    println!(
        "interceptor's report -> KEDA's message: p50 {:?}, p99 {:?}",
        latencies[49], latencies[98]
    );
    // Far above what it takes, far below any tick: a busy machine must not fail it, a polling loop must.
    assert!(latencies[49] < Duration::from_millis(20), "{latencies:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_interceptor_is_connected_anew_and_its_counts_stand_meanwhile() {
    let (app, interceptor) = (start_scaler().await, FakeInterceptor::start(1).await);
    app.catalog().apply_http_scaled_object(&httpso("busy"));
    app.catalog().apply_http_scaled_object(&httpso("idle"));
    interceptor.set_full(
        vec![held("busy", 2), idle("idle")],
        vec![ready("busy", 1), ready("idle", 0)],
    );
    app.peers().set([interceptor.addr]);
    let client = keda(&app).await;
    let is_active = async |name: &str| {
        let answer = client.clone().is_active(scaled_object(name)).await;
        answer
            .map(|answer| answer.into_inner().result)
            .map_err(|status| status.code())
    };
    eventually("heard", async || is_active("idle").await == Ok(false)).await;

    interceptor.set_silent(true);
    eventually("silence noticed", async || {
        is_active("idle").await == Err(Code::Unavailable)
    })
    .await;
    assert_eq!(is_active("busy").await, Ok(true));
    interceptor.set_silent(false);
    eventually("heard again", async || is_active("idle").await == Ok(false)).await;
    assert!(interceptor.streams() >= 2);
    assert_eq!(is_active("busy").await, Ok(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unlisted_interceptor_counts_until_its_stream_ends_and_a_lost_one_blocks() {
    let app = start_scaler().await;
    let (first, second) = (FakeInterceptor::start(1).await, FakeInterceptor::start(2).await);
    app.catalog().apply_http_scaled_object(&httpso("app"));
    first.set_full(vec![idle("app")], vec![ready("app", 1)]);
    second.set_full(vec![held("app", 3)], vec![ready("app", 1)]);
    app.peers().set([first.addr, second.addr]);
    let client = keda(&app).await;
    let concurrency = async || {
        let request = rouse_proto::externalscaler::GetMetricsRequest {
            scaled_object_ref: Some(scaled_object("app")),
            metric_name: String::new(),
        };
        let answer = client.clone().get_metrics(request).await;
        answer
            .map(|answer| answer.into_inner().metric_values[0].metric_value)
            .map_err(|status| status.code())
    };
    eventually("both heard", async || concurrency().await == Ok(3)).await;
    app.peers().set([first.addr]);
    // Its stream is open: what it reports from now on counts too.
    second.report(vec![held("app", 5)], vec![]);
    eventually("the unlisted one's news", async || concurrency().await == Ok(5)).await;
    second.kill();
    eventually("the unlisted one gone", async || concurrency().await == Ok(0)).await;
    first.kill();
    eventually("the listed one missed", async || {
        concurrency().await == Err(Code::Unavailable)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_interceptors_it_is_ready_after_five_seconds() {
    let started = Instant::now();
    let app = start_scaler().await;
    assert_eq!(*app.phase().borrow(), Phase::Starting);
    app.phase()
        .wait_for(|phase| *phase >= Phase::Ready)
        .await
        .unwrap();
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_metrics_are_on_the_same_port() {
    let interceptor = FakeInterceptor::start(1).await;
    interceptor.set_full(vec![idle("app")], vec![ready("app", 0)]);
    let app = rouse_external_scaler::App::start(rouse_external_scaler::Config {
        interceptors: vec![interceptor.addr],
        ..config()
    })
    .await
    .unwrap();
    app.catalog().apply_http_scaled_object(&httpso("app"));
    app.phase()
        .wait_for(|phase| *phase >= Phase::Ready)
        .await
        .unwrap();
    keda(&app).await.is_active(scaled_object("app")).await.unwrap();
    keda(&app)
        .await
        .is_active(scaled_object("other"))
        .await
        .unwrap_err();

    assert!(get(&app, "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(get(&app, "/readyz").await.starts_with("HTTP/1.1 200"));
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", app.addr())).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    for service in ["liveness", "readiness"] {
        let request = tonic_health::pb::HealthCheckRequest {
            service: service.to_owned(),
        };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(
            status,
            tonic_health::pb::health_check_response::ServingStatus::Serving,
            "{service}"
        );
    }

    let metrics = get(&app, "/metrics").await;
    for line in [
        "rouse_scaler_peers{state=\"live\"} 1",
        "rouse_scaler_peers{state=\"lost\"} 0",
        "rouse_scaler_report_age_seconds{peer=\"127.0.0.1:",
        "rouse_scaler_routes 1",
        "rouse_scaler_objects 1",
        "rouse_scaler_trusted 1",
        "rouse_scaler_rpcs_total{method=\"IsActive\",code=\"OK\"} 1",
        "rouse_scaler_rpcs_total{method=\"IsActive\",code=\"NOT_FOUND\"} 1",
        "rouse_scaler_rpc_duration_seconds_count{method=\"IsActive\"} 2",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

async fn get(app: &rouse_external_scaler::App, path: &str) -> String {
    let mut socket = TcpStream::connect(app.addr()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: scaler\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, socket.read_to_string(&mut answer))
        .await
        .expect("in time")
        .unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_the_streams_with_ok_and_frees_the_port() {
    let (app, interceptor) = (start_scaler().await, FakeInterceptor::start(1).await);
    app.catalog().apply_http_scaled_object(&httpso("app"));
    app.peers().set([interceptor.addr]);
    let mut client = keda(&app).await;
    let mut active = client
        .stream_is_active(scaled_object("app"))
        .await
        .unwrap()
        .into_inner();
    let mut specs = client
        .stream_metric_spec(scaled_object("app"))
        .await
        .unwrap()
        .into_inner();
    let addr = app.addr();
    timeout(PATIENCE, app.drain()).await.expect("drained in time");
    while timeout(PATIENCE, active.message())
        .await
        .expect("in time")
        .expect("ends with OK")
        .is_some()
    {}
    while timeout(PATIENCE, specs.message())
        .await
        .expect("in time")
        .expect("ends with OK")
        .is_some()
    {}
    assert_eq!(*app.phase().borrow(), Phase::Terminated);
    tokio::net::TcpListener::bind(addr)
        .await
        .expect("the port is free");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_an_error_that_names_it() {
    let app = start_scaler().await;
    let config = rouse_external_scaler::Config {
        listen: app.addr(),
        ..config()
    };
    let error = rouse_external_scaler::App::start(config)
        .await
        .expect_err("taken");
    let text = rouse_daemon::chain::chain(&error).to_string();
    assert!(text.contains(&app.addr().to_string()), "{text}");
}

/// Each ScaledObject is a stream on KEDA's one connection. The number that is promised, 20,000, takes a while in a debug
/// build: `ROUSE_TEST_STREAMS=20000` sets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_carries_the_streams_of_thousands_of_scaled_objects() {
    let count = std::env::var("ROUSE_TEST_STREAMS").map_or(2000, |count| count.parse().expect("a number"));
    let names: Vec<String> = (0..count).map(|number| format!("app-{number}")).collect();
    let (app, interceptor) = (start_scaler().await, FakeInterceptor::start(1).await);
    for name in &names {
        app.catalog().apply_http_scaled_object(&httpso(name));
    }
    let targets = names.iter().map(|name| ready(name, 0)).collect();
    interceptor.set_full(names.iter().map(|name| idle(name)).collect(), targets);
    app.peers().set([interceptor.addr]);
    app.phase()
        .wait_for(|phase| *phase >= Phase::Ready)
        .await
        .unwrap();
    let client = keda(&app).await;

    let (before, started) = (resident_bytes(), Instant::now());
    let opening = names.iter().map(|name| {
        let mut client = client.clone();
        async move {
            let mut stream = client
                .stream_is_active(scaled_object(name))
                .await
                .unwrap()
                .into_inner();
            assert!(!stream.message().await.unwrap().unwrap().result);
            stream
        }
    });
    let mut streams = timeout(PATIENCE * 3, join_all(opening))
        .await
        .expect("all open in time");
    let (opened, after) = (started.elapsed(), resident_bytes());
    println!(
        "{count} streams opened in {opened:?}; {} KiB each, client and server together",
        after.saturating_sub(before) / count / 1024
    );

    let started = Instant::now();
    interceptor.report(names.iter().map(|name| held(name, 1)).collect(), vec![]);
    let pushes = join_all(streams.iter_mut().map(tonic::Streaming::message));
    let pushes = timeout(PATIENCE * 3, pushes).await.expect("all pushed in time");
    assert!(pushes.into_iter().all(|push| push.unwrap().unwrap().result));
    println!("{count} edges pushed in {:?}", started.elapsed());
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = status
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages * 4096
}
