//! Workers under real connections: spread, keep-alive, drain, abort, panics, timers.

use std::time::Duration;

use http::{Request, Version};
use http_body_util::{BodyExt, Full};

use super::*;
use crate::downstream::{ClientProtocol, testing::*};

const HALF_A_HEAD: &str = "GET / HTTP/1.1\r\nhost: a\r\n";

#[tokio::test]
async fn connections_go_to_the_worker_with_the_fewest() {
    let mut server = Server::start(3, DownstreamSettings::default());
    let mut clients = Vec::new();
    let mut owners = Vec::new();
    for count in 1..=6 {
        let mut client = server.connect().await;
        client.get("/").await;
        owners.push(server.arrival().await.worker_id());
        server.event().await;
        clients.push(client);
        server.open(count).await;
    }
    let load = |server: &Server| {
        server
            .workers
            .handles()
            .iter()
            .map(WorkerHandle::open_connections)
            .collect::<Vec<_>>()
    };
    assert_eq!(load(&server), [2, 2, 2]);
    let freed = owners[1];
    let (first, second) = (clients.remove(1), clients.remove(3));
    assert_eq!(owners[4], freed, "round robin while equal");
    first.leave();
    second.leave();
    server.open(4).await;
    for _ in 0..2 {
        let mut client = server.connect().await;
        client.get("/").await;
        assert_eq!(server.arrival().await.worker_id(), freed);
        server.event().await;
        clients.push(client);
    }
    assert_eq!(load(&server), [2, 2, 2]);
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let mut server = Server::start(1, DownstreamSettings::default());
    let mut client = server.connect().await;
    for _ in 0..3 {
        let response = client.get("/").await;
        assert!(
            response.starts_with("HTTP/1.1 200 ") && response.ends_with("hello"),
            "{response}"
        );
        assert!(!response.contains("connection:"), "{response}");
        let connection = server.arrival().await;
        assert_eq!(connection.protocol(), ClientProtocol::Http1);
        assert_eq!(connection.peer_addr(), client.stream.local_addr().unwrap());
        assert_eq!(connection.local_addr().unwrap(), server.addr);
        server.event().await;
    }
    assert_eq!(server.workers.open_connections(), 1);
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let server = Server::start(1, DownstreamSettings::default());
    let mut client = server.connect().await;
    let body = "0123456789abcdef".repeat(20_000);
    client
        .send(format!(
            "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            body.len()
        ))
        .await;
    let sent = body.clone();
    client.send(sent).await;
    assert!(client.response().await.ends_with(&body));
}

#[tokio::test]
async fn an_answer_to_an_unread_upload_is_not_lost() {
    let mut server = Server::start(1, DownstreamSettings::default());
    for expects in ["", "connection: close\r\n"] {
        let mut client = server.connect().await;
        let length = 8 << 20;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nhost: a\r\n{expects}content-length: {length}\r\n\r\n"
            ))
            .await;
        // Held no longer: the socket would not close otherwise.
        drop(server.arrival().await);
        server.event().await;
        // More than the socket buffers hold: the client is still sending when the answer is out.
        client.send(vec![b'x'; length]).await;
        assert!(client.response().await.ends_with("hello"));
        assert_eq!(client.closed().await, "");
    }
    server.open(0).await;
}

