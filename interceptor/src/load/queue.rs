//! `GET /queue`: the add-on's JSON, for people and for whatever was written against it.

use std::collections::BTreeMap;

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header::CONTENT_TYPE};
use serde::Serialize;

use super::hub::LoadHub;

/// One route's entry.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Count {
    /// Requests held plus requests in flight.
    concurrency: u64,
    /// Matched arrivals since the process started.
    request_count: u64,
}

/// Serves `GET /queue` from a [`LoadHub`].
pub fn router(hub: LoadHub) -> Router {
    Router::new().route("/queue", get(queue)).with_state(hub)
}

/// Every known route, also at zero, by `namespace/name`. The key has no kind: an HTTPScaledObject and an
/// InterceptorRoute of one name are one entry, though only one of them is served at a time.
async fn queue(State(hub): State<LoadHub>) -> Response {
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    for (id, load) in hub.loads() {
        let count = counts.entry(id.to_string()).or_default();
        count.concurrency += load.concurrency;
        count.request_count += load.requests_total;
    }
    match serde_json::to_vec(&counts) {
        Ok(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "encoding /queue failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
