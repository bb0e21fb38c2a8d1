//! Builds every response that Rouse makes itself, as HTTP or as a gRPC status.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::{
    ResponseBody,
    error::{GrpcStatus, ProxyError},
};

/// Names the reason of every response that Rouse makes itself.
pub(crate) const ROUSE_ERROR: HeaderName = HeaderName::from_static("rouse-error");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The answer to a request that failed with `error`.
pub(crate) fn error_response(error: &ProxyError, grpc: bool) -> Response<ResponseBody> {
    let mut response = if grpc {
        grpc_response(error)
    } else {
        http_response(error)
    };
    let headers = response.headers_mut();
    headers.insert(ROUSE_ERROR, HeaderValue::from_static(error.reason()));
    if let Some(after) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
    }
    response
}

/// Status line, reason and nothing else, in the form of the add-on's own answers.
fn http_response(error: &ProxyError) -> Response<ResponseBody> {
    let status = error.status();
    let mut response = Response::new(ResponseBody::own(text(status)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// A response of headers only, which a gRPC client reads as trailers.
fn grpc_response(error: &ProxyError) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::own(""));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let status = match error.grpc_status() {
        GrpcStatus::DeadlineExceeded => "4",
        GrpcStatus::Unimplemented => "12",
        GrpcStatus::Internal => "13",
        GrpcStatus::Unavailable => "14",
    };
    headers.insert(GRPC_STATUS, HeaderValue::from_static(status));
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(error.reason()));
    response
}

fn text(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "Bad Request\n",
        StatusCode::NOT_FOUND => "Not Found\n",
        StatusCode::NOT_IMPLEMENTED => "Not Implemented\n",
        StatusCode::BAD_GATEWAY => "Bad Gateway\n",
        StatusCode::SERVICE_UNAVAILABLE => "Service Unavailable\n",
        StatusCode::GATEWAY_TIMEOUT => "Gateway Timeout\n",
        _ => "Internal Server Error\n",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body::Body as _;

    use super::*;
    use crate::plan::TargetProblem;

    #[test]
    fn every_answer_names_its_reason() {
        let cases = [
            (ProxyError::BadRequest("x"), 400, "bad_request"),
            (ProxyError::ConnectMethod, 501, "connect_not_supported"),
            (ProxyError::RouteNotFound, 404, "route_not_found"),
            (ProxyError::RouteRemoved, 404, "route_removed"),
            (
                ProxyError::TargetNotFound(TargetProblem::ServiceNotFound),
                500,
                "service_not_found",
            ),
            (
                ProxyError::TargetNotFound(TargetProblem::PortNotFound),
                500,
                "port_not_found",
            ),
            (ProxyError::PendingLimit, 503, "pending_limit"),
            (
                ProxyError::ReadinessTimeout(Duration::ZERO),
                504,
                "readiness_timeout",
            ),
            (ProxyError::RequestTimeout(Duration::ZERO), 504, "request_timeout"),
            (
                ProxyError::ResponseHeaderTimeout(Duration::ZERO),
                504,
                "response_header_timeout",
            ),
        ];
        for (error, status, reason) in cases {
            let response = error_response(&error, false);
            assert_eq!(response.status(), status, "{error}");
            assert_eq!(response.headers()[ROUSE_ERROR], reason, "{error}");
            assert!(
                response.body().size_hint().exact().is_some_and(|size| size > 0),
                "{error}"
            );
            assert_eq!(
                response.headers().contains_key(header::RETRY_AFTER),
                reason == "pending_limit"
            );
        }
    }

    #[test]
    fn grpc_clients_get_a_status_in_the_headers() {
        let response = error_response(&ProxyError::ReadinessTimeout(Duration::ZERO), true);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "4");
        assert_eq!(response.headers()[ROUSE_ERROR], "readiness_timeout");
        assert!(response.body().is_end_stream());
    }
}
