//! An HTTP/1.1 client that sends what it is told and reads one answer per connection.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// How long an answer may take: longer than any hold in the tests.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Status line and header lines.
    pub head: String,
    /// The body, without chunk framing.
    pub body: Vec<u8>,
    /// From before the connection was opened to the last byte.
    pub took: Duration,
}

impl Answer {
    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// `GET path` for `host`, on a connection of its own.
pub fn get(addr: SocketAddr, host: &str, path: &str) -> Answer {
    try_get(addr, host, path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
}

/// The same, where a failure is something to look at.
///
/// # Errors
/// When there is no complete answer.
pub fn try_get(addr: SocketAddr, host: &str, path: &str) -> io::Result<Answer> {
    exchange(
        addr,
        &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").into_bytes(),
    )
}

/// Sends `request` as it stands and reads the answer to its end.
///
/// # Errors
/// When there is no complete answer.
pub fn exchange(addr: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let started = Instant::now();
    let mut stream = connect(addr)?;
    stream.write_all(request)?;
    read_answer(&mut stream, started)
}

/// A connection with a read timeout.
///
/// # Errors
/// When it cannot be opened.
pub fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(stream)
}

/// Reads an answer on a connection that ends after it.
///
/// # Errors
/// When the connection breaks before the answer is complete.
pub fn read_answer(stream: &mut TcpStream, started: Instant) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let took = started.elapsed();
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut rest = bytes.as_slice();
    loop {
        let end = rest
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .ok_or_else(|| invalid("no whole head"))?;
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        let body = &rest[end + 4..];
        let status = head
            .get(9..12)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| invalid("no status"))?;
        // An interim answer: the real one follows.
        if (100..200).contains(&status) && status != 101 {
            rest = body;
            continue;
        }
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
            took,
        };
        answer.body = if answer
            .header("transfer-encoding")
            .is_some_and(|value| value.contains("chunked"))
        {
            dechunk(body).ok_or_else(|| invalid("the chunked body breaks off"))?
        } else if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().map_err(|_| invalid("bad content-length"))?;
            body.get(..length)
                .ok_or_else(|| invalid("the body breaks off"))?
                .to_vec()
        } else {
            body.to_vec()
        };
        return Ok(answer);
    }
}

fn dechunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..line_end]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        bytes = bytes.get(line_end + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}
