use std::{net::SocketAddr, pin::Pin, time::Duration};

use axum::{
    Router,
    routing::{get, post},
};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rouse_proto::load::{
    LoadReport, WatchRequest,
    load_client::LoadClient,
    load_server::{Load, LoadServer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout},
};
use tokio_stream::{Stream, StreamExt, wrappers::WatchStream};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Response, Status,
    service::Routes,
    transport::{Channel, Endpoint},
};

use super::{AdminServer, BindError, grpc, router};
use crate::{chain::chain, metrics::Metrics, readiness::Readiness};

const PATIENCE: Duration = Duration::from_secs(10);

/// A server on a port of its own.
struct Running {
    addr: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(router: Router) -> Self {
        Self::start_with(router, |server| server).await
    }

    async fn start_with(router: Router, configure: impl FnOnce(AdminServer) -> AdminServer) -> Self {
        let server = configure(AdminServer::bind(([127, 0, 0, 1], 0).into()).await.unwrap());
        let addr = server.local_addr();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(server.serve(router, shutdown.clone()));
        Self { addr, shutdown, task }
    }

    /// Status and body of one HTTP/1.1 GET on a connection of its own.
    async fn get(&self, path: &str) -> (StatusCode, String) {
        let io = TokioIo::new(TcpStream::connect(self.addr).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        read(sender.send_request(request(path)).await.unwrap()).await
    }

    fn endpoint(&self) -> Endpoint {
        Channel::from_shared(format!("http://{}", self.addr)).unwrap()
    }

    async fn channel(&self) -> Channel {
        self.endpoint().connect().await.unwrap()
    }

    async fn stopped(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.task)
            .await
            .expect("the server stops")
            .unwrap();
    }
}

fn request(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path)
        .header("host", "admin")
        .body(Empty::new())
        .unwrap()
}

async fn read(response: http::Response<hyper::body::Incoming>) -> (StatusCode, String) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Reads until the peer closes and fails if it does not.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut seen = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut seen)).await;
    assert!(end.is_ok(), "the server keeps the connection open");
    seen
}

fn health() -> Router {
    router(Readiness::new(), Metrics::new())
}

/// A Load service whose streams repeat what the test sets, and end when the test drops the sender.
struct Pictures(watch::Receiver<LoadReport>);

#[tonic::async_trait]
impl Load for Pictures {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<LoadReport, Status>> + Send>>;

    async fn watch(&self, _: tonic::Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(Box::pin(WatchStream::new(self.0.clone()).map(Ok))))
    }
}

fn with_load() -> (Router, watch::Sender<LoadReport>) {
    let (tx, rx) = watch::channel(LoadReport::default());
    (
        health().merge(grpc(Routes::new(LoadServer::new(Pictures(rx))))),
        tx,
    )
}

#[tokio::test]
async fn readyz_names_what_is_missing_and_livez_does_not_care() {
    let readiness = Readiness::new();
    let routes = readiness.block("routes");
    let server = Running::start(router(readiness.clone(), Metrics::new())).await;
    let unready = StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!(
        server.get("/readyz").await,
        (unready, "waiting for routes\n".into())
    );
    assert_eq!(server.get("/livez").await, (StatusCode::OK, "ok\n".into()));
    drop(routes);
    assert_eq!(server.get("/readyz").await, (StatusCode::OK, "ready\n".into()));
    readiness.drain();
    assert_eq!(server.get("/readyz").await, (unready, "draining\n".into()));
    server.stopped().await;
}

#[tokio::test]
async fn metrics_are_scraped() {
    let metrics = Metrics::new();
    crate::process::register(&metrics);
    let server = Running::start(router(Readiness::new(), metrics)).await;
    let (status, text) = server.get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("process_cpu_seconds_total"), "{text}");
    server.stopped().await;
}

#[tokio::test]
async fn one_listener_speaks_http1_http2_and_grpc() {
    let (router, _reports) = with_load();
    let server = Running::start(router).await;
    assert_eq!(server.get("/livez").await.0, StatusCode::OK);
    assert_eq!(server.get("/nowhere").await.0, StatusCode::NOT_FOUND);

    let io = TokioIo::new(TcpStream::connect(server.addr).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let answer = sender
        .send_request(request(&format!("http://{}/livez", server.addr)))
        .await
        .unwrap();
    assert_eq!(read(answer).await, (StatusCode::OK, "ok\n".into()));
    drop(sender);

    let mut client = LoadClient::new(server.channel().await);
    let mut stream = client.watch(WatchRequest {}).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap(), Some(LoadReport::default()));

    let mut other = rouse_proto::externalscaler::external_scaler_client::ExternalScalerClient::new(
        server.channel().await,
    );
    let unknown = other
        .is_active(rouse_proto::externalscaler::ScaledObjectRef::default())
        .await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
    server.shutdown.cancel();
}

