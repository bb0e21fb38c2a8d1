//! A client that leaves while its request is held: its place is free at once, and its request is never executed.

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    time::{Duration, Instant},
};

use rouse_tests::{PATIENCE, Rouse, eventually, http, manifest::Tenant, rouse_program};

/// How soon the place of a client that has left must be free.
const FREED_WITHIN: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy)]
enum Leave {
    Fin,
    Reset,
}

fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let head = "host: left.test\r\nx-request-id: abandoned\r\n";
    let post =
        |length: usize| format!("POST /echo HTTP/1.1\r\n{head}content-length: {length}\r\n\r\n").into_bytes();
    vec![
        ("GET", format!("GET / HTTP/1.1\r\n{head}\r\n").into_bytes()),
        ("POST, small body", [post(5), b"hello".to_vec()].concat()),
        ("POST, 64 KiB body", [post(65_536), vec![b'x'; 65_536]].concat()),
        (
            "POST, chunked body",
            format!("POST /echo HTTP/1.1\r\n{head}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
                .into_bytes(),
        ),
        (
            "POST, Expect: 100-continue",
            format!("POST /echo HTTP/1.1\r\n{head}content-length: 5\r\nexpect: 100-continue\r\n\r\n")
                .into_bytes(),
        ),
        (
            "two pipelined GETs",
            format!("GET / HTTP/1.1\r\n{head}\r\n").repeat(2).into_bytes(),
        ),
        ("an HTTP/2 stream", http2_get("left.test")),
    ]
}

/// The preface, empty SETTINGS, and the HEADERS of one GET, its fields written as literals (RFC 7541 section 6.2.2).
fn http2_get(host: &str) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let literal = |name: &str, value: &str| {
        let length = |text: &str| u8::try_from(text.len()).expect("a short text");
        [
            &[0, length(name)],
            name.as_bytes(),
            &[length(value)],
            value.as_bytes(),
        ]
        .concat()
    };
    let fields = [
        literal(":method", "GET"),
        literal(":scheme", "http"),
        literal(":authority", host),
        literal(":path", "/"),
        literal("x-request-id", "abandoned"),
    ]
    .concat();
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        // END_STREAM and END_HEADERS.
        frame(1, 0x5, 1, &fields),
    ]
    .concat()
}

fn leave(stream: TcpStream, how: Leave) {
    if matches!(how, Leave::Reset) {
        socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .expect("a socket option");
    }
    drop(stream);
}

/// How long after the client has left its place is free.
fn freed_after(rouse: &Rouse, name: &str, request: &[u8], how: Leave) -> Duration {
    let mut stream = http::connect(rouse.proxy()).expect("the proxy listens");
    stream.write_all(request).expect("the proxy takes it");
    eventually(&format!("{name} is held"), PATIENCE, || {
        (rouse.queued("left") == 1).then_some(())
    });
    let left = Instant::now();
    leave(stream, how);
    eventually(&format!("{name}, {how:?}: the place is free"), PATIENCE, || {
        (rouse.queued("left") == 0).then_some(())
    });
    left.elapsed()
}

#[test]
fn a_client_that_leaves_frees_its_place_within_50_ms_and_its_request_is_never_executed() {
    let record = tempfile::NamedTempFile::new().expect("a file");
    let tenant = Tenant {
        image: "counted:1".to_owned(),
        ..Tenant::new("left")
    };
    let run = format!(
        "counted={} demo-app --host {{host}} --port {{port}} --record-executed {}",
        rouse_program().display(),
        record.path().display()
    );
    // The node comes after all of them have left.
    let rouse = Rouse::start(&tenant.yaml(), &["--run", &run, "--node-delay", "15s"]);
    let mut slowest = Duration::ZERO;
    for (name, request) in requests() {
        for how in [Leave::Fin, Leave::Reset] {
            // The least of three: a busy machine only ever adds to it.
            let freed = (0..3).map(|_| freed_after(&rouse, name, &request, how)).min();
            slowest = slowest.max(freed.expect("three rounds"));
        }
    }
    assert!(
        slowest < FREED_WITHIN,
        "the slowest took {slowest:?}, the look at /queue included"
    );

    // One that stays is answered, so that the application has run; nobody else's request was.
    let stays = b"GET / HTTP/1.1\r\nhost: left.test\r\nx-request-id: stays\r\nconnection: close\r\n\r\n";
    assert_eq!(
        http::exchange(rouse.proxy(), stays).expect("an answer").status,
        200
    );
    let executed = fs::read_to_string(record.path()).expect("the record");
    let ids: Vec<_> = executed
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(ids, ["stays"]);
}
