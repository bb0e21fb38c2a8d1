//! Clients that leave while their request is held: the place is free at once, and the request is never executed.

use std::time::Duration;

use http::Request;
use tokio::time::Instant;

use crate::support::{Client, Interceptor, Origin, Route, empty, eventually, h2_client, text};

/// The bound of the design. The fastest of a few rounds has to keep it: a busy machine delays the others.
const BOUND: Duration = Duration::from_millis(50);
const ROUNDS: usize = 3;

enum Leave {
    Fin,
    Reset,
}

/// Sends `bytes` and leaves; returns how long it took for `/queue` to fall.
async fn time_to_leave(interceptor: &Interceptor, bytes: &[u8], leave: &Leave) -> Duration {
    let mut client = Client::connect(interceptor.proxy).await;
    client.send(bytes).await;
    interceptor.has_requests("app", 1).await;
    let left = Instant::now();
    match leave {
        Leave::Fin => client.leave(),
        Leave::Reset => client.reset(),
    }
    interceptor.has_requests("app", 0).await;
    left.elapsed()
}

/// The endpoint comes; of all that happened before, the application sees nothing.
async fn assert_nothing_is_executed(interceptor: Interceptor) {
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    assert_eq!(interceptor.get("/after").await.status, 200);
    assert_eq!(origin.targets(), ["/after"]);
    interceptor.stop().await;
}

async fn leaving_frees_the_place(name: &str, bytes: &[u8]) {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    for (how, leave) in [("FIN", Leave::Fin), ("RST", Leave::Reset)] {
        let mut fastest = Duration::MAX;
        for _ in 0..ROUNDS {
            fastest = fastest.min(time_to_leave(&interceptor, bytes, &leave).await);
        }
        println!("measured: {name} by {how}: {fastest:?} until /queue fell");
        assert!(fastest < BOUND, "{name} by {how}: {fastest:?}");
    }
    assert_nothing_is_executed(interceptor).await;
}

#[tokio::test]
async fn a_get_that_is_given_up_is_never_executed() {
    leaving_frees_the_place("GET", b"GET / HTTP/1.1\r\nhost: app.example.com\r\n\r\n").await;
}

#[tokio::test]
async fn a_post_with_a_small_body_that_is_given_up_is_never_executed() {
    leaving_frees_the_place(
        "POST, 5 B",
        b"POST / HTTP/1.1\r\nhost: app.example.com\r\ncontent-length: 5\r\n\r\nhello",
    )
    .await;
}

#[tokio::test]
async fn a_post_of_64_kib_that_is_given_up_is_never_executed() {
    let mut bytes = b"POST / HTTP/1.1\r\nhost: app.example.com\r\ncontent-length: 65536\r\n\r\n".to_vec();
    bytes.resize(bytes.len() + 65_536, b'x');
    leaving_frees_the_place("POST, 64 KiB", &bytes).await;
}

#[tokio::test]
async fn a_chunked_post_that_is_given_up_is_never_executed() {
    leaving_frees_the_place(
        "POST, chunked, unfinished",
        b"POST / HTTP/1.1\r\nhost: app.example.com\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    )
    .await;
    leaving_frees_the_place(
        "POST, chunked, whole",
        b"POST / HTTP/1.1\r\nhost: app.example.com\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    )
    .await;
}

#[tokio::test]
async fn a_post_that_expects_100_and_is_given_up_is_never_executed() {
    leaving_frees_the_place(
        "POST, Expect",
        b"POST / HTTP/1.1\r\nhost: app.example.com\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n",
    )
    .await;
}

#[tokio::test]
async fn pipelined_requests_that_are_given_up_are_never_executed() {
    leaving_frees_the_place(
        "GET, pipelined",
        b"GET /1 HTTP/1.1\r\nhost: app.example.com\r\n\r\nGET /2 HTTP/1.1\r\nhost: app.example.com\r\n\r\n",
    )
    .await;
}

fn h2_request(path: &str) -> Request<crate::support::Body> {
    Request::get(format!("http://app.example.com{path}"))
        .body(empty())
        .expect("a request")
}

#[tokio::test]
async fn an_h2_stream_that_is_reset_is_never_executed_and_its_neighbour_is() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let (mut client, _connection) = h2_client(interceptor.proxy).await;
    let neighbour = tokio::spawn(client.send_request(h2_request("/neighbour")));
    interceptor.has_requests("app", 1).await;
    let mut fastest = Duration::MAX;
    for round in 0..ROUNDS {
        let request = if round % 2 == 0 {
            h2_request("/given-up")
        } else {
            h2_request("/given-up").map(|_| text("a body"))
        };
        let given_up = tokio::spawn(client.send_request(request));
        interceptor.has_requests("app", 2).await;
        let left = Instant::now();
        given_up.abort();
        interceptor.has_requests("app", 1).await;
        fastest = fastest.min(left.elapsed());
    }
    println!("measured: h2 stream by RST_STREAM: {fastest:?} until /queue fell");
    assert!(fastest < BOUND, "{fastest:?}");

    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    let response = neighbour.await.expect("no panic").expect("a response");
    assert_eq!(response.status(), 200);
    assert_eq!(origin.targets(), ["/neighbour"]);
    interceptor.stop().await;
}

#[tokio::test]
async fn the_requests_of_an_h2_connection_that_closes_are_never_executed() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let mut fastest = Duration::MAX;
    for _ in 0..ROUNDS {
        let (mut client, connection) = h2_client(interceptor.proxy).await;
        let requests: Vec<_> = (0..10)
            .map(|_| tokio::spawn(client.send_request(h2_request("/"))))
            .collect();
        interceptor.has_requests("app", 10).await;
        let left = Instant::now();
        connection.close();
        interceptor.has_requests("app", 0).await;
        fastest = fastest.min(left.elapsed());
        for request in requests {
            assert!(request.await.expect("no panic").is_err());
        }
    }
    println!("measured: h2 connection closed: {fastest:?} until /queue fell");
    assert!(fastest < BOUND, "{fastest:?}");
    assert_nothing_is_executed(interceptor).await;
}

#[tokio::test]
async fn a_request_that_is_being_answered_ends_at_the_application_when_its_client_leaves() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let origin = Origin::slow();
    interceptor.endpoints("app", &[origin.addr]);
    let mut client = interceptor.client().await;
    client.begin_get("/").await;
    eventually("the request is at the application", async || {
        origin.in_progress() == 1
    })
    .await;
    client.leave();
    interceptor.has_requests("app", 0).await;
    eventually("the application is told", async || origin.in_progress() == 0).await;
    interceptor.stop().await;
}

#[tokio::test]
async fn a_place_that_is_given_up_goes_to_the_next_client() {
    let interceptor = Interceptor::start_with(|args| args.cold_start_max_pending_requests = 1).await;
    interceptor.serve(Route::to("app")).await;
    let mut held = interceptor.hold("app", 1).await;
    let refused = interceptor.get("/refused").await;
    assert_eq!(refused.header("rouse-error"), "pending_limit");
    held.remove(0).leave();
    interceptor.has_requests("app", 0).await;

    let mut next = interceptor.hold("app", 1).await;
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    assert_eq!(next[0].response().await.status, 200);
    interceptor.stop().await;
}
