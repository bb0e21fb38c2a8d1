//! Tells HTTP/2 from HTTP/1 by a connection's first bytes.

use std::io;

use tokio::{
    io::{AsyncReadExt, Chain, Join, join},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// RFC 9113, section 3.4. No HTTP/1 request begins with it: the method `PRI` is reserved (section 11.6).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol a client opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A connection whose first bytes are read again by whoever serves it.
pub(super) type Opened = Join<Chain<io::Cursor<Vec<u8>>, OwnedReadHalf>, OwnedWriteHalf>;

/// Reads until it is clear which protocol the client speaks. Has no deadline of its own: the caller sets one for the
/// whole, because a client that sends a part of the preface and falls silent must not keep its place.
///
/// `None` if the client closed without a word, as a TCP probe does.
pub(super) async fn read(mut stream: TcpStream) -> io::Result<Option<(Protocol, Opened)>> {
    let mut seen = Vec::with_capacity(PREFACE.len());
    let protocol = loop {
        let mut rest = (&mut stream).take((PREFACE.len() - seen.len()) as u64);
        if rest.read_buf(&mut seen).await? == 0 {
            if seen.is_empty() {
                return Ok(None);
            }
            break Protocol::Http1;
        }
        if !PREFACE.starts_with(&seen) {
            break Protocol::Http1;
        }
        if seen.len() == PREFACE.len() {
            break Protocol::Http2;
        }
    };
    let (read, write) = stream.into_split();
    Ok(Some((protocol, join(io::Cursor::new(seen).chain(read), write))))
}
