//! Keeps a route's stream of pushed activity open.
//!
//! KEDA opens a stream that ended again after 2 s, after errors ever later up to a minute. On one machine the scaler is
//! never far: a clean end is followed by a new stream after 100 ms, an error after 250 ms, doubling to 5 s. Until then the
//! polls see what the stream would have said.

use std::time::Duration;

use rouse_daemon::chain::chain;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::client::Scaler;

const AFTER_CLEAN_END: Duration = Duration::from_millis(100);
const AFTER_FIRST_ERROR: Duration = Duration::from_millis(250);
const AFTER_MANY_ERRORS: Duration = Duration::from_secs(5);

/// Passes on what is pushed, for as long as somebody listens.
pub(super) async fn listen(scaler: &impl Scaler, activity: mpsc::Sender<bool>) {
    let mut pause = AFTER_FIRST_ERROR;
    while !activity.is_closed() {
        match scaler.pushes(&activity).await {
            Ok(()) => {
                pause = AFTER_FIRST_ERROR;
                sleep(AFTER_CLEAN_END).await;
            }
            Err(error) => {
                tracing::debug!(error = %chain(&error), ?pause, "the stream of activity ended");
                sleep(pause).await;
                pause = (pause * 2).min(AFTER_MANY_ERRORS);
            }
        }
    }
}
