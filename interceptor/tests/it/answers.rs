//! The answers that Rouse gives itself: each has its status and its reason.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};

use crate::support::{Interceptor, Origin, Response, Route, empty, service, text};

#[track_caller]
fn assert_error(response: &Response, status: u16, reason: &str) {
    assert_eq!(
        (response.status, response.header("rouse-error")),
        (status, reason),
        "{response:?}"
    );
    assert_eq!(response.was_cold(), None, "not forwarded");
    assert!(!response.body.is_empty());
}

async fn answer_to(interceptor: &Interceptor, request: &str) -> Response {
    let mut client = interceptor.client().await;
    client.send(request).await;
    client.response().await
}

#[tokio::test]
async fn malformed_and_unroutable_requests_are_refused() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    for (request, status, reason) in [
        (
            "GET / HTTP/1.1\r\nhost: nobody.example.com\r\n\r\n",
            404,
            "route_not_found",
        ),
        ("GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (
            "GET / HTTP/1.1\r\nhost: app.example.com\r\nhost: app.example.com\r\n\r\n",
            400,
            "bad_request",
        ),
        (
            "CONNECT app.example.com:80 HTTP/1.1\r\nhost: app.example.com\r\n\r\n",
            501,
            "connect_not_supported",
        ),
    ] {
        assert_error(&answer_to(&interceptor, request).await, status, reason);
    }
    assert_eq!(origin.request_count(), 0);
    assert_eq!(interceptor.request_count("app").await, 0, "none of them counts");
    interceptor.stop().await;
}

#[tokio::test]
async fn a_route_without_its_service_or_port_is_a_configuration_error() {
    let interceptor = Interceptor::serving(Route::to("app").without_service()).await;
    assert_error(&interceptor.get("/").await, 500, "service_not_found");

    interceptor.serve(Route::to("app").port(81)).await;
    assert_error(&interceptor.get("/").await, 500, "port_not_found");

    // Mended, it is held like any other.
    interceptor.serve(Route::to("app")).await;
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    assert_eq!(interceptor.get("/").await.status, 200);
    interceptor.stop().await;
}

#[tokio::test]
async fn one_more_than_a_route_may_hold_is_told_to_come_back() {
    let interceptor = Interceptor::start_with(|args| args.cold_start_max_pending_requests = 3).await;
    interceptor.serve(Route::to("app")).await;
    interceptor.serve(Route::to("other")).await;
    let mut held = interceptor.hold("app", 3).await;
    let refused = interceptor.get("/").await;
    assert_error(&refused, 503, "pending_limit");
    assert_eq!(refused.header("retry-after"), "1");
    // Another route has its own.
    let mut others = interceptor.hold("other", 1).await;

    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    interceptor.endpoints("other", &[origin.addr]);
    for client in held.iter_mut().chain(&mut others) {
        assert_eq!(client.response().await.status, 200);
    }
    interceptor.stop().await;
}

#[tokio::test]
async fn one_more_than_the_process_may_hold_is_told_to_come_back() {
    let interceptor = Interceptor::start_with(|args| args.max_pending_requests = 2).await;
    interceptor.serve(Route::to("app")).await;
    interceptor.serve(Route::to("other")).await;
    let _held = interceptor.hold("other", 2).await;
    assert_error(&interceptor.get("/").await, 503, "pending_limit");
    interceptor.stop_now();
}

