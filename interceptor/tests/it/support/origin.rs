//! Applications behind the interceptor: they do as the test says and remember what they saw.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture};
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::Instant,
};
use tokio_stream::wrappers::UnboundedReceiverStream;

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(crate) fn text(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(io::Error::other).boxed_unsync()
}

pub(crate) fn empty() -> Body {
    Empty::new().map_err(io::Error::other).boxed_unsync()
}

/// A body of the frames that are sent to it; it ends when the sender goes.
pub(crate) fn streamed() -> (mpsc::UnboundedSender<Frame<Bytes>>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let frames = UnboundedReceiverStream::new(receiver).map(Ok);
    (sender, StreamBody::new(frames).boxed_unsync())
}

/// A request's head, as an application saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// As it was sent, not decoded.
    pub(crate) target: String,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    /// Which of the accepted connections it came on, from 1.
    pub(crate) connection: usize,
    /// When it had come.
    pub(crate) at: Instant,
}

#[derive(Debug, Default)]
struct Record {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    in_progress: AtomicUsize,
    peak: AtomicUsize,
}

/// Counts a connection as open.
struct Open(Arc<Record>);

impl Open {
    fn begin(record: &Arc<Record>) -> Self {
        record.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(record))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a request as in progress.
struct InProgress<'a>(&'a Record);

impl<'a> InProgress<'a> {
    fn begin(record: &'a Record) -> Self {
        let now = record.in_progress.fetch_add(1, Ordering::Relaxed) + 1;
        record.peak.fetch_max(now, Ordering::Relaxed);
        Self(record)
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An address that is taken and refuses connections until it is listened on.
pub(crate) struct UnboundOrigin {
    socket: TcpSocket,
    pub(crate) addr: SocketAddr,
}

impl UnboundOrigin {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("an address");
        let addr = socket.local_addr().expect("an address");
        Self { socket, addr }
    }

    /// Begins to listen, and nothing more.
    pub(crate) fn listen(self) -> TcpListener {
        self.socket.listen(1024).expect("to listen")
    }

    /// Begins to listen and answers every request with `hello`.
    pub(crate) fn hello(self) -> Origin {
        Origin::on(self.listen(), |_| async { Response::new(text("hello")) })
    }
}

/// An address that takes no more connections and does not say so: attempts to connect get no answer.
pub(crate) struct BlackHole {
    pub(crate) addr: SocketAddr,
    #[expect(dead_code, reason = "held open, or the address would refuse")]
    listener: TcpListener,
    #[expect(dead_code, reason = "held open: they fill the listener's queue")]
    queue: Vec<TcpStream>,
}

impl BlackHole {
    pub(crate) async fn new() -> Self {
        let unbound = UnboundOrigin::new();
        let addr = unbound.addr;
        let listener = unbound.socket.listen(1).expect("to listen");
        let mut queue = Vec::new();
        while let Ok(connected) =
            tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(addr)).await
        {
            queue.push(connected.expect("a connection"));
        }
        Self {
            addr,
            listener,
            queue,
        }
    }
}

/// An application that speaks HTTP/1 and HTTP/2, whichever it is spoken to in. It ends with the test.
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    record: Arc<Record>,
    /// How many requests a slow application may answer.
    answers: Arc<Semaphore>,
    #[expect(dead_code, reason = "held for its drop, which ends the application")]
    tasks: JoinSet<()>,
}

impl Origin {
    /// Answers with what `handler` returns.
    pub(crate) fn start<H, F>(handler: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::on(UnboundOrigin::new().listen(), handler)
    }

