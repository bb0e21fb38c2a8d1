//! What every long-running part of Rouse needs and none should write twice: logs, the admin listener, readiness, the
//! phases of a life, signals, process limits, and two small things that keep texts uniform (durations, error chains).
//!
//! Nothing here knows what the part does. A part makes one [`readiness::Readiness`], one [`phase::channel`] and one
//! [`metrics::Metrics`], hands the first and the last to [`admin::router`], and serves that beside whatever else its admin
//! port offers, on a runtime apart from its request path.

pub mod admin;
pub mod chain;
pub mod duration;
pub mod metrics;
pub mod phase;
pub mod process;
pub mod readiness;
pub mod signal;
pub mod telemetry;
pub mod threads;

/// What the user has to mend before a command can run. Whoever runs commands answers it with [`EXIT_USAGE`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUsage(pub String);

/// The exit status for bad usage and bad configuration (`EX_USAGE` of `sysexits.h`).
pub const EXIT_USAGE: u8 = 64;
