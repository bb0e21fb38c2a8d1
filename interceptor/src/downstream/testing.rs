//! For tests: real workers behind a real listener, with a service that does what the path says, and raw clients.

use std::{
    future::Future,
    net::SocketAddr,
    num::NonZeroUsize,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{BoxError, ClientConnection, DownstreamSettings};
use crate::{
    acceptor::Acceptor,
    worker::{WorkerId, Workers},
};

/// How long anything may take before a test fails. Generous, for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What the service saw.
#[derive(Debug)]
pub(crate) enum Event {
    /// A request arrived.
    Arrived(ClientConnection),
    /// `/hold`: its client left.
    Left(Instant),
    /// A request's future was dropped before it was done.
    Dropped(Instant),
    /// A request was answered.
    Answered,
}

/// Answers by path: `/hold` waits for the client to leave, `/wait` for [`Server::release`], `/pend` for ever, `/echo`
/// returns the body, `/panic` panics, `/switch` changes protocols and echoes; all else says hello.
#[derive(Clone)]
pub(crate) struct ByPath {
    events: mpsc::UnboundedSender<Event>,
    released: Arc<Semaphore>,
}

impl tower::Service<Request<Incoming>> for ByPath {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let mut report = Report {
                events: service.events.clone(),
                is_done: false,
            };
            let response = service.answer(request).await;
            report.is_done = true;
            if response.is_ok() {
                drop(report.events.send(Event::Answered));
            }
            response
        })
    }
}

struct Report {
    events: mpsc::UnboundedSender<Event>,
    is_done: bool,
}

impl Drop for Report {
    fn drop(&mut self) {
        if !self.is_done {
            drop(self.events.send(Event::Dropped(Instant::now())));
        }
    }
}

impl ByPath {
    async fn answer(&self, mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, BoxError> {
        let connection = request
            .extensions()
            .get::<ClientConnection>()
            .cloned()
            .ok_or("no connection")?;
        drop(self.events.send(Event::Arrived(connection.clone())));
        let body = match request.uri().path() {
            "/hold" => {
                connection.hangup().await;
                drop(self.events.send(Event::Left(Instant::now())));
                return Err("the client has left".into());
            }
            "/wait" => {
                self.released.acquire().await?.forget();
                Bytes::from_static(b"released")
            }
            "/pend" => std::future::pending().await,
            "/echo" => request.into_body().collect().await?.to_bytes(),
            "/panic" => panic!("asked for"),
            "/switch" => {
                let upgrade = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let mut io = TokioIo::new(upgrade.await.unwrap());
                    let mut bytes = [0; 64];
                    while let Ok(read @ 1..) = io.read(&mut bytes).await {
                        io.write_all(&bytes[..read]).await.unwrap();
                    }
                });
                return Ok(Response::builder()
                    .status(StatusCode::SWITCHING_PROTOCOLS)
                    .header("connection", "upgrade")
                    .header("upgrade", "echo")
                    .body(Full::default())?);
            }
            _ => Bytes::from_static(b"hello"),
        };
        Ok(Response::new(Full::new(body)))
    }
}

/// Workers and an acceptor on a free port.
pub(crate) struct Server {
    pub(crate) workers: Workers,
    pub(crate) addr: SocketAddr,
    pub(crate) stop_accepting: CancellationToken,
    pub(crate) accepting: JoinHandle<()>,
    events: mpsc::UnboundedReceiver<Event>,
    released: Arc<Semaphore>,
}

impl Server {
    pub(crate) fn start(workers: usize, settings: DownstreamSettings) -> Self {
        Self::start_at("127.0.0.1:0", workers, settings)
    }

    pub(crate) fn start_at(addr: &str, workers: usize, settings: DownstreamSettings) -> Self {
        let (tx, events) = mpsc::unbounded_channel();
        let released = Arc::new(Semaphore::new(0));
        let service = ByPath {
            events: tx,
            released: Arc::clone(&released),
        };
        let make_service = move |_: WorkerId, _: &_| service.clone();
        let workers = Workers::start(NonZeroUsize::new(workers).unwrap(), make_service, settings).unwrap();
        let acceptor = Acceptor::bind(addr.parse().unwrap()).unwrap();
        let addr = acceptor.local_addr();
        let stop_accepting = CancellationToken::new();
        let accepting =
            tokio::spawn(acceptor.run(std::future::ready(()), workers.assigner(), stop_accepting.clone()));
        Self {
            workers,
            addr,
            stop_accepting,
            accepting,
            events,
            released,
        }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client {
            stream: within(TcpStream::connect(self.addr)).await.unwrap(),
        }
    }

    pub(crate) async fn connect_http2(&self) -> (http2::SendRequest<Full<Bytes>>, JoinHandle<()>) {
        let stream = self.connect().await.stream;
        let (client, connection) = within(http2::handshake(TokioExecutor::new(), TokioIo::new(stream)))
            .await
            .unwrap();
        (client, tokio::spawn(async move { drop(connection.await) }))
    }

    /// Lets this many `/wait` requests go.
    pub(crate) fn release(&self, requests: usize) {
        self.released.add_permits(requests);
    }

    pub(crate) async fn event(&mut self) -> Event {
        within(self.events.recv()).await.unwrap()
    }

    pub(crate) async fn arrival(&mut self) -> ClientConnection {
        match self.event().await {
            Event::Arrived(connection) => connection,
            event => panic!("expected an arrival, got {event:?}"),
        }
    }

    pub(crate) fn has_no_event(&mut self) -> bool {
        self.events.try_recv().is_err()
    }

    /// Waits until so many connections are open.
    pub(crate) async fn open(&self, count: usize) {
        eventually(|| self.workers.open_connections() == count).await;
    }
}

/// A client that says exactly what it is told.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Reads one response with a `content-length`.
    pub(crate) async fn response(&mut self) -> String {
        let mut response = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&response);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    return text.into_owned();
                }
            }
            let read = within(self.stream.read_buf(&mut response)).await.unwrap();
            assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&response));
        }
    }

    /// Sends a request for `path` and reads the response.
    pub(crate) async fn get(&mut self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        self.response().await
    }

    /// Reads until the server closes; the bytes before.
    pub(crate) async fn closed(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset is a close too.
        drop(within(self.stream.read_to_end(&mut rest)).await);
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// Closes with a FIN, or when there is unread data with a RST.
    pub(crate) fn leave(self) -> Instant {
        let at = Instant::now();
        drop(self);
        at
    }

    /// Closes with a RST.
    pub(crate) fn reset(self) -> Instant {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        self.leave()
    }
}

/// Waits for `future`, at most [`PATIENCE`].
#[track_caller]
pub(crate) fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        let output = timeout(PATIENCE, future).await;
        output.unwrap_or_else(|elapsed| panic!("{elapsed} at {caller}"))
    }
}

/// Waits until the condition holds, at most [`PATIENCE`].
#[track_caller]
pub(crate) fn eventually(condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let begin = Instant::now();
        while !condition() {
            assert!(begin.elapsed() < PATIENCE, "never held at {caller}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Settings with quick timers.
pub(crate) fn quick() -> DownstreamSettings {
    DownstreamSettings {
        sweep_interval: Duration::from_millis(10),
        ..DownstreamSettings::default()
    }
}
