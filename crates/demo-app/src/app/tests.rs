use std::{process::ExitCode, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody, combinators::BoxBody};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

use super::run;
use crate::{Args, Cksum, DemoApp, monotonic_ns, starts};

type RequestBody = BoxBody<Bytes, std::convert::Infallible>;

struct Client(http1::SendRequest<RequestBody>);

impl Client {
    async fn connect(app: &DemoApp) -> Self {
        let stream = TcpStream::connect(app.addr()).await.expect("connect");
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("handshake");
        tokio::spawn(connection);
        Self(sender)
    }

    async fn send(&mut self, request: Request<RequestBody>) -> hyper::Result<Response<Incoming>> {
        self.0.ready().await?;
        self.0.send_request(request).await
    }

    async fn get(&mut self, path: &str) -> Response<Incoming> {
        self.send(get(path)).await.expect("an answer")
    }

    async fn json(&mut self, path: &str) -> Value {
        json(self.get(path).await).await
    }
}

fn get(path: &str) -> Request<RequestBody> {
    Request::get(path).body(Empty::new().boxed()).expect("a request")
}

async fn whole(response: Response<Incoming>) -> Bytes {
    response
        .into_body()
        .collect()
        .await
        .expect("a whole body")
        .to_bytes()
}

async fn json(response: Response<Incoming>) -> Value {
    serde_json::from_slice(&whole(response).await).expect("JSON")
}

async fn start(args: Args) -> DemoApp {
    DemoApp::start(args).await.expect("started")
}

/// 64 MiB in frames that differ.
fn large_body() -> (RequestBody, Cksum) {
    let frames: Vec<_> = (0..64u8).map(|n| Bytes::from(vec![n; 1 << 20])).collect();
    let mut cksum = Cksum::new();
    for frame in &frames {
        cksum.update(frame);
    }
    let body = StreamBody::new(stream::iter(
        frames.into_iter().map(|frame| Ok(Frame::data(frame))),
    ));
    (BodyExt::boxed(body), cksum)
}

#[tokio::test]
async fn info_has_the_fields_of_podinfo() {
    let app = start(Args {
        message: "hello".to_owned(),
        ..Args::default()
    })
    .await;
    let mut client = Client::connect(&app).await;
    for path in ["/", "/api/info"] {
        let info = client.json(path).await;
        assert_eq!(
            (&info["message"], &info["color"]),
            (&"hello".into(), &"#34577c".into()),
            "{path}"
        );
        for field in ["hostname", "version", "runtime"] {
            assert!(info[field].is_string(), "{path} has {field}: {info}");
        }
    }
}

#[tokio::test]
async fn echo_gives_back_each_part_of_a_body_before_the_next_is_sent() {
    let app = start(Args::default()).await;
    let mut client = Client::connect(&app).await;
    let (sender, mut parts) = mpsc::channel::<Bytes>(1);
    let parts = stream::poll_fn(move |cx| parts.poll_recv(cx)).map(|part| Ok(Frame::data(part)));
    let body = StreamBody::new(parts);
    let request = Request::put("/echo?q=1")
        .header("x-a", "b")
        .body(BodyExt::boxed(body))
        .expect("a request");
    let response = client.send(request).await.expect("an answer");
    assert_eq!(response.headers()["x-echo"], "PUT /echo?q=1 HTTP/1.1");
    assert_eq!(response.headers()["x-echo-x-a"], "b");
    let mut body = response.into_body();
    for part in ["first", "second"] {
        sender.send(part.into()).await.expect("sent");
        let frame = body.frame().await.expect("a frame").expect("no error");
        assert_eq!(frame.into_data().expect("data"), part);
    }
    drop(sender);
    assert!(body.frame().await.is_none(), "the answer ends with the request");
}

