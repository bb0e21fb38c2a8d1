//! Requests of all kinds, and answers told in words that two places can have in common.
//!
//! Exempt from the comparison are addresses, of clients and of pods, which are `<address>`; the `date`; and the names of
//! pods, which is why bodies that carry one are never told whole.

use std::{convert::Infallible, fmt::Write as _, net::IpAddr, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, StatusCode, Version,
    header::{DATE, HOST},
};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::place::Place;
use crate::{
    cases::addon::site::COLD_BOUND,
    cluster::http::{self as client, Answer},
};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// GETs a path of a host.
pub(super) async fn get(place: &Place, host: &str, path: &str) -> anyhow::Result<Answer> {
    send(place, Method::GET, host, path, &[], "").await
}

/// Sends a request by HTTP/1.1, on a connection of its own.
pub(super) async fn send(
    place: &Place,
    method: Method,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> anyhow::Result<Answer> {
    let mut request = Request::builder().method(method).uri(path).header(HOST, host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).context("make a request")?;
    client::send(place.proxy(), request, COLD_BOUND).await
}

/// Sends bytes and gives the head of the answer, its date left out.
pub(super) async fn raw(place: &Place, request: &str) -> anyhow::Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect(place.proxy()).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        Ok(head)
    };
    let head = timeout(COLD_BOUND, exchange)
        .await
        .context("no answer to raw bytes")??;
    let head = String::from_utf8_lossy(&head).into_owned();
    let lines = head
        .lines()
        .filter(|line| !line.is_empty() && !line.to_ascii_lowercase().starts_with("date:"));
    Ok(lines.collect::<Vec<_>>().join("; "))
}

/// A connection of HTTP/2 without TLS. Dropped, it is closed.
pub(super) struct Http2 {
    sender: http2::SendRequest<Body>,
    _connection: AbortOnDropHandle<()>,
}

/// No body, and no trailers.
pub(super) fn nothing() -> (&'static str, HeaderMap) {
    ("", HeaderMap::new())
}

/// An answer by HTTP/2, with its trailers.
#[derive(Debug)]
pub(super) struct Answer2 {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) trailers: HeaderMap,
}

impl Http2 {
    pub(super) async fn connect(place: &Place) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(place.proxy()).await.context("connect")?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .context("start HTTP/2")?;
        let connection = tokio::spawn(async move {
            // Its requests fail when it does.
            drop(connection.await);
        });
        Ok(Self {
            sender,
            _connection: AbortOnDropHandle::new(connection),
        })
    }

    /// Sends a request and reads the answer to its end.
    pub(super) async fn send(
        &self,
        method: Method,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
        (body, trailers): (&str, HeaderMap),
    ) -> anyhow::Result<Answer2> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{host}{path}"))
            .version(Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let body = if trailers.is_empty() {
            body.boxed_unsync()
        } else {
            body.with_trailers(std::future::ready(Some(Ok(trailers))))
                .boxed_unsync()
        };
        let request = request.body(body).context("make a request")?;
        let mut sender = self.sender.clone();
        let exchange = async {
            sender.ready().await?;
            let (parts, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?;
            let trailers = body.trailers().cloned().unwrap_or_default();
            Ok::<_, hyper::Error>(Answer2 {
                status: parts.status,
                headers: parts.headers,
                body: body.to_bytes(),
                trailers,
            })
        };
        timeout(COLD_BOUND, exchange)
            .await
            .with_context(|| format!("{host}{path} is not answered by HTTP/2 after {COLD_BOUND:?}"))?
            .with_context(|| format!("{host}{path} by HTTP/2"))
    }
}

/// Status and these headers of an answer; a header that it lacks is left out.
pub(super) fn told(status: StatusCode, headers: &HeaderMap, shown: &[&str]) -> String {
    let mut told = status.as_u16().to_string();
    for name in shown {
        for value in headers.get_all(*name) {
            // Writing into a String does not fail.
            let _infallible = write!(told, ", {name}: {}", without_addresses(value.as_bytes()));
        }
    }
    told
}

/// What Rouse says of itself in an answer: status, reason, whether it was held, when to come again.
pub(super) fn verdict(answer: &Answer) -> String {
    told(
        answer.status,
        &answer.headers,
        &["rouse-error", "x-keda-http-cold-start", "retry-after"],
    )
}

/// All fields of a head, by name.
pub(super) fn fields(headers: &HeaderMap) -> String {
    let mut fields: Vec<_> = headers
        .iter()
        .map(|(name, value)| {
            if name == DATE {
                return "date: <date>".to_owned();
            }
            format!("{name}: {}", without_addresses(value.as_bytes()))
        })
        .collect();
    fields.sort();
    fields.join(", ")
}

/// The header fields that the application says it has seen, of the answer of `/headers`.
pub(super) fn seen_fields(answer: &Answer) -> anyhow::Result<String> {
    let seen: Value = serde_json::from_slice(&answer.body).context("read what /headers answered")?;
    let seen = seen.as_object().context("/headers answered no object")?;
    let fields = seen.iter().map(|(name, values)| {
        let values = values.as_array().into_iter().flatten().filter_map(Value::as_str);
        let values: Vec<_> = values.map(|value| without_addresses(value.as_bytes())).collect();
        format!("{name}: {}", values.join(" and "))
    });
    Ok(fields.collect::<Vec<_>>().join(", "))
}

/// A body as text, in quotes.
pub(super) fn text(body: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(body))
}

/// Whether a time is within bounds, so that two places' times can be compared.
pub(super) fn within(time: Duration, from: u64, to: u64) -> String {
    if (Duration::from_secs(from)..=Duration::from_secs(to)).contains(&time) {
        format!("{from} to {to} s")
    } else {
        format!("{:.3} s", time.as_secs_f64())
    }
}

fn without_addresses(value: &[u8]) -> String {
    let value = String::from_utf8_lossy(value);
    let parts = value.split(", ").map(|part| match part.parse::<IpAddr>() {
        Ok(_) => "<address>",
        Err(_) => part,
    });
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_are_exempt_from_a_list() {
        for (value, expected) in [
            ("10.0.0.1", "<address>"),
            ("client, 10.0.0.1, fe80::1", "client, <address>, <address>"),
            ("10 apples", "10 apples"),
        ] {
            assert_eq!(without_addresses(value.as_bytes()), expected);
        }
    }

    #[test]
    fn a_time_out_of_bounds_is_told_as_it_is() {
        assert_eq!(within(Duration::from_millis(3_400), 3, 8), "3 to 8 s");
        assert_eq!(within(Duration::from_millis(9_400), 3, 8), "9.400 s");
    }
}
