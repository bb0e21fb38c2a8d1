//! A client that leaves while its request is held.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::Full;
use socket2::SockRef;
use tokio::time::Instant;

use super::{super::testing::*, portable};
use crate::downstream::{ClientProtocol, DownstreamSettings};

/// A held place is free within this (DESIGN.md, section 4).
const BAR: Duration = Duration::from_millis(50);
/// A machine that builds meanwhile may stall a thread for longer; the best of these counts.
const ATTEMPTS: usize = 5;

fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let head = |rest: &str| format!("POST /hold HTTP/1.1\r\nhost: a\r\n{rest}").into_bytes();
    let body = |length: usize| vec![b'x'; length];
    vec![
        ("GET", b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
        (
            "small POST",
            [head("content-length: 5\r\n\r\n"), body(5)].concat(),
        ),
        (
            "64 KiB POST",
            [head("content-length: 65536\r\n\r\n"), body(65_536)].concat(),
        ),
        (
            "POST that is not complete",
            [head("content-length: 1000000\r\n\r\n"), body(65_536)].concat(),
        ),
        (
            "chunked POST",
            [
                head("transfer-encoding: chunked\r\n\r\n8000\r\n"),
                body(0x8000),
                b"\r\n".to_vec(),
            ]
            .concat(),
        ),
        (
            "Expect",
            head("expect: 100-continue\r\ncontent-length: 5\r\n\r\n"),
        ),
        (
            "Expect with body",
            [head("expect: 100-continue\r\ncontent-length: 5\r\n\r\n"), body(5)].concat(),
        ),
        (
            "pipelined GETs",
            b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n".repeat(3),
        ),
        (
            "pipelined POSTs",
            [head("content-length: 20000\r\n\r\n"), body(20_000)]
                .concat()
                .repeat(3),
        ),
        ("HTTP/1.0", b"GET /hold HTTP/1.0\r\n\r\n".to_vec()),
    ]
}

/// How long it took the held request to hear that the client has left.
async fn notice(server: &mut Server, request: &[u8], leave: fn(Client) -> Instant) -> Duration {
    let mut client = server.connect().await;
    client.send(request).await;
    let connection = server.arrival().await;
    assert!(!connection.has_left());
    let left_at = leave(client);
    let noticed_at = loop {
        match server.event().await {
            // hyper may be quicker with an EOF behind a whole request, and then drops it.
            Event::Left(at) | Event::Dropped(at) => break at,
            Event::Arrived(_) | Event::Answered => {}
        }
    };
    server.open(0).await;
    assert!(connection.has_left());
    noticed_at.saturating_duration_since(left_at)
}

async fn is_seen(leave: fn(Client) -> Instant) {
    let mut server = Server::start(1, DownstreamSettings::default());
    for (name, request) in requests() {
        let mut best = Duration::MAX;
        for _ in 0..ATTEMPTS {
            best = best.min(notice(&mut server, &request, leave).await);
            if best < BAR {
                break;
            }
        }
        assert!(best < BAR, "{name}: noticed after {best:?}");
    }
}

#[tokio::test]
async fn a_fin_is_seen_within_50_ms_whatever_is_unread() {
    is_seen(Client::leave).await;
}

#[tokio::test]
async fn a_reset_is_seen_within_50_ms_whatever_is_unread() {
    is_seen(Client::reset).await;
}

#[tokio::test]
async fn a_half_close_while_held_means_gone() {
    let mut server = Server::start(1, DownstreamSettings::default());
    let mut client = server.connect().await;
    client
        .send("POST /hold HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\nhello")
        .await;
    server.arrival().await;
    SockRef::from(&client.stream)
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    assert!(matches!(server.event().await, Event::Left(_)));
    assert_eq!(
        client.closed().await,
        "",
        "the connection is closed without an answer"
    );
}

#[tokio::test]
async fn a_client_that_left_before_the_watch_is_seen() {
    let mut server = Server::start(1, DownstreamSettings::default());
    let mut client = server.connect().await;
    client
        .send("POST /wait HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\nhello")
        .await;
    let connection = server.arrival().await;
    client.leave();
    within(connection.hangup()).await;
    assert!(connection.has_left());
    within(connection.hangup()).await;
}

#[tokio::test]
async fn every_watch_of_a_connection_is_woken() {
    let mut server = Server::start(1, DownstreamSettings::default());
    let mut client = server.connect().await;
    client
        .send("POST /wait HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\nhello")
        .await;
    let connection = server.arrival().await;
    let watches: Vec<_> = (0..5).map(|_| tokio::spawn(connection.hangup())).collect();
    let mut polled = tokio_test::task::spawn(connection.hangup());
    tokio_test::assert_pending!(polled.poll());
    drop(polled);
    let mut last = tokio_test::task::spawn(connection.hangup());
    tokio_test::assert_pending!(last.poll());
    eventually(|| connection.state.waiters.lock().count == 6).await;
    client.leave();
    for watch in watches {
        within(watch).await.unwrap();
    }
    eventually(|| last.is_woken()).await;
    tokio_test::assert_ready!(last.poll());
}

