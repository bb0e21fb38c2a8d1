//! Heads as they arrive on either side.

use std::time::Duration;

use http::Response;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Interceptor, Origin, Route, empty, text};

async fn serving(origin: &Origin) -> Interceptor {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    interceptor.endpoints("app", &[origin.addr]);
    interceptor
}

#[tokio::test]
async fn a_request_loses_what_concerned_its_connection_and_gains_where_it_came_from() {
    let origin = Origin::hello();
    let interceptor = serving(&origin).await;
    let mut client = interceptor.client().await;
    client
        .send(
            "GET /a%2Fb/%7Euser/../x?q=%20a+b&&c HTTP/1.1\r\nHost: App.Example.com:8080\r\n\
             Connection: keep-alive, X-Private\r\nX-Private: secret\r\nKeep-Alive: timeout=5\r\n\
             Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\nTE: gzip, trailers\r\n\
             Forwarded: for=9.9.9.9\r\nX-Kept: one\r\nX-Kept: two\r\nUser-Agent: test\r\n\r\n",
        )
        .await;
    assert_eq!(client.response().await.status, 200);
    let seen = origin.only_request();
    assert_eq!(seen.target, "/a%2Fb/%7Euser/../x?q=%20a+b&&c", "byte for byte");
    assert_eq!(seen.headers["host"], "App.Example.com:8080");
    for gone in [
        "connection",
        "x-private",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "forwarded",
    ] {
        assert!(!seen.headers.contains_key(gone), "{gone}: {:?}", seen.headers);
    }
    let kept: Vec<_> = seen.headers.get_all("x-kept").iter().collect();
    assert_eq!(kept, ["one", "two"]);
    assert_eq!(seen.headers["user-agent"], "test");
    assert_eq!(seen.headers["te"], "trailers");
    assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen.headers["x-forwarded-host"], "App.Example.com:8080");
    assert_eq!(seen.headers["x-forwarded-proto"], "http");
    interceptor.stop().await;
}

#[tokio::test]
async fn forwarding_fields_are_appended_to() {
    let origin = Origin::hello();
    let interceptor = serving(&origin).await;
    let mut client = interceptor.client().await;
    client
        .send(
            "GET / HTTP/1.1\r\nhost: app.example.com\r\nx-forwarded-for: 1.1.1.1, 2.2.2.2\r\n\
             x-forwarded-for: 3.3.3.3\r\nx-forwarded-proto: https\r\nx-forwarded-host: public.example.com\r\n\r\n",
        )
        .await;
    assert_eq!(client.response().await.status, 200);
    let headers = origin.only_request().headers;
    assert_eq!(headers["x-forwarded-for"], "1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1");
    assert_eq!(headers.get_all("x-forwarded-for").iter().count(), 1);
    assert_eq!(headers["x-forwarded-proto"], "https");
    assert_eq!(headers["x-forwarded-host"], "public.example.com");
    interceptor.stop().await;
}

#[tokio::test]
async fn the_host_of_an_absolute_target_outranks_the_field() {
    let origin = Origin::hello();
    let interceptor = serving(&origin).await;
    let mut client = interceptor.client().await;
    client
        .send("GET http://app.example.com/path?q HTTP/1.1\r\nhost: other.example.com\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status, 200);
    let seen = origin.only_request();
    assert_eq!(
        (seen.target.as_str(), seen.headers["host"].as_bytes()),
        ("/path?q", b"app.example.com".as_slice())
    );
    interceptor.stop().await;
}

#[tokio::test]
async fn options_for_the_whole_server_stays_that() {
    let origin = Origin::hello();
    let interceptor = serving(&origin).await;
    let mut client = interceptor.client().await;
    client
        .send("OPTIONS * HTTP/1.1\r\nhost: app.example.com\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(origin.only_request().target, "*");
    interceptor.stop().await;
}

#[tokio::test]
async fn a_response_loses_what_concerned_its_connection() {
    let origin = Origin::raw(|mut stream, _| async move {
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
            stream
                .write_all(
                    b"HTTP/1.1 201 Fine By Me\r\nConnection: X-Private\r\nX-Private: secret\r\nKeep-Alive: timeout=5\r\n\
                      Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nServer: test\r\nContent-Length: 2\r\n\r\nok",
                )
                .await
                .expect("the proxy reads");
        }
    });
    let interceptor = serving(&origin).await;
    let response = interceptor.get("/").await;
    assert_eq!((response.status, response.text()), (201, "ok"));
    for gone in ["connection", "x-private", "keep-alive"] {
        assert!(
            !response.headers.contains_key(gone),
            "{gone}: {:?}",
            response.headers
        );
    }
    let cookies: Vec<_> = response.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(response.header("server"), "test");
    interceptor.stop().await;
}

#[tokio::test]
async fn responses_without_a_body_keep_their_connections() {
    let origin = Origin::start(|request| async move {
        let response = match request.uri().path() {
            "/head" => Response::builder().header("content-length", "1234").body(empty()),
            "/204" => Response::builder().status(204).body(empty()),
            "/304" => Response::builder()
                .status(304)
                .header("etag", "\"x\"")
                .body(empty()),
            _ => Response::builder().body(text("hello")),
        };
        response.expect("a response")
    });
    let interceptor = serving(&origin).await;
    let mut client = interceptor.client().await;
    client
        .send("HEAD /head HTTP/1.1\r\nhost: app.example.com\r\n\r\n")
        .await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("content-length")), (200, "1234"));
    assert_eq!(client.get("/204").await.status, 204);
    let not_modified = client.get("/304").await;
    assert_eq!((not_modified.status, not_modified.header("etag")), (304, "\"x\""));
    assert_eq!(client.get("/").await.text(), "hello");
    assert_eq!(origin.connections(), 1, "the same connection throughout");
    assert_eq!(origin.seen()[0].method, http::Method::HEAD);
    interceptor.stop().await;
}