#[tokio::test]
async fn bodies_beyond_what_the_process_may_hold_are_told_to_come_back() {
    let interceptor = Interceptor::start_with(|args| args.max_pending_bytes = 300 << 10).await;
    interceptor.serve(Route::to("app")).await;
    let mut held = interceptor.client().await;
    held.send("POST / HTTP/1.1\r\nhost: app.example.com\r\ncontent-length: 10000000\r\n\r\n")
        .await;
    let mut chunked = interceptor.client().await;
    chunked
        .send("POST / HTTP/1.1\r\nhost: app.example.com\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    interceptor.has_requests("app", 2).await;
    let refused = answer_to(
        &interceptor,
        "POST / HTTP/1.1\r\nhost: app.example.com\r\ncontent-length: 200000\r\n\r\n",
    )
    .await;
    assert_error(&refused, 503, "pending_limit");
    interceptor.stop_now();
}

#[tokio::test]
async fn a_hold_ends_at_the_routes_own_deadline() {
    let interceptor = Interceptor::serving(Route::to("app").readiness_timeout("200ms")).await;
    // A node that is on its way does not change the user's own word.
    interceptor.index.set_waiting_for_node("shop", "app", true);
    let began = Instant::now();
    assert_error(&interceptor.get("/").await, 504, "readiness_timeout");
    let took = began.elapsed();
    println!("measured: {took:?} for a deadline of 200 ms");
    assert!(
        (Duration::from_millis(200)..Duration::from_millis(600)).contains(&took),
        "{took:?}"
    );
    interceptor.has_requests("app", 0).await;
    interceptor.stop().await;
}

#[tokio::test]
async fn a_hold_is_extended_while_a_pod_waits_for_a_node() {
    let interceptor = Interceptor::start_with(|args| {
        args.readiness_timeout = Some(Duration::from_millis(200));
        args.extended_readiness_timeout = Duration::from_millis(800);
    })
    .await;
    interceptor.serve(Route::to("app")).await;
    let began = Instant::now();
    assert_error(&interceptor.get("/").await, 504, "readiness_timeout");
    assert!(
        began.elapsed() < Duration::from_millis(700),
        "{:?}",
        began.elapsed()
    );

    interceptor.index.set_waiting_for_node("shop", "app", true);
    let began = Instant::now();
    assert_error(&interceptor.get("/").await, 504, "readiness_timeout");
    assert!(
        began.elapsed() >= Duration::from_millis(800),
        "{:?}",
        began.elapsed()
    );

    let mut client = interceptor.client().await;
    client.begin_get("/").await;
    let early = client.bytes_within(Duration::from_millis(300)).await;
    assert_eq!(early, "", "the ordinary deadline has passed");
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    assert_eq!(client.response().await.status, 200);
    interceptor.stop().await;
}

#[tokio::test]
async fn the_fallback_serves_when_the_target_is_not_ready_in_time() {
    let interceptor = Interceptor::serving(Route::to("app").fallback("spare", 1)).await;
    let spare = Origin::saying("spare");
    interceptor.endpoints("spare", &[spare.addr]);
    let began = Instant::now();
    let response = interceptor.client().await.post("/path?query", "body").await;
    assert_eq!((response.status, response.text()), (200, "spare"));
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(spare.only_request().target, "/path?query");
    interceptor.has_requests("app", 0).await;

    // A target that comes in time serves itself.
    let mut client = interceptor.client().await;
    client.begin_get("/").await;
    interceptor.has_requests("app", 1).await;
    let origin = Origin::saying("app");
    interceptor.endpoints("app", &[origin.addr]);
    assert_eq!(client.response().await.text(), "app");

    // Without a spare endpoint either, the hold's own answer.
    interceptor.endpoints("app", &[]);
    interceptor.endpoints("spare", &[]);
    assert_error(&interceptor.get("/").await, 504, "readiness_timeout");
    interceptor.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_in_time_is_a_gateway_timeout() {
    let interceptor = Interceptor::serving(Route::to("app").response_header_timeout("200ms")).await;
    let origin = Origin::slow();
    interceptor.endpoints("app", &[origin.addr]);
    assert_error(&interceptor.get("/").await, 504, "response_header_timeout");
    assert_eq!(origin.request_count(), 1, "not sent again");
    crate::support::eventually("the application is told", async || origin.in_progress() == 0).await;
    // The endpoint is slow, not dead.
    origin.answer(1);
    assert_eq!(interceptor.get("/").await.status, 200);
    interceptor.stop().await;
}

#[tokio::test]
async fn a_long_upload_is_no_late_answer_and_one_that_stalls_is() {
    let interceptor = Interceptor::serving(Route::to("app").response_header_timeout("400ms")).await;
    // It answers when it has the whole body.
    let origin = Origin::start(|request| async {
        match request.into_body().collect().await {
            Ok(body) => http::Response::new(text(body.to_bytes())),
            Err(_broken_off) => http::Response::new(empty()),
        }
    });
    interceptor.endpoints("app", &[origin.addr]);
    let head = "POST / HTTP/1.1\r\nhost: app.example.com\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = interceptor.client().await;
    client.send(head).await;
    for _ in 0..5 {
        client.send("1\r\nx\r\n").await;
        let early = client.bytes_within(Duration::from_millis(150)).await;
        assert_eq!(early, "", "the upload goes on");
    }
    client.send("0\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!((response.status, response.text()), (200, "xxxxx"));

    client.send(head).await;
    client.send("1\r\nx\r\n").await;
    assert_error(&client.response().await, 504, "response_header_timeout");
    interceptor.has_requests("app", 0).await;
    interceptor.stop().await;
}

#[tokio::test]
async fn a_client_that_is_still_sending_gets_its_refusal() {
    let interceptor = Interceptor::start_with(|args| args.cold_start_max_pending_requests = 1).await;
    interceptor.serve(Route::to("app")).await;
    let _held = interceptor.hold("app", 1).await;
    for length in [1_000, 1_000_000] {
        let mut client = interceptor.client().await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nhost: app.example.com\r\ncontent-length: {length}\r\n\r\n"
            ))
            .await;
        client.send(vec![b'x'; length / 2]).await;
        assert_error(&client.response().await, 503, "pending_limit");
    }
    interceptor.stop_now();
}

fn timed_route(timeout: &str) -> serde_json::Value {
    json!({
        "target": { "service": "app", "port": 80 },
        "rules": [{ "hosts": ["app.example.com"] }],
        "scalingMetric": { "concurrency": { "targetValue": 10 } },
        "timeouts": { "request": timeout },
    })
}

#[tokio::test]
async fn the_request_timeout_covers_hold_and_answer() {
    let interceptor = Interceptor::start().await;
    interceptor.index.apply_service(service("app", None));
    interceptor
        .serve_interceptor_route("app", timed_route("300ms"))
        .await;
    // Held.
    assert_error(&interceptor.get("/").await, 504, "request_timeout");
    interceptor.has_requests("app", 0).await;
    // Being answered.
    let slow = Origin::slow();
    interceptor.endpoints("app", &[slow.addr]);
    assert_error(&interceptor.get("/").await, 504, "request_timeout");
    interceptor.has_requests("app", 0).await;
    // In the middle of the answer: it breaks off.
    let stuck = Origin::raw(|mut stream, _| async move {
        let mut buffer = [0; 1024];
        if stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhel")
                .await
                .expect("the proxy reads");
            // Until the proxy closes.
            let _end = stream.read(&mut buffer).await;
        }
    });
    interceptor.endpoints("app", &[stuck.addr]);
    let mut client = interceptor.client().await;
    client.begin_get("/").await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.closed().await, "hel");
    interceptor.has_requests("app", 0).await;
    // In the middle of an answer that never pauses.
    let endless = Origin::start(|_| async {
        let chunks = futures_util::stream::repeat_with(|| Ok(Frame::data(Bytes::from(vec![b'x'; 16 << 10]))));
        http::Response::new(StreamBody::new(chunks).boxed_unsync())
    });
    interceptor.endpoints("app", &[endless.addr]);
    let mut client = interceptor.client().await;
    client.begin_get("/").await;
    assert_eq!(client.head().await.status, 200);
    let began = Instant::now();
    client.closed().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    interceptor.has_requests("app", 0).await;
    interceptor.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_a_bad_gateway() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let origin = Origin::raw(|mut stream, _| async move {
        let mut buffer = [0; 1024];
        if stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
            stream
                .write_all(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
                .await
                .expect("the proxy reads");
        }
    });
    interceptor.endpoints("app", &[origin.addr]);
    assert_error(&interceptor.get("/").await, 502, "upstream_protocol");
    assert_eq!(origin.connections(), 1, "not tried again");
    interceptor.stop().await;
}

#[tokio::test]
async fn the_cold_start_header_can_be_turned_off() {
    let interceptor = Interceptor::start_with(|args| args.cold_start_header = false).await;
    interceptor.serve(Route::to("app")).await;
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    assert_eq!(interceptor.get("/").await.was_cold(), None);
    interceptor.stop().await;
}
