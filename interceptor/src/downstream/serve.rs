//! The task of one connection: looks at the first bytes, then runs hyper's connection for the protocol, and obeys the
//! commands to drain and to abort.

use std::{
    fmt,
    future::Future,
    mem,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tracing::debug;

use super::{
    BoxError, ClientProtocol, ClientStream, Command, Connections, DownstreamSettings, OpenSlot,
    connection::ConnectionState, observe::ObservedService,
};

/// hyper's builders, made once per worker.
#[derive(Debug)]
pub(crate) struct Http {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Http {
    pub(crate) fn new(settings: &DownstreamSettings) -> Self {
        Self {
            http1: settings.http1(),
            http2: settings.http2(),
        }
    }
}

/// What a service must be to answer clients' requests. Implemented by every tower service that fits.
pub trait ClientService:
    Clone
    + Send
    + 'static
    + tower::Service<
        Request<Incoming>,
        Response = Response<<Self as ClientService>::Body>,
        Error = <Self as ClientService>::Failure,
        Future = <Self as ClientService>::Pending,
    >
{
    /// The body of its responses.
    type Body: Body<Data = Bytes, Error = Self::BodyError> + Send + 'static;
    /// How a body fails; the client then sees a broken response.
    type BodyError: Into<BoxError>;
    /// How a request fails without a response: the connection, or the HTTP/2 stream, is then closed at once.
    type Failure: Into<BoxError> + 'static;
    /// A request being answered.
    type Pending: Future<Output = Result<Response<Self::Body>, Self::Failure>> + Send + 'static;
}

impl<S, B> ClientService for S
where
    S: tower::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Body = B;
    type BodyError = B::Error;
    type Failure = S::Error;
    type Pending = S::Future;
}

type Http1Connection<S> = http1::UpgradeableConnection<TokioIo<ClientStream>, ObservedService<S>>;
type Http2Connection<S> = http2::Connection<TokioIo<ClientStream>, ObservedService<S>, TokioExecutor>;

/// One connection from accept to close. Spawned on the worker that owns it.
pub(crate) struct ConnectionTask<S: ClientService> {
    connection: Arc<ConnectionState>,
    http: Arc<Http>,
    stage: Stage<S>,
    /// The task has left its waker.
    is_reachable: bool,
    /// hyper has been told to finish.
    is_draining: bool,
}

#[expect(
    clippy::large_enum_variant,
    reason = "the large one is nearly every task's, and saves it an allocation"
)]
enum Stage<S: ClientService> {
    Preface { stream: ClientStream, service: S },
    Http1(Http1Connection<S>),
    // Boxed: it is larger, and its clients are few connections with many streams.
    Http2(Pin<Box<Http2Connection<S>>>),
    Done,
}

impl<S: ClientService> ConnectionTask<S> {
    pub(crate) fn open(
        owner: &Arc<Connections>,
        slot: OpenSlot,
        socket: std::net::TcpStream,
        peer_addr: SocketAddr,
        http: Arc<Http>,
        service: S,
    ) -> std::io::Result<Self> {
        let stream = ClientStream::open(owner, slot, socket, peer_addr)?;
        Ok(Self {
            connection: Arc::clone(stream.state()),
            http,
            stage: Stage::Preface { stream, service },
            is_reachable: false,
            is_draining: false,
        })
    }

    /// One step. `Ready` when the connection is over.
    fn poll_stage(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            match &mut self.stage {
                Stage::Preface { stream, .. } => {
                    let Some(protocol) = ready!(stream.poll_protocol(cx))? else {
                        return Poll::Ready(Ok(()));
                    };
                    self.begin(protocol);
                }
                Stage::Http1(connection) => return Pin::new(connection).poll(cx).map_err(Into::into),
                Stage::Http2(connection) => return connection.as_mut().poll(cx).map_err(Into::into),
                Stage::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    fn begin(&mut self, protocol: ClientProtocol) {
        if let Stage::Preface { stream, service } = mem::replace(&mut self.stage, Stage::Done) {
            let service = ObservedService::new(service, stream.connection());
            let io = TokioIo::new(stream);
            self.stage = match protocol {
                ClientProtocol::Http1 => {
                    Stage::Http1(self.http.http1.serve_connection(io, service).with_upgrades())
                }
                ClientProtocol::Http2 => {
                    Stage::Http2(Box::pin(self.http.http2.serve_connection(io, service)))
                }
            };
        }
    }

    /// Begins the graceful end, unless a request is on its way. Says whether it did; if not, the bytes of that request
    /// are the task's next wake, or the header timer's abort is.
    fn drain(&mut self) -> bool {
        match &mut self.stage {
            Stage::Preface { .. } => {
                if self.connection.expects_request() {
                    return false;
                }
                self.stage = Stage::Done;
            }
            Stage::Http1(connection) => {
                if self.connection.expects_request() {
                    return false;
                }
                Pin::new(connection).graceful_shutdown();
            }
            Stage::Http2(connection) => connection.as_mut().graceful_shutdown(),
            Stage::Done => {}
        }
        self.is_draining = true;
        true
    }
}

// Nothing in it is pinned in place: hyper's connections box what they pin.
impl<S: ClientService> Unpin for ConnectionTask<S> {}

impl<S: ClientService> Future for ConnectionTask<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if !this.is_reachable {
            this.is_reachable = true;
            // A spawned task keeps its waker for life.
            this.connection.set_task(Some(cx.waker().clone()));
        }
        loop {
            if this.connection.command() == Command::Abort {
                return Poll::Ready(());
            }
            if let Poll::Ready(result) = this.poll_stage(cx) {
                if let Err(error) = result {
                    debug!(client.addr = %this.connection.peer_addr(), %error, "connection ended with an error");
                }
                return Poll::Ready(());
            }
            // hyper had its turn first, so that it has read what was there.
            if this.is_draining || this.connection.command() == Command::Run || !this.drain() {
                return Poll::Pending;
            }
        }
    }
}

impl<S: ClientService> Drop for ConnectionTask<S> {
    fn drop(&mut self) {
        self.stage = Stage::Done;
        self.connection.set_task(None);
        // Unless the socket went on into a tunnel.
        if self.connection.has_left() {
            self.connection.cut_if_held();
        }
    }
}

impl<S: ClientService> fmt::Debug for ConnectionTask<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionTask")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