#[tokio::test]
async fn a_preface_in_pieces_is_still_http2() {
    let server = Running::start(health()).await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in [&b"PRI * HT"[..], b"TP/2.0\r\n\r\nSM", b"\r\n\r\n"] {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    // An empty SETTINGS frame; the server's own comes first in its answer: type 4 at the fourth byte.
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut head = [0; 9];
    timeout(PATIENCE, stream.read_exact(&mut head))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(head[3], 4, "a SETTINGS frame, not {head:?}");
    server.stopped().await;
}

#[tokio::test]
async fn twenty_thousand_streams_fit_on_one_connection() {
    const STREAMS: usize = 20_000;
    let (router, reports) = with_load();
    let server = Running::start(router).await;
    // h2 closes a connection on which too many small frames wait to be read; the bound is half the window. The clients of
    // other languages know no such bound.
    let channel = server
        .endpoint()
        .initial_connection_window_size(64 << 20)
        .connect()
        .await
        .unwrap();
    // All at once, as KEDA does after it has lost its connection.
    let opening = (0..STREAMS).map(|_| {
        let mut client = LoadClient::new(channel.clone());
        async move { client.watch(WatchRequest {}).await.unwrap().into_inner() }
    });
    let mut streams = timeout(PATIENCE, futures_util::future::join_all(opening))
        .await
        .expect("no stream waits for another to end");
    for stream in &mut streams {
        assert_eq!(stream.message().await.unwrap(), Some(LoadReport::default()));
    }
    reports
        .send(LoadReport {
            boot_id: 7,
            ..LoadReport::default()
        })
        .unwrap();
    for stream in &mut streams {
        assert_eq!(stream.message().await.unwrap().unwrap().boot_id, 7);
    }
    // They end together at a shutdown, as streams that were finished, not as ones cut off.
    drop(reports);
    for stream in &mut streams {
        assert_eq!(stream.message().await.unwrap(), None);
    }
    drop(streams);
    server.stopped().await;
}

// With hyper's own window the connection is closed (`too_many_data_frames`) at 2,057 of them. Found when a client opened
// all its gRPC streams while the server was busy for a moment.
#[tokio::test]
async fn thousands_of_small_messages_may_wait_to_be_read() {
    const REQUESTS: usize = 5_000;
    let (release, released) = watch::channel(false);
    let unread = post(move |body: Request<axum::body::Body>| {
        let mut released = released.clone();
        async move {
            released.wait_for(|released| *released).await.unwrap();
            drop(body);
        }
    });
    let server = Running::start(health().route("/unread", unread)).await;
    let io = TokioIo::new(TcpStream::connect(server.addr).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let uri = format!("http://{}/unread", server.addr);
    let mut answers: JoinSet<_> = (0..REQUESTS)
        .map(|_| {
            let mut sender = sender.clone();
            let request = Request::post(&uri)
                .body(Full::new(Bytes::from_static(b"x")))
                .unwrap();
            async move { sender.send_request(request).await }
        })
        .collect();
    // Every request is being handled, and none of the bodies read.
    let began = Instant::now();
    while release.receiver_count() < REQUESTS + 1 {
        assert!(answers.try_join_next().is_none(), "no answer before the release");
        assert!(
            began.elapsed() < PATIENCE,
            "{} requests arrived",
            release.receiver_count()
        );
        tokio::task::yield_now().await;
    }
    release.send(true).unwrap();
    while let Some(answer) = timeout(PATIENCE, answers.join_next()).await.unwrap() {
        assert_eq!(answer.unwrap().unwrap().status(), StatusCode::OK);
    }
    drop(sender);
    server.stopped().await;
}

#[tokio::test]
async fn a_client_without_a_place_waits_and_is_served_when_one_is_free() {
    let server = Running::start_with(health(), |server| server.max_connections(2)).await;
    // Each has its place for certain once it was answered.
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nhost: admin\r\n\r\n")
            .await
            .unwrap();
        stream.read_u8().await.unwrap();
        held.push(stream);
    }
    let mut waiting = Box::pin(server.get("/livez"));
    assert!(
        timeout(Duration::from_millis(50), waiting.as_mut())
            .await
            .is_err()
    );
    drop(held.pop());
    assert_eq!(timeout(PATIENCE, waiting).await.unwrap().0, StatusCode::OK);
    server.stopped().await;
}

#[tokio::test]
async fn a_silent_client_loses_its_place_however_far_it_got() {
    for sent in ["", "PRI * HTTP", "GET /livez HTTP/1.1\r\nhost:"] {
        let server = Running::start_with(health(), |server| {
            server.header_timeout(Duration::from_millis(50))
        })
        .await;
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        until_closed(&mut stream).await;
        server.stopped().await;
    }
}

#[tokio::test]
async fn the_port_is_free_at_the_shutdown_and_a_begun_request_is_finished() {
    let (release, released) = watch::channel(false);
    let slow = Router::new().route(
        "/slow",
        get(move || {
            let mut released = released.clone();
            async move {
                released.wait_for(|released| *released).await.unwrap();
                "finished"
            }
        }),
    );
    let server = Running::start(health().merge(slow)).await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nhost: admin\r\n\r\n")
        .await
        .unwrap();
    // The request is being handled once the handler has its receiver: two, with the route's own.
    let began = Instant::now();
    while release.receiver_count() < 2 {
        assert!(began.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    server.shutdown.cancel();
    let freed = async {
        while TcpStream::connect(server.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, freed).await.expect("the port is free");
    release.send(true).unwrap();
    let answer = String::from_utf8(until_closed(&mut stream).await).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("finished"),
        "{answer}"
    );
    server.stopped().await;
}

#[tokio::test]
async fn what_does_not_end_is_cut_when_the_shutdown_timeout_is_over() {
    let (router, reports) = with_load();
    let server = Running::start_with(router, |server| {
        server.shutdown_timeout(Duration::from_millis(50))
    })
    .await;
    let mut client = LoadClient::new(server.channel().await);
    let mut stream = client.watch(WatchRequest {}).await.unwrap().into_inner();
    stream.message().await.unwrap();
    server.stopped().await;
    stream.message().await.expect_err("the stream was cut, not ended");
    drop(reports);
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it() {
    let first = AdminServer::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let error: BindError = AdminServer::bind(first.local_addr()).await.unwrap_err();
    assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
    let text = chain(&error).to_string();
    assert!(
        text.starts_with(&format!("listen on {}: ", first.local_addr())),
        "{text}"
    );
}
