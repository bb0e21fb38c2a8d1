//! What every admin port answers.

use axum::{
    Router,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tonic::{Status, service::Routes};

use crate::{
    metrics::{self, Metrics},
    readiness::Readiness,
};

/// `GET /livez`, `/readyz` and `/metrics`.
///
/// `/livez` is 200 whenever this listener's runtime runs; `/readyz` is 200 or 503 with a line that names what is missing.
pub fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(move || std::future::ready(readyz(&readiness))))
        .route("/metrics", get(move || std::future::ready(scrape(&metrics))))
}

/// gRPC services, to be merged into an admin router. What neither knows is answered in the language it was asked in:
/// `UNIMPLEMENTED` to gRPC, 404 to everybody else.
pub fn grpc(services: Routes) -> Router {
    services.into_axum_router().fallback(unknown)
}

fn readyz(readiness: &Readiness) -> Response {
    let report = readiness.report();
    let status = if report.is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, format!("{report}\n")).into_response()
}

fn scrape(metrics: &Metrics) -> Response {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.encode()).into_response()
}

async fn unknown(headers: HeaderMap) -> Response {
    let asked_in_grpc = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if asked_in_grpc {
        Status::unimplemented("unknown service").into_http::<axum::body::Body>()
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}
