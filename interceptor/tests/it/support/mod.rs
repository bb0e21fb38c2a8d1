//! The parts that every test is made of: an interceptor, clients that write bytes, applications that do as told.

mod client;
mod interceptor;
mod origin;

use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::{
    client::{Client, Response, h2_client},
    interceptor::{Interceptor, Route, service},
    origin::{BlackHole, Body, Origin, UnboundOrigin, empty, streamed, text},
};

/// How long anything may take before a test fails. Generous, for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `holds`, looking every millisecond.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            assert!(
                Instant::now() < deadline,
                "{caller}: it never happened that {what}"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// What `future` returns, if that does not take for ever.
#[track_caller]
pub(crate) fn soon<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        tokio::time::timeout(PATIENCE, future)
            .await
            .unwrap_or_else(|_| panic!("{caller}: it took too long: {what}"))
    }
}
