//! What follows `101 Switching Protocols`: bytes both ways, counted until it closes.

use std::time::Duration;

use http::Request;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{Client, Interceptor, Origin, Route, empty, eventually, h2_client};

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nhost: app.example.com\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Switches, then echoes; `bye` ends it.
async fn websocket(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8(head).expect("a text").to_lowercase();
    assert!(
        head.contains("upgrade: websocket") && head.contains("connection: upgrade"),
        "{head}"
    );
    stream
        .write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
              sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nwelcome",
        )
        .await
        .expect("the proxy reads");
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        if buffer[..read].ends_with(b"bye") || stream.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

fn websocket_origin() -> Origin {
    Origin::raw(|stream, _| websocket(stream))
}

async fn assert_echoes(client: &mut Client) {
    for word in ["hello", "world"] {
        client.send(word).await;
        assert_eq!(client.bytes(word.len()).await, word);
    }
}

#[tokio::test]
async fn a_tunnel_passes_bytes_both_ways_and_counts_until_the_client_closes() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let origin = websocket_origin();
    interceptor.endpoints("app", &[origin.addr]);
    let mut client = interceptor.client().await;
    client.send(HANDSHAKE).await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("upgrade")), (101, "websocket"));
    assert_eq!(
        head.header("sec-websocket-accept"),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    assert_eq!(client.bytes(7).await, "welcome");
    assert_echoes(&mut client).await;
    interceptor.has_requests("app", 1).await;
    client.leave();
    interceptor.has_requests("app", 0).await;
    interceptor.stop().await;
}

#[tokio::test]
async fn a_tunnel_comes_about_from_zero_and_ends_when_the_application_closes() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let origin = websocket_origin();
    let mut client = interceptor.client().await;
    client.send(HANDSHAKE).await;
    interceptor.has_requests("app", 1).await;
    interceptor.endpoints("app", &[origin.addr]);
    let head = client.head().await;
    assert_eq!((head.status, head.was_cold()), (101, Some(true)));
    assert_eq!(client.bytes(7).await, "welcome");
    assert_echoes(&mut client).await;
    client.send("bye").await;
    assert_eq!(client.closed().await, "");
    // It may still have something to say, and is counted until it closes too.
    client.leave();
    interceptor.has_requests("app", 0).await;
    interceptor.stop().await;
}

#[tokio::test]
async fn an_upgrade_that_the_application_declines_is_an_ordinary_exchange() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    let mut client = interceptor.client().await;
    client.send(HANDSHAKE).await;
    let response = client.response().await;
    assert_eq!((response.status, response.text()), (200, "hello"));
    interceptor.has_requests("app", 0).await;
    assert_eq!(client.get("/again").await.status, 200, "the connection goes on");
    interceptor.stop().await;
}

#[tokio::test]
async fn the_request_timeout_does_not_cut_a_tunnel() {
    let interceptor = Interceptor::start_with(|args| args.request_timeout = Duration::from_millis(200)).await;
    interceptor.serve(Route::to("app")).await;
    let origin = websocket_origin();
    interceptor.endpoints("app", &[origin.addr]);
    let mut client = interceptor.client().await;
    client.send(HANDSHAKE).await;
    assert_eq!(client.head().await.status, 101);
    assert_eq!(client.bytes(7).await, "welcome");
    assert_eq!(client.bytes_within(Duration::from_millis(400)).await, "");
    assert_echoes(&mut client).await;
    client.leave();
    interceptor.stop().await;
}

#[tokio::test]
async fn a_tunnel_is_given_up_when_its_client_is_reset() {
    let interceptor = Interceptor::start().await;
    interceptor
        .index
        .apply_service(crate::support::service("app", None));
    interceptor
        .serve_interceptor_route(
            "app",
            json!({
                "target": { "service": "app", "port": 80 },
                "rules": [{ "hosts": ["app.example.com"] }],
                "scalingMetric": { "concurrency": { "targetValue": 10 } },
            }),
        )
        .await;
    let origin = websocket_origin();
    interceptor.endpoints("app", &[origin.addr]);
    let mut client = interceptor.client().await;
    client.send(HANDSHAKE).await;
    assert_eq!(client.head().await.status, 101);
    client.reset();
    eventually("the tunnel ends", async || {
        interceptor.concurrency("app").await == 0
    })
    .await;
    interceptor.stop().await;
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_no_answer() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let origin = Origin::raw(|mut stream, _| async move {
        let head =
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other\r\n\r\nwelcome";
        // The request is left where it is; the proxy closes.
        if stream.readable().await.is_ok() && stream.write_all(head).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    });
    interceptor.endpoints("app", &[origin.addr]);
    let mut client = interceptor.client().await;
    let response = client.get("/").await;
    assert_eq!(
        (response.status, response.header("rouse-error")),
        (502, "upstream_protocol")
    );

    let (mut client, _connection) = h2_client(interceptor.proxy).await;
    let request = Request::get("http://app.example.com/")
        .body(empty())
        .expect("a request");
    let response = client.send_request(request).await.expect("a response");
    assert_eq!(response.status(), 502);
    interceptor.has_requests("app", 0).await;
}
