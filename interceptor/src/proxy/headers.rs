//! What a proxy has to change in a message's head: hop-by-hop fields, forwarding fields, the request's target.
//!
//! RFC 9110 sections 7.6.1 (hop-by-hop) and 7.2 (Host), RFC 9112 section 3.2 (forms of the request target).

use std::net::SocketAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header, request,
    uri::{Authority, PathAndQuery, Scheme},
};

use super::error::ProxyError;
use crate::plan::UpstreamProtocol;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Whether the request met a target without a ready endpoint; the add-on's name.
pub(crate) const COLD_START: HeaderName = HeaderName::from_static("x-keda-http-cold-start");

/// The host that a request is for, as the client wrote it, port included.
///
/// # Errors
/// Where an HTTP/1.1 request has no Host or several, or one that is not a host (RFC 9112 section 3.2).
pub(crate) fn host<T>(request: &http::Request<T>) -> Result<&str, ProxyError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(ProxyError::BadRequest("several Host fields"));
    }
    if request.version() == Version::HTTP_11 && host.is_none() {
        return Err(ProxyError::BadRequest("no Host field"));
    }
    // The target of an absolute-form or HTTP/2 request outranks the field.
    if let Some(authority) = request.uri().authority() {
        return Ok(without_userinfo(authority.as_str()));
    }
    match host {
        None => Ok(""),
        Some(host) if host.as_bytes().iter().all(|byte| is_host_byte(*byte)) => host
            .to_str()
            .map_err(|_| ProxyError::BadRequest("the Host field is not a host")),
        Some(_) => Err(ProxyError::BadRequest("the Host field is not a host")),
    }
}

/// What may stand in `uri-host [ ":" port ]` (RFC 3986 section 3.2.2). An application must not read another host, or a
/// path, out of what the route was found by.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

fn without_userinfo(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// Whether the message asks to leave HTTP, and for what.
///
/// Not for HTTP/2: what follows would be requests that no route has been asked about. A server answers them in HTTP/1.1
/// where the upgrade is not passed on (RFC 9113 section 3.1 has withdrawn it).
pub(crate) fn upgrade(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    if version != Version::HTTP_11 || !connection_names(headers, "upgrade") {
        return None;
    }
    let protocols = headers.get(header::UPGRADE)?;
    let is_http2 = protocols
        .as_bytes()
        .split(|&byte| byte == b',')
        .any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"h2c"));
    (!is_http2).then(|| protocols.clone())
}

fn connection_names(headers: &HeaderMap, option: &str) -> bool {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case(option))
}

/// Removes what concerns only the connection that the message came on.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        headers.remove(header::CONNECTION);
        for name in named {
            headers.remove(name);
        }
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(HTTP2_SETTINGS);
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::UPGRADE);
    // «trailers» says that the client reads them, which stays true behind a proxy that forwards them.
    if let Some(te) = headers.remove(header::TE)
        && te.to_str().is_ok_and(|te| {
            te.split(',')
                .any(|name| name.trim().eq_ignore_ascii_case("trailers"))
        })
    {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Makes a request's head fit to be forwarded, whatever the endpoint's protocol. `host` is what [`host`] returned.
///
/// Forwarding fields are appended to, as the add-on does; `Forwarded` is removed, for nothing here speaks for it.
pub(crate) fn prepare_request(
    parts: &mut request::Parts,
    host: &HeaderValue,
    peer: SocketAddr,
    upgrade: Option<HeaderValue>,
) {
    let headers = &mut parts.headers;
    strip_hop_by_hop(headers);
    headers.remove(header::PROXY_AUTHORIZATION);
    headers.remove(header::PROXY_AUTHENTICATE);
    headers.remove(header::FORWARDED);
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
    append_forwarded_for(headers, peer);
    if !headers.contains_key(X_FORWARDED_HOST) {
        headers.insert(X_FORWARDED_HOST, host.clone());
    }
    if !headers.contains_key(X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    headers.insert(header::HOST, host.clone());
    if parts.method == Method::CONNECT {
        return;
    }
    let path = std::mem::take(&mut parts.uri).into_parts().path_and_query;
    parts.uri = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
}

fn append_forwarded_for(headers: &mut HeaderMap, peer: SocketAddr) {
    use std::io::Write as _;

    // An IPv6 address in full is 39 bytes; IPv4-mapped ones are written as IPv4.
    let mut text = Vec::with_capacity(40);
    for prior in headers.get_all(X_FORWARDED_FOR) {
        text.extend_from_slice(prior.as_bytes());
        text.extend_from_slice(b", ");
    }
    let written = write!(text, "{}", peer.ip().to_canonical());
    if written.is_ok()
        && let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
    {
        headers.insert(X_FORWARDED_FOR, value);
    }
}

/// Gives a prepared request the form that the endpoint's protocol wants.
pub(crate) fn address_to<T>(request: &mut http::Request<T>, protocol: UpstreamProtocol) {
    match protocol {
        UpstreamProtocol::Http1 => {
            *request.version_mut() = Version::HTTP_11;
            // A request that comes back from an HTTP/2 endpoint carries its host in the target.
            if let Some(authority) = request.uri().authority() {
                let host = HeaderValue::from_str(authority.as_str());
                let path = std::mem::take(request.uri_mut()).into_parts().path_and_query;
                *request.uri_mut() = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
                if let Ok(host) = host {
                    request.headers_mut().insert(header::HOST, host);
                }
            }
        }
        UpstreamProtocol::H2c => {
            *request.version_mut() = Version::HTTP_2;
            request.headers_mut().remove(header::CONNECTION);
            let host = request.headers_mut().remove(header::HOST);
            let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
            if let Some(authority) = authority {
                let mut parts = std::mem::take(request.uri_mut()).into_parts();
                parts.scheme = Some(Scheme::HTTP);
                parts.authority = Some(authority);
                if parts.path_and_query.is_none() {
                    parts.path_and_query = Some(PathAndQuery::from_static("/"));
                }
                *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
            }
        }
    }
}

/// Makes a response's head fit for the client.
pub(crate) fn prepare_response(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    strip_hop_by_hop(headers);
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

/// Whether a request without a body may be sent twice (RFC 9110 section 9.2.2).
pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// Whether the client speaks gRPC: `application/grpc`, also with a format or parameters; gRPC-Web is another protocol.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

#[cfg(test)]
mod tests;
