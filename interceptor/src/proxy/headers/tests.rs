use http::Request;

use super::*;

fn peer() -> SocketAddr {
    ([192, 0, 2, 7], 1234).into()
}

fn prepared(request: Request<()>) -> request::Parts {
    let host = HeaderValue::from_str(host(&request).expect("a host")).expect("a host");
    let upgrade = upgrade(request.headers(), request.version());
    let (mut parts, ()) = request.into_parts();
    prepare_request(&mut parts, &host, peer(), upgrade);
    parts
}

#[test]
fn hop_by_hop_fields_are_removed_with_those_that_connection_names() {
    let parts = prepared(
        Request::get("/")
            .header("host", "a.test")
            .header("connection", "keep-alive, X-Private")
            .header("connection", "x-other")
            .header("x-private", "1")
            .header("x-other", "1")
            .header("keep-alive", "timeout=5")
            .header("proxy-connection", "keep-alive")
            .header("proxy-authorization", "Basic eA==")
            .header("transfer-encoding", "chunked")
            .header("upgrade", "websocket")
            .header("te", "gzip, trailers")
            .header("x-kept", "1")
            .body(())
            .expect("a request"),
    );
    let mut names: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "host",
            "te",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-kept"
        ]
    );
    assert_eq!(parts.headers["te"], "trailers");
}

#[test]
fn an_upgrade_to_http2_is_not_passed_on() {
    // In the second, Connection does not name the settings, so that they would pass as an end-to-end field.
    for (connection, upgrade) in [("Upgrade, HTTP2-Settings", "h2c"), ("upgrade", "websocket, H2C")] {
        let request = Request::get("/")
            .header("host", "a.test")
            .header("connection", connection)
            .header("upgrade", upgrade)
            .header("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA")
            .body(())
            .expect("a request");
        let parts = prepared(request);
        for name in ["connection", "upgrade", "http2-settings"] {
            assert!(!parts.headers.contains_key(name), "{name}: {:?}", parts.headers);
        }
    }
}

#[test]
fn an_upgrade_is_passed_on() {
    let request = Request::get("/")
        .header("host", "a.test")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .body(())
        .expect("a request");
    let parts = prepared(request);
    assert_eq!(parts.headers["connection"], "upgrade");
    assert_eq!(parts.headers["upgrade"], "websocket");
}

#[test]
fn forwarding_fields_are_appended_to_and_forwarded_is_removed() {
    let parts = prepared(
        Request::get("/")
            .header("host", "a.test")
            .header("x-forwarded-for", "198.51.100.1")
            .header("x-forwarded-for", "203.0.113.9")
            .header("x-forwarded-proto", "https")
            .header("forwarded", "for=198.51.100.1")
            .body(())
            .expect("a request"),
    );
    assert_eq!(
        parts.headers["x-forwarded-for"],
        "198.51.100.1, 203.0.113.9, 192.0.2.7"
    );
    assert_eq!(parts.headers.get_all("x-forwarded-for").iter().count(), 1);
    assert_eq!(parts.headers["x-forwarded-proto"], "https");
    assert_eq!(parts.headers["x-forwarded-host"], "a.test");
    assert!(!parts.headers.contains_key("forwarded"));
}

#[test]
fn an_ipv4_client_of_a_dual_stack_listener_is_named_as_ipv4() {
    let mut headers = HeaderMap::new();
    append_forwarded_for(&mut headers, "[::ffff:192.0.2.7]:1".parse().expect("an address"));
    assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
}

#[test]
fn the_target_of_an_absolute_form_request_outranks_the_host_field() {
    let request = Request::get("http://user@real.test:8080/path?x=1")
        .header("host", "other.test")
        .body(())
        .expect("a request");
    assert_eq!(host(&request).expect("a host"), "real.test:8080");
    let parts = prepared(request);
    assert_eq!(parts.headers["host"], "real.test:8080");
    assert_eq!(parts.uri, "/path?x=1");
}

#[test]
fn a_request_without_a_host_or_with_two_is_malformed() {
    let none = Request::get("/").body(()).expect("a request");
    assert!(matches!(host(&none), Err(ProxyError::BadRequest(_))));
    let two = Request::get("/")
        .header("host", "a")
        .header("host", "b")
        .body(())
        .expect("a request");
    assert!(matches!(host(&two), Err(ProxyError::BadRequest(_))));
    let mut old = Request::get("/").body(()).expect("a request");
    *old.version_mut() = Version::HTTP_10;
    assert_eq!(host(&old).expect("HTTP/1.0 needs none"), "");
}

#[test]
fn the_query_and_an_encoded_path_pass_unchanged() {
    let request = Request::get("/a%2Fb//c;d?x=%zz;y&z")
        .header("host", "a")
        .body(())
        .expect("a request");
    assert_eq!(prepared(request).uri, "/a%2Fb//c;d?x=%zz;y&z");
}

#[test]
fn an_http2_endpoint_gets_the_host_as_authority_and_back_again() {
    let parts = prepared(
        Request::get("/p?q")
            .header("host", "a.test:81")
            .body(())
            .expect("a request"),
    );
    let mut request = Request::from_parts(parts, ());
    address_to(&mut request, UpstreamProtocol::H2c);
    assert_eq!(*request.uri(), "http://a.test:81/p?q");
    assert!(!request.headers().contains_key("host"));
    address_to(&mut request, UpstreamProtocol::Http1);
    assert_eq!(*request.uri(), "/p?q");
    assert_eq!(request.headers()["host"], "a.test:81");
    assert_eq!(request.version(), Version::HTTP_11);
}

#[test]
fn only_idempotent_methods_may_be_repeated() {
    assert!(is_idempotent(&Method::GET) && is_idempotent(&Method::DELETE));
    assert!(!is_idempotent(&Method::POST) && !is_idempotent(&Method::PATCH));
    assert!(!is_idempotent(&Method::from_bytes(b"PURGE").expect("a method")));
}

#[test]
fn a_host_field_that_is_no_host_is_malformed() {
    for bad in ["a b", "a/b", "a\\b", "a?b", "a#b", "user@a", "a\"b", "a<b"] {
        let request = Request::get("/").header("host", bad).body(()).expect("a request");
        assert!(matches!(host(&request), Err(ProxyError::BadRequest(_))), "{bad}");
    }
    for good in ["a.test", "A.test:8080", "[::1]:80", "a_b.test.", "*", ""] {
        let request = Request::get("/")
            .header("host", good)
            .body(())
            .expect("a request");
        assert_eq!(host(&request).expect(good), good);
    }
}

#[test]
fn grpc_is_told_from_grpc_web() {
    for (content_type, expected) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc;charset=utf-8", true),
        ("application/grpc-web", false),
        ("application/json", false),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        assert_eq!(is_grpc(&headers), expected, "{content_type}");
    }
}
