//! Clients: one that writes HTTP/1 bytes and reads what comes back, and hyper's for HTTP/2.

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Body, soon};

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) version: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Response {
    /// The value of a header that is there once, or "".
    pub(crate) fn header(&self, name: &str) -> &str {
        assert!(self.headers.get_all(name).iter().count() <= 1, "{name} once");
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("a text"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }

    pub(crate) fn was_cold(&self) -> Option<bool> {
        match self.header("x-keda-http-cold-start") {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }
}

/// How the body of a response is delimited.
enum Length {
    Known(usize),
    Chunked,
    UntilClose,
}

/// A connection that the test writes bytes to.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(addr))
            .await
            .expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon("the proxy takes the bytes", self.stream.write_all(bytes.as_ref()))
            .await
            .expect("the connection is open");
    }

    pub(crate) async fn begin_get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: app.example.com\r\n\r\n"))
            .await;
    }

    pub(crate) async fn begin_post(&mut self, path: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        self.send(format!(
            "POST {path} HTTP/1.1\r\nhost: app.example.com\r\ncontent-length: {}\r\n\r\n",
            body.len()
        ))
        .await;
        self.send(body).await;
    }

    pub(crate) async fn get(&mut self, path: &str) -> Response {
        self.begin_get(path).await;
        self.response().await
    }

    pub(crate) async fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> Response {
        self.begin_post(path, body).await;
        self.response().await
    }

    /// The next response, whole.
    #[track_caller]
    pub(crate) fn response(&mut self) -> impl Future<Output = Response> {
        soon("a response", self.read_response(true))
    }

    /// The next response, of which only a head is expected.
    #[track_caller]
    pub(crate) fn head(&mut self) -> impl Future<Output = Response> {
        soon("a response's head", self.read_response(false))
    }

    async fn read_response(&mut self, with_body: bool) -> Response {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            assert!(
                self.fill().await > 0,
                "closed without a response: {:?}",
                self.buffer
            );
        };
        let head = self.buffer.split_to(end + 4);
        let text = std::str::from_utf8(&head).expect("a head is text");
        let mut lines = text.trim_end().split("\r\n");
        let mut status_line = lines.next().expect("a status line").splitn(3, ' ');
        let version = status_line.next().expect("a version").to_owned();
        let status: u16 = status_line
            .next()
            .and_then(|status| status.parse().ok())
            .expect("a status");
        let headers: HeaderMap = lines
            .map(|line| {
                let (name, value) = line.split_once(':').expect("a header");
                (
                    HeaderName::try_from(name).expect("a name"),
                    HeaderValue::try_from(value.trim()).expect("a value"),
                )
            })
            .collect();
        let mut response = Response {
            version,
            status,
            headers,
            body: Bytes::new(),
        };
        let has_body = with_body && status >= 200 && status != 204 && status != 304;
        if has_body {
            response.body = self.body(&response).await;
        }
        response
    }

    async fn body(&mut self, response: &Response) -> Bytes {
        let length = if response.header("transfer-encoding") == "chunked" {
            Length::Chunked
        } else if let Some(length) = response.headers.get("content-length") {
            let length = length.to_str().ok().and_then(|length| length.parse().ok());
            Length::Known(length.expect("a length"))
        } else {
            Length::UntilClose
        };
        match length {
            Length::Known(length) => {
                while self.buffer.len() < length {
                    assert!(self.fill().await > 0, "the body breaks off");
                }
                self.buffer.split_to(length).freeze()
            }
            Length::Chunked => {
                let mut body = BytesMut::new();
                while let Some(chunk) = self.next_chunk().await {
                    body.extend_from_slice(&chunk);
                }
                body.freeze()
            }
            Length::UntilClose => {
                while self.fill().await > 0 {}
                self.buffer.split().freeze()
            }
        }
    }

    /// The next chunk of a chunked body; `None` at its end.
    #[track_caller]
    pub(crate) fn chunk(&mut self) -> impl Future<Output = Option<Bytes>> {
        soon("a chunk", self.next_chunk())
    }

    async fn next_chunk(&mut self) -> Option<Bytes> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                break end;
            }
            assert!(self.fill().await > 0, "the body breaks off");
        };
        let line = self.buffer.split_to(end + 2);
        let size = std::str::from_utf8(&line[..end]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size");
        while self.buffer.len() < size + 2 {
            assert!(self.fill().await > 0, "the body breaks off");
        }
        let chunk = self.buffer.split_to(size).freeze();
        let _line_end = self.buffer.split_to(2);
        (size > 0).then_some(chunk)
    }

    /// Reads once; 0 when the connection is closed, in whichever way.
    async fn fill(&mut self) -> usize {
        self.stream.read_buf(&mut self.buffer).await.unwrap_or(0)
    }

    /// Exactly this many bytes, whatever they are.
    pub(crate) async fn bytes(&mut self, count: usize) -> Bytes {
        soon("bytes", async {
            while self.buffer.len() < count {
                assert!(self.fill().await > 0, "closed after {:?}", self.buffer);
            }
        })
        .await;
        self.buffer.split_to(count).freeze()
    }

    /// What the proxy has sent within `time`.
    pub(crate) async fn bytes_within(&mut self, time: Duration) -> Bytes {
        // A timeout is the ordinary case.
        let _elapsed = tokio::time::timeout(time, async { while self.fill().await > 0 {} }).await;
        self.buffer.split().freeze()
    }

    /// Waits until the proxy closes, and returns what it sent before.
    pub(crate) async fn closed(&mut self) -> Bytes {
        soon("the proxy closes the connection", async {
            while self.fill().await > 0 {}
        })
        .await;
        self.buffer.split().freeze()
    }

    /// Leaves with a FIN.
    pub(crate) fn leave(self) {
        drop(self);
    }

    /// Leaves with a RST.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("a socket option");
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

/// An HTTP/2 client's socket, for a rude end.
pub(crate) struct H2Socket(socket2::Socket);

impl H2Socket {
    /// Ends the connection without a word of HTTP/2.
    pub(crate) fn close(self) {
        self.0.shutdown(std::net::Shutdown::Both).expect("it is open");
    }
}

/// An HTTP/2 connection.
pub(crate) async fn h2_client(addr: SocketAddr) -> (http2::SendRequest<Body>, H2Socket) {
    let stream = soon("a connection", TcpStream::connect(addr))
        .await
        .expect("a connection");
    let socket = SockRef::from(&stream).try_clone().expect("a second descriptor");
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .handshake::<_, Body>(TokioIo::new(stream))
        .await
        .expect("a handshake");
    tokio::spawn(async move {
        // The tests say what has to come of it.
        let _end = connection.await;
    });
    (sender, H2Socket(socket))
}
