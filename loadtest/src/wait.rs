//! Waiting for a condition, with a bound.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Asks `condition` every `period` until it answers with something, for at most `bound`.
pub(crate) async fn until<T>(
    what: &str,
    bound: Duration,
    period: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + bound;
    loop {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        anyhow::ensure!(Instant::now() < deadline, "{what}: not within {bound:?}");
        sleep(period).await;
    }
}
