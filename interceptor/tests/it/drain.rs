//! How an interceptor ends.

use std::time::Duration;

use tokio::{net::TcpStream, time::Instant};

use crate::support::{Interceptor, Origin, Route, empty, eventually, h2_client, soon};

#[tokio::test]
async fn a_draining_interceptor_is_not_ready_at_once_and_still_accepts() {
    let mut interceptor =
        Interceptor::start_with(|args| args.shutdown_delay = Duration::from_millis(500)).await;
    interceptor.serve(Route::to("app")).await;
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    eventually("it is ready", async || interceptor.is_ready().await).await;
    let mut old = interceptor.client().await;
    assert_eq!(old.get("/").await.header("connection"), "");

    let ended = interceptor.drain();
    eventually("it is not ready", async || !interceptor.is_ready().await).await;
    // Those who have not heard of it are served, and told not to come back.
    let new = interceptor.get("/new").await;
    assert_eq!((new.status, new.header("connection")), (200, "close"));
    let last = old.get("/last").await;
    assert_eq!((last.status, last.header("connection")), (200, "close"));
    assert_eq!(old.closed().await, "");
    soon("the end", ended).await.expect("no panic");
    assert!(
        TcpStream::connect(interceptor.proxy).await.is_err(),
        "nobody listens"
    );
    assert!(
        TcpStream::connect(interceptor.admin).await.is_err(),
        "nobody listens"
    );
}

#[tokio::test]
async fn requests_in_flight_and_held_are_finished_and_idle_connections_are_closed() {
    let mut interceptor = Interceptor::serving(Route::to("app")).await;
    interceptor.serve(Route::to("cold")).await;
    let origin = Origin::slow();
    interceptor.endpoints("app", &[origin.addr]);

    let mut idle = interceptor.client().await;
    origin.answer(1);
    assert_eq!(idle.get("/").await.status, 200);
    let mut answering = interceptor.client().await;
    answering.begin_get("/").await;
    eventually("it is at the application", async || origin.in_progress() == 1).await;
    let mut held = interceptor.hold("cold", 1).await;
    let (mut h2, _connection) = h2_client(interceptor.proxy).await;
    let request = http::Request::get("http://cold.example.com/")
        .body(empty())
        .expect("a request");
    let h2_held = tokio::spawn(h2.send_request(request));
    interceptor.has_requests("cold", 2).await;

    let ended = interceptor.drain();
    assert_eq!(idle.closed().await, "");
    eventually("new connections are refused", async || {
        TcpStream::connect(interceptor.proxy).await.is_err()
    })
    .await;
    assert!(!ended.is_finished());

    origin.answer(1);
    let response = answering.response().await;
    assert_eq!((response.status, response.header("connection")), (200, "close"));
    assert_eq!(answering.closed().await, "");
    assert!(!ended.is_finished(), "held requests keep it");

    origin.answer(2);
    interceptor.endpoints("cold", &[origin.addr]);
    assert_eq!(held[0].response().await.status, 200);
    let response = soon("the h2 response", h2_held)
        .await
        .expect("no panic")
        .expect("a response");
    assert_eq!(response.status(), 200);
    soon("the end", ended).await.expect("no panic");
}

#[tokio::test]
async fn held_requests_keep_their_own_deadline_and_answered_ones_the_drain_timeout() {
    let mut interceptor =
        Interceptor::start_with(|args| args.drain_timeout = Duration::from_millis(300)).await;
    interceptor.serve(Route::to("cold").readiness_timeout("1s")).await;
    let mut held = interceptor.hold("cold", 1).await;
    let began = Instant::now();
    let ended = interceptor.drain();
    let response = held[0].response().await;
    assert_eq!(
        (response.status, response.header("rouse-error")),
        (504, "readiness_timeout")
    );
    assert!(
        began.elapsed() >= Duration::from_millis(700),
        "{:?}",
        began.elapsed()
    );
    soon("the end", ended).await.expect("no panic");
}

#[tokio::test]
async fn what_is_left_after_the_drain_timeout_is_cut_off() {
    let mut interceptor =
        Interceptor::start_with(|args| args.drain_timeout = Duration::from_millis(300)).await;
    interceptor.serve(Route::to("app")).await;
    let origin = Origin::slow();
    interceptor.endpoints("app", &[origin.addr]);
    let mut stuck = interceptor.client().await;
    stuck.begin_get("/").await;
    eventually("it is at the application", async || origin.in_progress() == 1).await;
    let began = Instant::now();
    let ended = interceptor.drain();
    assert_eq!(stuck.closed().await, "");
    soon("the end", ended).await.expect("no panic");
    let took = began.elapsed();
    println!("measured: {took:?} for a drain timeout of 300 ms");
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    eventually("the application is told", async || origin.in_progress() == 0).await;
}

#[tokio::test]
async fn an_interceptor_is_ready_when_it_knows_its_routes() {
    let interceptor = Interceptor::start_unsynced(|_| {}).await;
    assert!(!interceptor.is_ready().await);
    interceptor.serve(Route::to("app")).await;
    assert!(!interceptor.is_ready().await);
    interceptor.index.synced();
    eventually("it is ready", async || interceptor.is_ready().await).await;
    interceptor.stop().await;
}

/// One that is started again under its old address is sent requests before anybody has asked whether it is ready.
#[tokio::test]
async fn a_request_that_comes_before_the_routes_are_known_waits_for_them() {
    let interceptor = Interceptor::start_unsynced(|_| {}).await;
    let origin = Origin::hello();
    let mut early = interceptor.client().await;
    early.begin_get("/").await;
    interceptor.serve(Route::to("app")).await;
    interceptor.endpoints("app", &[origin.addr]);
    assert_eq!(early.bytes_within(Duration::from_millis(300)).await, "");
    interceptor.index.synced();
    assert_eq!(early.response().await.status, 200);
    interceptor.stop().await;
}

#[tokio::test]
async fn an_interceptor_that_is_dropped_ends_and_frees_its_port() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let proxy = interceptor.proxy;
    let mut held = interceptor.hold("app", 1).await;
    interceptor.stop_now();
    assert_eq!(held[0].closed().await, "");
    eventually("nobody listens", async || {
        TcpStream::connect(proxy).await.is_err()
    })
    .await;
}