#[tokio::test]
async fn an_http_1_0_client_is_answered_in_its_own_way() {
    let origin = Origin::start(|_| async {
        let (frames, body) = crate::support::streamed();
        frames
            .send(hyper::body::Frame::data("hello".into()))
            .expect("open");
        Response::new(body)
    });
    let interceptor = serving(&origin).await;
    let mut client = interceptor.client().await;
    client
        .send("GET / HTTP/1.0\r\nhost: app.example.com\r\n\r\n")
        .await;
    let response = client.response().await;
    assert_eq!((response.status, response.text()), (200, "hello"));
    assert_eq!(
        response.header("transfer-encoding"),
        "",
        "it does not know chunks"
    );
    assert_eq!(client.closed().await, "");
    assert_eq!(origin.only_request().version, http::Version::HTTP_11);
    interceptor.stop().await;
}

#[tokio::test]
async fn an_http_1_0_application_does_not_make_the_client_one() {
    let origin = Origin::raw(|mut stream, _| async move {
        let mut buffer = [0; 4096];
        if stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
            stream
                .write_all(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nhello")
                .await
                .expect("the proxy reads");
        }
    });
    let interceptor = serving(&origin).await;
    let mut client = interceptor.client().await;
    for _ in 0..3 {
        let response = client.get("/").await;
        assert_eq!(
            (response.version.as_str(), response.text()),
            ("HTTP/1.1", "hello")
        );
    }
    interceptor.stop().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|request| async move { Response::new(text(request.uri().path().to_owned())) });
    let interceptor = serving(&origin).await;
    let mut client = interceptor.client().await;
    for number in 0..10 {
        client.begin_get(&format!("/{number}")).await;
    }
    for number in 0..10 {
        assert_eq!(client.response().await.text(), format!("/{number}"));
    }
    interceptor.stop().await;
}

#[tokio::test]
async fn interim_responses_of_the_application_do_not_end_the_exchange() {
    let origin = Origin::raw(|mut stream, _| async move {
        let mut buffer = [0; 4096];
        if stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
            stream
                .write_all(
                    b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                )
                .await
                .expect("the proxy reads");
            // Until the proxy closes.
            let _end = stream.read(&mut buffer).await;
        }
    });
    let interceptor = serving(&origin).await;
    let mut client = interceptor.client().await;
    client.begin_get("/").await;
    let mut response = client.response().await;
    if response.status == 103 {
        response = client.response().await;
    }
    assert_eq!((response.status, response.text()), (200, "ok"));
    interceptor.stop().await;
}

#[tokio::test]
async fn a_client_that_sends_its_head_byte_by_byte_is_served() {
    let origin = Origin::hello();
    let interceptor = serving(&origin).await;
    let mut client = interceptor.client().await;
    for byte in b"GET /slowly HTTP/1.1\r\nhost: app.example.com\r\n\r\n" {
        client.send([*byte]).await;
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    assert_eq!(client.response().await.status, 200);
    interceptor.stop().await;
}
