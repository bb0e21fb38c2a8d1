//! Waiting for a condition, with a bound, and with what was last seen in the message when it does not come.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

const PERIOD: Duration = Duration::from_millis(100);

/// What a look at a condition found.
#[derive(Debug)]
pub enum Look<T> {
    /// The condition holds.
    Done(T),
    /// It does not hold yet; this is what there is instead.
    NotYet(String),
}

/// The condition holds.
pub fn done<T>(value: T) -> anyhow::Result<Look<T>> {
    Ok(Look::Done(value))
}

/// The condition does not hold yet.
pub fn not_yet<T>(seen: impl Into<String>) -> anyhow::Result<Look<T>> {
    Ok(Look::NotYet(seen.into()))
}

/// Looks at a condition every 100 ms until it holds, for at most `bound`. A look that fails counts as one that does not
/// hold: servers that are being started, or stopped by a test, refuse for a while.
pub async fn until<T>(
    what: &str,
    bound: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Look<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + bound;
    let mut seen = "nothing".to_owned();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match timeout(left.max(PERIOD), look()).await {
            Ok(Ok(Look::Done(value))) => return Ok(value),
            Ok(Ok(Look::NotYet(state))) => seen = state,
            Ok(Err(error)) => seen = format!("{error:#}"),
            Err(_) => seen.push_str(" (and then no answer)"),
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "{what}: not within {bound:?}; last seen: {seen}"
        );
        sleep(PERIOD).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_failure_says_what_was_last_seen() {
        let mut looks = 0;
        let error = until::<()>("three", Duration::from_secs(1), async || {
            looks += 1;
            not_yet(format!("look {looks}"))
        })
        .await
        .unwrap_err()
        .to_string();
        assert!(
            error.starts_with("three: not within 1s; last seen: look 1"),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_ends_at_the_bound() {
        let error = until::<()>("an answer", Duration::from_secs(1), async || {
            std::future::pending().await
        })
        .await
        .unwrap_err()
        .to_string();
        assert!(error.contains("no answer"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_fails_is_followed_by_another() {
        let mut looks = 0;
        let found = until("two", Duration::from_secs(1), async || {
            looks += 1;
            anyhow::ensure!(looks == 2, "refused");
            done(looks)
        })
        .await
        .unwrap();
        assert_eq!(found, 2);
    }
}