    pub(crate) fn on<H, F>(listener: TcpListener, handler: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        Self::accept(listener, move |stream, number, record| {
            let handler = Arc::clone(&handler);
            Box::pin(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let (record, handler) = (Arc::clone(&record), Arc::clone(&handler));
                    async move {
                        record.seen.lock().push(Seen {
                            method: request.method().clone(),
                            target: request.uri().to_string(),
                            version: request.version(),
                            headers: request.headers().clone(),
                            connection: number,
                            at: Instant::now(),
                        });
                        let _in_progress = InProgress::begin(&record);
                        Ok::<_, Infallible>(handler(request).await)
                    }
                });
                // How a connection ends is the test's business.
                let _end = auto::Builder::new(TokioExecutor::new())
                    .serve_connection_with_upgrades(TokioIo::new(stream), service)
                    .await;
            })
        })
    }

    /// Does with each accepted connection what `serve` says; connections are numbered from 1.
    pub(crate) fn raw<S, F>(serve: S) -> Self
    where
        S: Fn(TcpStream, usize) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::accept(UnboundOrigin::new().listen(), move |stream, number, _| {
            Box::pin(serve(stream, number))
        })
    }

    fn accept(
        listener: TcpListener,
        serve: impl Fn(TcpStream, usize, Arc<Record>) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        let addr = listener.local_addr().expect("an address");
        let record = Arc::new(Record::default());
        let accepting = Arc::clone(&record);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Connections end with the application.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = accepting.connections.fetch_add(1, Ordering::Relaxed) + 1;
                // A socket that is gone again needs no option.
                let _gone = stream.set_nodelay(true);
                let open = Open::begin(&accepting);
                let connection = serve(stream, number, Arc::clone(&accepting));
                connections.spawn(async move {
                    connection.await;
                    drop(open);
                });
            }
        });
        Self {
            addr,
            record,
            answers: Arc::new(Semaphore::new(0)),
            tasks,
        }
    }

    /// Answers `hello`.
    pub(crate) fn hello() -> Self {
        Self::start(|_| async { Response::new(text("hello")) })
    }

    /// Answers with this text.
    pub(crate) fn saying(said: &'static str) -> Self {
        Self::start(move |_| async move { Response::new(text(said)) })
    }

    /// Answers with the request's body, as it comes.
    pub(crate) fn echo() -> Self {
        Self::start(|request| async {
            Response::new(request.into_body().map_err(io::Error::other).boxed_unsync())
        })
    }

    /// Answers `hello` when [`Origin::answer`] lets it.
    pub(crate) fn slow() -> Self {
        Self::slow_on(UnboundOrigin::new().listen())
    }

    pub(crate) fn slow_on(listener: TcpListener) -> Self {
        let answers = Arc::new(Semaphore::new(0));
        let waiting = Arc::clone(&answers);
        let origin = Self::on(listener, move |_| {
            let answers = Arc::clone(&waiting);
            async move {
                answers.acquire().await.expect("open").forget();
                Response::new(text("hello"))
            }
        });
        Self { answers, ..origin }
    }

    /// Lets a slow application answer this many requests, waiting or to come.
    pub(crate) fn answer(&self, count: usize) {
        self.answers.add_permits(count);
    }

    /// The requests it saw, in the order in which they came.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.record.seen.lock().clone()
    }

    pub(crate) fn request_count(&self) -> usize {
        self.record.seen.lock().len()
    }

    /// What it was asked for, in order.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.record
            .seen
            .lock()
            .iter()
            .map(|seen| seen.target.clone())
            .collect()
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.record.connections.load(Ordering::Relaxed)
    }

    /// Connections that are open now.
    pub(crate) fn open_connections(&self) -> usize {
        self.record.open.load(Ordering::Relaxed)
    }

    /// Requests that it works on now.
    pub(crate) fn in_progress(&self) -> usize {
        self.record.in_progress.load(Ordering::Relaxed)
    }

    /// The most requests that it ever worked on at once.
    pub(crate) fn peak(&self) -> usize {
        self.record.peak.load(Ordering::Relaxed)
    }

    /// The one request that it saw.
    pub(crate) fn only_request(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "one request");
        seen.remove(0)
    }
}
