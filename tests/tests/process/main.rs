//! Process tests: the binary, started as a user starts it, looked at from outside. One binary for all of them, because
//! linking is what takes the time.
#![expect(
    clippy::disallowed_types,
    reason = "nothing here runs on a runtime whose time could be paused"
)]
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

mod abandoned_requests;
mod bad_input;
mod cold_start;
mod failures;
mod lifetime;
mod node_delay;
mod scaling;
mod uploads;