#[tokio::test]
async fn a_watch_that_ended_wakes_nobody() {
    let mut server = Server::start(1, DownstreamSettings::default());
    let mut client = server.connect().await;
    client
        .send("POST /wait HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\nhello")
        .await;
    let connection = server.arrival().await;
    for _ in 0..3 {
        let mut watch = tokio_test::task::spawn(connection.hangup());
        tokio_test::assert_pending!(watch.poll());
        drop(watch);
        let waiters = connection.state.waiters.lock();
        assert_eq!(waiters.count, 0);
        assert!(waiters.watch.is_none() && waiters.first.is_none() && waiters.more.is_empty());
    }
    let mut other = server.connect().await;
    other
        .send("POST /hold HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\nhello")
        .await;
    server.arrival().await;
    client.leave();
    other.leave();
    assert!(
        matches!(server.event().await, Event::Left(_)),
        "the other's watch works"
    );
    assert!(
        !connection.has_left(),
        "nobody watched this one, and its body is unread"
    );
}

#[tokio::test]
async fn a_watch_outlives_its_connection() {
    let mut server = Server::start(1, DownstreamSettings::default());
    let mut client = server.connect().await;
    client
        .send("POST /pend HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\nhello")
        .await;
    let connection = server.arrival().await;
    let mut watch = tokio_test::task::spawn(connection.hangup());
    tokio_test::assert_pending!(watch.poll());
    server.workers.abort();
    eventually(|| watch.is_woken()).await;
    tokio_test::assert_ready!(watch.poll());
    // The descriptor is still this connection's, so that the deregistration cannot hit another.
    drop(watch);
    assert_eq!(
        client.closed().await,
        "",
        "the client does not wait for the last holder"
    );
}

#[tokio::test]
async fn an_http2_client_that_resets_its_stream_drops_the_request() {
    let mut server = Server::start(1, DownstreamSettings::default());
    let (mut client, _connection) = server.connect_http2().await;
    for body in [Bytes::new(), Bytes::from(vec![b'x'; 60_000])] {
        let request = Request::post("http://a/hold")
            .version(Version::HTTP_2)
            .body(Full::new(body))
            .unwrap();
        let response = tokio::spawn(client.send_request(request));
        assert_eq!(server.arrival().await.protocol(), ClientProtocol::Http2);
        let left_at = Instant::now();
        response.abort();
        match server.event().await {
            Event::Dropped(at) => assert!(at.saturating_duration_since(left_at) < PATIENCE),
            event => panic!("got {event:?}"),
        }
    }
    assert_eq!(server.workers.open_connections(), 1);
}

#[tokio::test]
async fn an_http2_client_that_closes_its_connection_drops_its_requests() {
    let mut server = Server::start(1, DownstreamSettings::default());
    for body in [Bytes::new(), Bytes::from(vec![b'x'; 200_000])] {
        let (mut client, connection) = server.connect_http2().await;
        let request = Request::post("http://a/hold")
            .version(Version::HTTP_2)
            .body(Full::new(body))
            .unwrap();
        let response = tokio::spawn(client.send_request(request));
        server.arrival().await;
        connection.abort();
        response.abort();
        assert!(matches!(server.event().await, Event::Dropped(_)));
        server.open(0).await;
    }
}

#[tokio::test]
async fn an_http2_connection_that_is_reset_drops_its_requests() {
    let mut server = Server::start(1, DownstreamSettings::default());
    for leave in [Client::leave, Client::reset] {
        let mut client = server.connect().await;
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        // SETTINGS; HEADERS of stream 1 that do not end it: ":method: POST", ":scheme: http", ":path: /hold",
        // ":authority: a"; DATA.
        client.send([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
        client
            .send([
                0, 0, 12, 1, 4, 0, 0, 0, 1, 0x83, 0x86, 0x44, 5, b'/', b'h', b'o', b'l', b'd', 0x41, 1, b'a',
            ])
            .await;
        client.send([0, 0, 3, 0, 0, 0, 0, 0, 1, b'a', b'b', b'c']).await;
        server.arrival().await;
        leave(client);
        assert!(matches!(server.event().await, Event::Dropped(_)));
        server.open(0).await;
    }
}

#[tokio::test]
async fn the_portable_watcher_sees_a_fin_behind_unread_bytes() {
    let mut server = Server::start(1, DownstreamSettings::default());
    let mut client = server.connect().await;
    client
        .send("POST /wait HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\nhello")
        .await;
    let connection = server.arrival().await;
    let watcher = portable::HangupWatcher::new().unwrap();
    let ended = watcher.watch(&connection.state).unwrap();
    watcher.unwatch(&connection.state, ended);
    let _watch = watcher.watch(&connection.state).unwrap();
    client.send(vec![b'x'; 20_000]).await;
    assert!(!connection.has_left());
    client.leave();
    eventually(|| connection.has_left()).await;
}
