//! The load picture: what every route carries, told to people over `/queue` and to the external scalers over a stream.
//!
//! ```text
//! request path ── mark, edge ──▶ LoadHub ── picture ──▶ Load/Watch (one stream per scaler replica)
//! publisher ──── routes, targets ──▶ │               └─▶ GET /queue, metrics
//! ```
//!
//! The counts themselves live in the routes' states; the hub samples them. It owns what was last said of each route and
//! target, and the order in which things changed, so that a stream is no more than a position in that order: it cannot
//! fall behind by more than the picture, and none can block another.

mod hub;
mod picture;
mod queue;
mod rate;
mod service;
mod source;
#[cfg(test)]
mod tests;

pub use self::{
    hub::LoadHub,
    queue::router as queue_router,
    rate::{DEFAULT_RATE_WINDOW, MAX_RATE_WINDOW, RateRing},
    service::{LoadService, MAX_STREAMS},
    source::{LoadMark, LoadSource, RouteLoadSample},
};
