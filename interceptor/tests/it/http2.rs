//! HTTP/2 on either side.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::BodyExt as _;
use hyper::body::Frame;

use crate::support::{
    Body, Interceptor, Origin, Route, UnboundOrigin, empty, h2_client, soon, streamed, text,
};

fn get(path: &str) -> Request<Body> {
    Request::get(format!("http://app.example.com{path}"))
        .body(empty())
        .expect("a request")
}

#[tokio::test]
async fn an_h2_client_reaches_an_http1_endpoint_also_from_zero() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let origin = Origin::hello();
    let (mut client, _connection) = h2_client(interceptor.proxy).await;
    let held = tokio::spawn(client.send_request(get("/a?b=c")));
    interceptor.has_requests("app", 1).await;
    interceptor.endpoints("app", &[origin.addr]);
    let response = soon("the response", held)
        .await
        .expect("no panic")
        .expect("a response");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-keda-http-cold-start"], "true");
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(body, "hello");

    let seen = origin.only_request();
    assert_eq!(seen.version, Version::HTTP_11);
    assert_eq!(seen.target, "/a?b=c");
    assert_eq!(seen.headers["host"], "app.example.com");
    interceptor.stop().await;
}

#[tokio::test]
async fn an_h2c_endpoint_is_spoken_to_in_http2() {
    let interceptor = Interceptor::serving(Route::to("app").over_h2c()).await;
    let origin = Origin::echo();
    interceptor.endpoints("app", &[origin.addr]);
    // From an HTTP/1 client.
    let mut client = interceptor.client().await;
    let response = client.post("/a?b=c", "hello").await;
    assert_eq!((response.status, response.text()), (200, "hello"));
    assert_eq!(response.version, "HTTP/1.1");
    let seen = origin.only_request();
    assert_eq!(seen.version, Version::HTTP_2);
    assert_eq!(seen.target, "http://app.example.com/a?b=c");
    // From an HTTP/2 client.
    let (mut client, _connection) = h2_client(interceptor.proxy).await;
    let request = get("/two").map(|_| text("body"));
    let response = soon("the response", client.send_request(request))
        .await
        .expect("a response");
    assert_eq!(response.status(), 200);
    interceptor.stop().await;
}

#[tokio::test]
async fn the_trailers_of_a_grpc_response_pass() {
    let interceptor = Interceptor::serving(Route::to("app").over_h2c()).await;
    let origin = Origin::start(|_| async {
        let (frames, body) = streamed();
        let trailers = HeaderMap::from_iter([
            (
                http::HeaderName::from_static("grpc-status"),
                "0".parse().expect("a value"),
            ),
            (
                http::HeaderName::from_static("grpc-message"),
                "fine".parse().expect("a value"),
            ),
        ]);
        frames
            .send(Frame::data(Bytes::from_static(b"\0\0\0\0\x02hi")))
            .expect("open");
        frames.send(Frame::trailers(trailers)).expect("open");
        let mut response = Response::new(body);
        response
            .headers_mut()
            .insert("content-type", "application/grpc".parse().expect("a value"));
        response
    });
    let (mut client, _connection) = h2_client(interceptor.proxy).await;
    let request = Request::post("http://app.example.com/pkg.Service/Method")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(text("\0\0\0\0\0"))
        .expect("a request");
    let held = tokio::spawn(client.send_request(request));
    interceptor.has_requests("app", 1).await;
    interceptor.endpoints("app", &[origin.addr]);

    let response = soon("the response", held)
        .await
        .expect("no panic")
        .expect("a response");
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let body = soon("the body", response.into_body().collect())
        .await
        .expect("a body");
    let trailers = body.trailers().expect("trailers").clone();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["grpc-message"]),
        (&"0".parse().unwrap(), &"fine".parse().unwrap())
    );
    assert_eq!(body.to_bytes(), "\0\0\0\0\x02hi");
    assert_eq!(origin.only_request().headers["te"], "trailers");
    interceptor.has_requests("app", 0).await;
    interceptor.stop().await;
}

#[tokio::test]
async fn grpc_clients_get_our_own_errors_as_trailers_only() {
    let interceptor = Interceptor::serving(Route::to("app").readiness_timeout("50ms")).await;
    let (mut client, _connection) = h2_client(interceptor.proxy).await;
    for (host, status, reason) in [
        ("nobody.example.com", "12", "route_not_found"),
        ("app.example.com", "4", "readiness_timeout"),
    ] {
        let request = Request::post(format!("http://{host}/pkg.Service/Method"))
            .header("content-type", "application/grpc+proto")
            .body(text("\0\0\0\0\0"))
            .expect("a request");
        let response = soon("the response", client.send_request(request))
            .await
            .expect("a response");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.headers()["grpc-status"], status);
        assert_eq!(response.headers()["rouse-error"], reason);
        let body = response.into_body().collect().await.expect("a body");
        assert_eq!(body.to_bytes(), "");
    }
    interceptor.stop().await;
}

