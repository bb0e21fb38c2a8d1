//! The external scaler: KEDA's `ExternalScaler` service, answered from a load picture that the interceptors push.
//!
//! ```text
//! interceptor ── Load/Watch ──▶ subscriber ─▶ picture ─▶ service ── StreamIsActive, GetMetrics … ──▶ KEDA
//!                (one task each)                 ▲ ▲         ▲
//!              objects ─▶ catalog ───────────────┘ └─ rates  └─ specs, names
//! ```
//!
//! Every answer comes from memory. A "yes" of one interceptor is believed; a "no" needs all of them, and where that is not
//! to be had the answer is `UNAVAILABLE`, on which KEDA scales nothing to zero.

mod activity;
mod app;
mod catalog;
mod config;
pub mod kubernetes;
mod metric_name;
mod metrics;
mod peers;
mod picture;
mod service;
mod subscriber;
#[cfg(test)]
mod test_support;

pub use self::{
    app::{App, StartError},
    catalog::CatalogHandle,
    config::{Args, Config, ConfigError},
    peers::PeersHandle,
};
