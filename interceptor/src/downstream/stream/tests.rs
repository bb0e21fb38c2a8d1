//! The look at the first bytes.

use super::{super::testing::*, *};
use crate::downstream::DownstreamSettings;

#[test]
fn protocols_are_recognised_by_their_first_bytes() {
    assert_eq!(recognise(b""), None);
    for length in 1..HTTP2_PREFACE.len() {
        assert_eq!(recognise(&HTTP2_PREFACE[..length]), None, "{length} bytes");
        let mut other = HTTP2_PREFACE[..length].to_vec();
        other[length - 1] ^= 1;
        assert_eq!(recognise(&other), Some(ClientProtocol::Http1), "{length} bytes");
    }
    assert_eq!(recognise(HTTP2_PREFACE), Some(ClientProtocol::Http2));
    assert_eq!(
        recognise(&[HTTP2_PREFACE.as_slice(), b"more"].concat()),
        Some(ClientProtocol::Http2)
    );
    assert_eq!(recognise(b"GET / HTTP/1.1\r\n"), Some(ClientProtocol::Http1));
    assert_eq!(recognise(b"PUT / HTTP/1.1\r\n"), Some(ClientProtocol::Http1));
    assert_eq!(recognise(b"P"), None, "PUT, POST, PATCH or the preface");
}

async fn send_bytewise(client: &mut Client, bytes: &[u8]) {
    client.stream.set_nodelay(true).unwrap();
    for byte in bytes {
        client.send([*byte]).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_http1_request_may_come_byte_by_byte() {
    let server = Server::start(1, DownstreamSettings::default());
    let mut client = server.connect().await;
    for _ in 0..2 {
        send_bytewise(
            &mut client,
            b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        )
        .await;
        assert!(client.response().await.ends_with("\r\n\r\nhello"));
    }
}

#[tokio::test]
async fn an_http2_preface_may_come_byte_by_byte() {
    let mut server = Server::start(1, DownstreamSettings::default());
    let mut client = server.connect().await;
    send_bytewise(&mut client, HTTP2_PREFACE).await;
    // SETTINGS, then HEADERS of stream 1 that end it: ":method: GET", ":scheme: http", ":path: /", ":authority: a".
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let headers = [0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 0x01, b'a'];
    send_bytewise(&mut client, &[settings.as_slice(), &headers].concat()).await;
    assert_eq!(server.arrival().await.protocol(), ClientProtocol::Http2);
    assert!(matches!(server.event().await, Event::Answered));
}

#[tokio::test]
async fn a_broken_preface_is_answered_as_http1() {
    let server = Server::start(1, DownstreamSettings::default());
    let mut client = server.connect().await;
    client.send("PRI * HTTP/2.0\r\n").await;
    SockRef::from(&client.stream).shutdown(Shutdown::Write).unwrap();
    let response = client.closed().await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    server.open(0).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_and_leaves_costs_nothing() {
    let server = Server::start(1, DownstreamSettings::default());
    let client = server.connect().await;
    server.open(1).await;
    client.leave();
    server.open(0).await;
}

#[tokio::test]
async fn a_head_longer_than_the_first_read_arrives_whole() {
    let server = Server::start(1, DownstreamSettings::default());
    let mut client = server.connect().await;
    let long = "x".repeat(FIRST_READ_BYTES * 5);
    client
        .send(format!("GET / HTTP/1.1\r\nhost: a\r\nlong: {long}\r\n\r\n"))
        .await;
    assert!(client.response().await.ends_with("hello"));
    client
        .send(format!(
            "GET / HTTP/1.1\r\nhost: a\r\nlong: {}\r\n\r\n",
            long.repeat(10)
        ))
        .await;
    assert!(client.response().await.starts_with("HTTP/1.1 431 "));
}