#[tokio::test]
async fn a_burst_of_200_streams_opens_few_connections_to_an_h2c_endpoint() {
    let interceptor = Interceptor::serving(Route::to("app").over_h2c()).await;
    let origin = Origin::slow();
    let (mut client, _connection) = h2_client(interceptor.proxy).await;
    let held: Vec<_> = (0..200)
        .map(|number| tokio::spawn(client.send_request(get(&format!("/held/{number}")))))
        .collect();
    interceptor.has_requests("app", 200).await;
    interceptor.endpoints("app", &[origin.addr]);
    crate::support::eventually("all are at the application", async || origin.in_progress() == 200).await;
    println!("measured: {} connections for 200 streams", origin.connections());
    assert!(origin.connections() <= 4, "{}", origin.connections());
    origin.answer(400);
    for response in held {
        let response = soon("a response", response)
            .await
            .expect("no panic")
            .expect("a response");
        assert_eq!(response.status(), 200);
    }
    let warm: Vec<_> = (0..200)
        .map(|number| tokio::spawn(client.send_request(get(&format!("/warm/{number}")))))
        .collect();
    for response in warm {
        let response = soon("a response", response)
            .await
            .expect("no panic")
            .expect("a response");
        assert_eq!(response.status(), 200);
    }
    assert!(origin.connections() <= 4, "{}", origin.connections());
    let distinct: BTreeSet<String> = origin.targets().into_iter().collect();
    assert_eq!((origin.request_count(), distinct.len()), (400, 400), "each once");
    interceptor.stop().await;
}

#[tokio::test]
async fn many_streams_of_one_connection_share_http1_connections() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    let (mut client, _connection) = h2_client(interceptor.proxy).await;
    for _ in 0..5 {
        let burst: Vec<_> = (0..100)
            .map(|_| tokio::spawn(client.send_request(get("/"))))
            .collect();
        for response in burst {
            let response = soon("a response", response)
                .await
                .expect("no panic")
                .expect("a response");
            assert_eq!(response.status(), 200);
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            assert_eq!(body, "hello");
        }
    }
    println!(
        "measured: {} connections for 5 × 100 requests",
        origin.connections()
    );
    assert!(origin.connections() <= 200, "{}", origin.connections());
    assert_eq!(origin.request_count(), 500);
    interceptor.stop().await;
}

#[tokio::test]
async fn an_h2c_endpoint_that_listens_late_is_called_when_it_does() {
    let interceptor = Interceptor::serving(Route::to("app").over_h2c()).await;
    let unbound = UnboundOrigin::new();
    interceptor.endpoints("app", &[unbound.addr]);
    let mut clients = interceptor.hold("app", 20).await;
    let origin = unbound.hello();
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    assert_eq!(origin.request_count(), 20);
    assert!(origin.connections() <= 4, "{}", origin.connections());
    interceptor.stop().await;
}

#[tokio::test]
async fn an_h2c_endpoint_that_closes_at_once_is_not_hammered() {
    let interceptor = Interceptor::serving(Route::to("app").over_h2c().readiness_timeout("500ms")).await;
    let closing = Origin::raw(|stream, _| async move { drop(stream) });
    interceptor.endpoints("app", &[closing.addr]);
    for body in ["", "body"] {
        let response = if body.is_empty() {
            interceptor.get("/").await
        } else {
            interceptor.client().await.post("/", body).await
        };
        assert!([502, 504].contains(&response.status), "{response:?}");
    }
    println!("measured: {} connections within a second", closing.connections());
    assert!(closing.connections() < 1_000, "{}", closing.connections());
    interceptor.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_speaks_another_protocol_is_an_error_and_not_a_hang() {
    let interceptor = Interceptor::serving(Route::to("app").over_h2c().readiness_timeout("500ms")).await;
    // Answers everything in HTTP/1, as a server without HTTP/2 does.
    let old = Origin::raw(|mut stream, _| async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut buffer = [0; 1024];
        if stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
            // The proxy may have left.
            let _written = stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await;
        }
    });
    interceptor.endpoints("app", &[old.addr]);
    let response = interceptor.get("/").await;
    assert!([502, 504].contains(&response.status), "{response:?}");
    println!(
        "measured: {} connections to an endpoint of another protocol",
        old.connections()
    );
    interceptor.stop().await;
}