#[tokio::test]
async fn a_large_body_is_digested_and_echoed_byte_for_byte() {
    let app = start(Args::default()).await;
    let mut client = Client::connect(&app).await;

    let (body, expected) = large_body();
    let request = Request::post("/upload").body(body).expect("a request");
    let got = json(client.send(request).await.expect("an answer")).await;
    assert_eq!(
        got,
        serde_json::json!({ "bytes": 64 << 20, "cksum": expected.finish() })
    );

    let (body, expected) = large_body();
    let request = Request::post("/echo").body(body).expect("a request");
    let mut echoed = client.send(request).await.expect("an answer").into_body();
    let mut cksum = Cksum::new();
    while let Some(frame) = echoed.frame().await {
        cksum.update(frame.expect("no error").data_ref().expect("data"));
    }
    assert_eq!(
        (cksum.bytes(), cksum.finish()),
        (expected.bytes(), expected.finish())
    );
}

#[tokio::test]
async fn a_large_body_is_digested_over_http2() {
    let app = start(Args::default()).await;
    let stream = TcpStream::connect(app.addr()).await.expect("connect");
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("handshake");
    tokio::spawn(connection);
    let (body, expected) = large_body();
    let request = Request::post(format!("http://{}/upload", app.addr()))
        .body(body)
        .expect("a request");
    let got = json(sender.send_request(request).await.expect("an answer")).await;
    assert_eq!(
        got,
        serde_json::json!({ "bytes": 64 << 20, "cksum": expected.finish() })
    );
}

#[tokio::test]
async fn executions_are_counted_by_request_id_and_probes_are_not() {
    let record = tempfile::NamedTempFile::new().expect("a file");
    let args = Args {
        record_executed: Some(record.path().to_owned()),
        ..Args::default()
    };
    let app = start(args).await;
    let mut client = Client::connect(&app).await;
    for id in ["a", "b", "a"] {
        let mut request = get("/delay/0");
        request
            .headers_mut()
            .insert("x-request-id", id.parse().expect("a value"));
        whole(client.send(request).await.expect("an answer")).await;
    }
    whole(client.get("/status/404").await).await;
    for path in ["/healthz", "/readyz", "/metrics", "/timing"] {
        assert_eq!(client.get(path).await.status(), StatusCode::OK, "{path}");
    }

    let counts = client.json("/executed").await;
    assert_eq!(
        (&counts["total"], &counts["without_id"]),
        (&4.into(), &1.into()),
        "{counts}"
    );
    assert_eq!(counts["by_id"], serde_json::json!({ "a": 2, "b": 1 }));
    assert_eq!(
        (&counts["in_flight"], &counts["max_in_flight"]),
        (&0.into(), &1.into()),
        "{counts}"
    );
    let lines = std::fs::read_to_string(record.path()).expect("the record");
    let pid = std::process::id();
    let expected = ["a", "b", "a"]
        .map(|id| format!("{pid} {id} GET /delay/0\n"))
        .concat();
    assert_eq!(lines, format!("{expected}{pid} - GET /status/404\n"));
}

#[tokio::test]
async fn a_request_is_in_flight_until_its_last_byte() {
    let app = start(Args::default()).await;
    let response = Client::connect(&app).await.get("/drip/0.2").await;
    assert_eq!(
        app.executed().counts().in_flight,
        1,
        "the head has come, the body has not"
    );
    assert_eq!(whole(response).await.len(), 10);
    assert_eq!(app.executed().counts().in_flight, 0);
}

#[tokio::test]
async fn timing_names_the_first_request_that_is_not_a_probe() {
    let before = monotonic_ns();
    let app = start(Args::default()).await;
    let mut client = Client::connect(&app).await;
    whole(client.get("/readyz").await).await;
    let mut probe = get("/");
    probe
        .headers_mut()
        .insert("user-agent", "kube-probe/1.33".parse().expect("a value"));
    whole(client.send(probe).await.expect("an answer")).await;
    assert_eq!(app.timing().report().first_byte_ns, None);

    let sent = monotonic_ns();
    whole(client.get("/").await).await;
    let report = app.timing().report();
    let first_byte = report.first_byte_ns.expect("a request came");
    whole(client.get("/").await).await;
    assert_eq!(
        app.timing().report().first_byte_ns,
        Some(first_byte),
        "only the first counts"
    );
    let moments = [
        before,
        report.started_ns,
        report.listened_ns.expect("it listens"),
        sent,
        first_byte,
        report.now_ns,
    ];
    assert!(moments.is_sorted(), "{moments:?}");
}