#[tokio::test]
async fn a_panic_costs_its_connection_only() {
    let server = Server::start(1, DownstreamSettings::default());
    let mut other = server.connect().await;
    other.get("/").await;
    let mut client = server.connect().await;
    client.send("GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.closed().await, "");
    other.get("/").await;
    server.open(1).await;
    assert_eq!(server.workers.handles()[0].panics(), 1);
}

#[tokio::test]
async fn a_panic_costs_its_http2_stream_only() {
    let mut server = Server::start(1, DownstreamSettings::default());
    let (mut client, _connection) = server.connect_http2().await;
    let request = |path: &str| {
        let uri = format!("http://a{path}");
        Request::get(uri)
            .version(Version::HTTP_2)
            .body(Full::default())
            .unwrap()
    };
    let waiting = tokio::spawn(client.send_request(request("/wait")));
    server.arrival().await;
    assert!(within(client.send_request(request("/panic"))).await.is_err());
    server.release(1);
    let response = within(waiting).await.unwrap().unwrap();
    assert_eq!(
        within(response.into_body().collect()).await.unwrap().to_bytes(),
        "released"
    );
    assert_eq!(server.workers.handles()[0].panics(), 1);
}

#[tokio::test]
async fn announcing_the_close_marks_http1_responses() {
    let server = Server::start(1, DownstreamSettings::default());
    let mut client = server.connect().await;
    client.get("/").await;
    server.workers.announce_close();
    assert!(client.get("/").await.contains("connection: close"));
    assert_eq!(client.closed().await, "");
    let mut late = server.connect().await;
    assert!(
        late.get("/").await.contains("connection: close"),
        "new connections are still served"
    );
}

#[tokio::test]
async fn drain_lets_exchanges_finish_and_closes_idle_connections() {
    let mut server = Server::start(2, DownstreamSettings::default());
    let (mut silent, mut idle, mut held) = (
        server.connect().await,
        server.connect().await,
        server.connect().await,
    );
    idle.get("/").await;
    server.arrival().await;
    server.event().await;
    held.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.arrival().await;
    server.open(3).await;
    let mut drained = tokio_test::task::spawn(server.workers.drain());
    assert_eq!(silent.closed().await, "");
    assert_eq!(idle.closed().await, "");
    server.open(1).await;
    tokio_test::assert_pending!(drained.poll());
    server.release(1);
    let response = held.response().await;
    assert!(
        response.contains("connection: close") && response.ends_with("released"),
        "{response}"
    );
    assert_eq!(held.closed().await, "");
    within(drained).await;
    assert_eq!(server.workers.open_connections(), 0);
}

#[tokio::test]
async fn drain_waits_for_a_request_whose_head_has_begun() {
    let mut server = Server::start(1, quick());
    let (mut fresh, mut kept) = (server.connect().await, server.connect().await);
    kept.get("/").await;
    server.arrival().await;
    server.event().await;
    fresh.send(HALF_A_HEAD).await;
    kept.send(HALF_A_HEAD).await;
    server.open(2).await;
    let mut idle = server.connect().await;
    idle.get("/").await;
    server.arrival().await;
    server.event().await;
    let drained = server.workers.drain();
    assert_eq!(idle.closed().await, "", "the drain has begun");
    for client in [&mut fresh, &mut kept] {
        client.send("\r\n").await;
        let response = client.response().await;
        assert!(
            response.contains("connection: close") && response.ends_with("hello"),
            "{response}"
        );
        assert_eq!(client.closed().await, "");
    }
    within(drained).await;
}

#[tokio::test]
async fn drain_ends_an_http2_connection_after_its_streams() {
    let mut server = Server::start(1, DownstreamSettings::default());
    let (mut client, connection) = server.connect_http2().await;
    let request = |path: &str| {
        let uri = format!("http://a{path}");
        Request::get(uri)
            .version(Version::HTTP_2)
            .body(Full::default())
            .unwrap()
    };
    let waiting = tokio::spawn(client.send_request(request("/wait")));
    server.arrival().await;
    let drained = server.workers.drain();
    // Streams that cross the GOAWAY are served.
    within(async { while client.send_request(request("/")).await.is_ok() {} }).await;
    server.release(1);
    let response = within(waiting).await.unwrap().unwrap();
    assert_eq!(
        within(response.into_body().collect()).await.unwrap().to_bytes(),
        "released"
    );
    within(drained).await;
    within(connection).await.unwrap();
}

#[tokio::test]
async fn abort_cuts_every_kind_of_connection() {
    let mut server = Server::start(1, DownstreamSettings::default());
    let (mut idle, mut held, mut tunnel) = (
        server.connect().await,
        server.connect().await,
        server.connect().await,
    );
    idle.get("/").await;
    held.send("GET /pend HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let response = {
        tunnel
            .send("GET /switch HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
            .await;
        tunnel.response().await
    };
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    let (mut http2, _connection) = server.connect_http2().await;
    let request = Request::get("http://a/pend")
        .version(Version::HTTP_2)
        .body(Full::default())
        .unwrap();
    let streaming = tokio::spawn(http2.send_request(request));
    server.open(4).await;
    let drained = server.workers.drain();
    assert_eq!(idle.closed().await, "");
    server.open(3).await;
    server.workers.abort();
    assert_eq!(held.closed().await, "");
    assert_eq!(tunnel.closed().await, "");
    assert!(within(streaming).await.unwrap().is_err());
    within(drained).await;
    let mut dropped = 0;
    while dropped < 2 {
        dropped += usize::from(matches!(server.event().await, Event::Dropped(_)));
    }
    let mut late = server.connect().await;
    assert_eq!(late.closed().await, "");
}

#[tokio::test]
async fn stopping_drops_what_is_left() {
    let mut server = Server::start(2, DownstreamSettings::default());
    let mut client = server.connect().await;
    client.send("GET /pend HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.arrival().await;
    let Server {
        workers, accepting, ..
    } = server;
    within(workers.stop()).await;
    assert_eq!(client.closed().await, "");
    accepting.abort();
}

#[tokio::test]
async fn a_worker_that_does_not_start_is_an_error() {
    let make_service = |id: WorkerId, _: &WorkerHandle| {
        assert_ne!(id, WorkerId(1), "asked for");
        tower::service_fn(async |_: Request<hyper::body::Incoming>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(Full::<bytes::Bytes>::default()))
        })
    };
    let count = NonZeroUsize::new(2).unwrap();
    assert!(Workers::start(count, make_service, DownstreamSettings::default()).is_err());
}

#[tokio::test]
async fn a_half_sent_head_is_closed_and_an_idle_connection_is_not() {
    let limit = Duration::from_millis(100);
    let settings = DownstreamSettings {
        header_timeout: Some(limit),
        ..quick()
    };
    let mut server = Server::start(1, settings);
    let (mut idle, mut fresh, mut kept, mut held) = (
        server.connect().await,
        server.connect().await,
        server.connect().await,
        server.connect().await,
    );
    idle.get("/").await;
    kept.get("/").await;
    held.send("POST /wait HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf")
        .await;
    let mut preface = server.connect().await;
    preface.send("PRI * HTTP/2.0").await;
    fresh.send(HALF_A_HEAD).await;
    kept.send(HALF_A_HEAD).await;
    let begin = tokio::time::Instant::now();
    assert_eq!(fresh.closed().await, "");
    assert_eq!(kept.closed().await, "");
    assert_eq!(preface.closed().await, "");
    assert!(begin.elapsed() + quick().sweep_interval * 2 >= limit);
    server.release(1);
    assert!(
        held.response().await.ends_with("released"),
        "no timer runs while held"
    );
    assert!(idle.get("/").await.ends_with("hello"));
    // The next head has its own time.
    idle.send(HALF_A_HEAD).await;
    idle.send("\r\n").await;
    idle.response().await;
    assert!(matches!(server.event().await, Event::Arrived(_)));
}

#[tokio::test]
async fn silent_and_idle_connections_are_closed_in_their_time() {
    let limit = Duration::from_millis(100);
    let mut server = Server::start(
        1,
        DownstreamSettings {
            first_byte_timeout: Some(limit),
            ..quick()
        },
    );
    let (mut silent, mut kept) = (server.connect().await, server.connect().await);
    kept.get("/").await;
    assert_eq!(silent.closed().await, "");
    assert!(kept.get("/").await.ends_with("hello"));

    server = Server::start(
        1,
        DownstreamSettings {
            idle_timeout: Some(limit),
            ..quick()
        },
    );
    let (mut idle, mut held, mut tunnel) = (
        server.connect().await,
        server.connect().await,
        server.connect().await,
    );
    held.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    tunnel
        .send("GET /switch HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
        .await;
    tunnel.response().await;
    let (http2, connection) = server.connect_http2().await;
    idle.get("/").await;
    assert_eq!(idle.closed().await, "");
    within(connection).await.unwrap();
    assert!(http2.is_closed());
    server.release(1);
    assert!(held.response().await.ends_with("released"));
    tunnel.send("ping").await;
    let mut echo = [0; 4];
    within(tokio::io::AsyncReadExt::read_exact(&mut tunnel.stream, &mut echo))
        .await
        .unwrap();
    assert_eq!(&echo, b"ping");
}
