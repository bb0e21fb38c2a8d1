//! The controller as a whole against an API server in the same process.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "part of tests: what goes wrong has to fail them"
)]

mod budget;
mod conflicts;
mod leadership;
mod missing;
mod ownership;
mod status;
mod support;
