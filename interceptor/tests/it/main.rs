//! The interceptor from outside: a real one in process, real sockets on 127.0.0.1, applications written in the test.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test; measured times are printed"
)]

mod support;

mod abandoned;
mod answers;
mod bodies;
mod changes;
mod cold_start;
mod drain;
mod http2;
mod kubernetes;
mod load_watch;
mod messages;
mod pacing;
mod pools;
mod retries;
mod tunnels;