#[tokio::test]
async fn a_replica_that_is_never_ready_is_alive() {
    let app = start(Args {
        never_ready: true,
        ..Args::default()
    })
    .await;
    let mut client = Client::connect(&app).await;
    assert_eq!(
        client.get("/readyz").await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(client.get("/healthz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_first_requests_are_aborted_then_failed_as_asked() {
    let app = start(Args {
        abort_requests: 1,
        fail_requests: 1,
        ..Args::default()
    })
    .await;
    let aborted = Client::connect(&app).await.send(get("/")).await;
    assert!(aborted.expect_err("no answer").is_incomplete_message());
    let mut client = Client::connect(&app).await;
    assert_eq!(client.get("/").await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(client.get("/").await.status(), StatusCode::OK);
    assert_eq!(app.executed().counts().total, 3);
}

#[tokio::test]
async fn metrics_carry_the_names_and_labels_of_podinfo() {
    let app = start(Args::default()).await;
    let mut client = Client::connect(&app).await;
    whole(client.get("/delay/0.001").await).await;
    whole(client.get("/no/such/path").await).await;
    let metrics = whole(client.get("/metrics").await).await;
    let metrics = String::from_utf8_lossy(&metrics);
    for line in [
        r#"http_requests_total{method="GET",path="/delay/{seconds}",status="200"} 1"#,
        r#"http_requests_total{method="GET",path="_OTHER",status="404"} 1"#,
        r#"http_request_duration_seconds_count{method="GET",path="/delay/{seconds}",status="200"} 1"#,
    ] {
        assert!(
            metrics.lines().any(|got| got == line),
            "expected {line} in:\n{metrics}"
        );
    }
}

#[tokio::test]
async fn shutdown_answers_what_is_in_flight_and_does_not_wait_for_idle_connections() {
    let app = start(Args::default()).await;
    let mut idle = Client::connect(&app).await;
    whole(idle.get("/").await).await;
    let mut busy = Client::connect(&app).await;
    let dripping = busy.get("/drip/0.2").await;
    let addr = app.addr();
    timeout(Duration::from_secs(5), app.shutdown())
        .await
        .expect("idle connections are closed");
    assert_eq!(whole(dripping).await.len(), 10);
    assert!(TcpStream::connect(addr).await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn shutdown_closes_what_outlasts_the_drain_timeout() {
    let app = start(Args {
        drain_timeout: Duration::from_millis(50),
        ..Args::default()
    })
    .await;
    let dripping = Client::connect(&app).await.get("/drip/3600").await;
    timeout(Duration::from_secs(5), app.shutdown())
        .await
        .expect("bounded");
    assert!(
        dripping.into_body().collect().await.is_err(),
        "half an answer is not taken for a whole one"
    );
}

#[test]
fn the_first_starts_end_as_asked_and_are_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    let record = directory.path().join("starts");
    let args = Args {
        fail_starts: 2,
        record_starts: Some(record.clone()),
        exit_code: 7,
        ..Args::default()
    };
    for start in 1..=2 {
        let status = run(args.clone()).expect("it ends by itself");
        assert_eq!(
            format!("{status:?}"),
            format!("{:?}", ExitCode::from(7)),
            "start {start}"
        );
    }
    let pid = std::process::id();
    let lines = std::fs::read_to_string(&record).expect("the record");
    assert_eq!(lines, format!("{pid}\n{pid}\n"));
    assert_eq!(
        starts::record(&record).expect("recorded"),
        3,
        "the next one listens"
    );
}
