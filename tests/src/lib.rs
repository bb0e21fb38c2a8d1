//! What the process tests share: a running `rouse local`, an HTTP client that shows its bytes, a wait with a bound.
//!
//! Everything is blocking and on plain sockets: the tests look at Rouse from outside, and share no code with it.

#![expect(
    clippy::disallowed_types,
    reason = "nothing here runs on a runtime whose time could be paused"
)]
#![expect(
    clippy::missing_panics_doc,
    reason = "a support library for tests fails by panicking"
)]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a support library for tests"
)]

pub mod http;
pub mod manifest;
pub mod process;
mod rouse;

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

pub use self::rouse::{Rouse, rouse_program};

/// How long a condition is waited for where a test does not say otherwise. Generous: a loaded machine is not a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` gives a value, and returns it.
///
/// # Panics
/// When `patience` is over, naming `what` was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, patience: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        pause(Duration::from_millis(5));
    }
}

/// The pause between two looks of a bounded wait, or the gap between two requests of a scenario.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that sleeps, between looks or as a client that waits"
)]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Calls `work` on `count` threads at once and gathers what they return, in order.
pub fn in_parallel<T: Send + 'static>(
    count: usize,
    work: impl Fn(usize) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let work = Arc::new(work);
    let (tx, rx) = mpsc::channel();
    for n in 0..count {
        let (work, tx) = (Arc::clone(&work), tx.clone());
        std::thread::spawn(move || tx.send((n, work(n))));
    }
    drop(tx);
    let mut results: Vec<_> = rx.into_iter().collect();
    results.sort_by_key(|(n, _)| *n);
    results.into_iter().map(|(_, result)| result).collect()
}
