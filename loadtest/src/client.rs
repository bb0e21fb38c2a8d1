//! An HTTP/1.1 connection that costs next to nothing, so that the load generator's own work does not show in what it
//! measures, and so that a request's first byte leaves exactly when it is written.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Largest head of an answer.
const HEAD_LIMIT: usize = 64 * 1024;

/// A keep-alive connection with one exchange at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// A GET request without a body.
pub(crate) fn get(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes()
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; 4096],
            filled: 0,
        })
    }

    /// Writes a request whose answer nobody reads.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await
    }

    /// Sends a request and reads its answer whole.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.send(request).await?;
        let (head_length, status, body_length) = self.read_head().await?;
        let end = head_length + body_length;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        while self.filled < end {
            self.read_more().await?;
        }
        let head = self.buffer.get(..head_length).unwrap_or_default();
        let head = String::from_utf8_lossy(head).into_owned();
        let body = self.buffer.get(head_length..end).unwrap_or_default().to_vec();
        self.consume(end);
        Ok(Answer { status, head, body })
    }

    /// Sends a request and reads its answer without keeping it; gives the status.
    pub(crate) async fn exchange_unread(&mut self, request: &[u8]) -> io::Result<u16> {
        self.send(request).await?;
        let (head_length, status, body_length) = self.read_head().await?;
        let mut missing = (head_length + body_length).saturating_sub(self.filled);
        if missing == 0 {
            self.consume(head_length + body_length);
            return Ok(status);
        }
        self.filled = 0;
        while missing > 0 {
            let limit = missing.min(self.buffer.len());
            let read = self
                .stream
                .read(self.buffer.get_mut(..limit).unwrap_or_default())
                .await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            missing -= read;
        }
        Ok(status)
    }

    /// Reads up to the end of an answer's head; gives the head's length, the status and the body's length.
    async fn read_head(&mut self) -> io::Result<(usize, u16, usize)> {
        loop {
            let read = self.buffer.get(..self.filled).unwrap_or_default();
            if let Some(at) = read.windows(4).position(|end| end == b"\r\n\r\n") {
                let head = str::from_utf8(read.get(..at).unwrap_or_default()).map_err(io::Error::other)?;
                let status = head.get(9..12).and_then(|status| status.parse().ok());
                let status: u16 = status.ok_or_else(|| io::Error::other("an answer without a status"))?;
                let length = if matches!(status, 204 | 304) {
                    Some(0)
                } else {
                    header(head, "content-length").and_then(|length| length.parse().ok())
                };
                let length = length.ok_or_else(|| io::Error::other("an answer without content-length"))?;
                return Ok((at + 4, status, length));
            }
            if self.filled >= HEAD_LIMIT {
                return Err(io::Error::other("an answer's head is too large"));
            }
            if self.filled == self.buffer.len() {
                self.buffer.resize(self.filled * 2, 0);
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> io::Result<()> {
        let free = self.buffer.get_mut(self.filled..).unwrap_or_default();
        match self.stream.read(free).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.filled += read;
                Ok(())
            }
        }
    }

    fn consume(&mut self, length: usize) {
        self.buffer.copy_within(length..self.filled, 0);
        self.filled -= length;
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rouse_demo_app::{Args, DemoApp};

    #[tokio::test]
    async fn answers_on_one_connection_are_told_apart() {
        let app = DemoApp::start(Args::default()).await.expect("started");
        let mut connection = Connection::open(app.addr()).await.expect("connected");
        for _ in 0..3 {
            let answer = connection
                .exchange(&get("a.test", "/bytes/100000"))
                .await
                .expect("an answer");
            assert_eq!((answer.status, answer.body.len()), (200, 100_000));
            assert_eq!(answer.header("Content-Length"), Some("100000"));
            for (path, status) in [("/bytes/100000", 200), ("/bytes/5", 200), ("/nothing", 404)] {
                let got = connection
                    .exchange_unread(&get("a.test", path))
                    .await
                    .expect("an answer");
                assert_eq!(got, status, "{path}");
            }
        }
    }
}
