//! The gate's driver: one task per target with waiting requests, on one of the workers.
//!
//! Grants are given by whoever makes room (an endpoint that becomes ready, a slot that ends). The driver does what
//! needs time to pass: it grows the pacing windows, and when every endpoint refuses connections (a pod without a probe
//! is Ready before it listens) it tries to connect every few milliseconds, so that no request is spent on finding out.
//! A connection that it opens goes to the pool and carries the first request.
//!
//! It ends when nobody waits: every waiting request has a deadline, so the driver has one too.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::Instant;

use super::Target;
use crate::{
    endpoint::Endpoint,
    plan::UpstreamProtocol,
    pool::{ConnectError, Dialer},
    worker::WorkerId,
};

/// The pause between two attempts to connect to endpoints that refuse: short at first, when a process is about to
/// listen any moment, then a share of the time it has taken so far.
const ATTEMPT_PAUSE_MIN: Duration = Duration::from_millis(2);
const ATTEMPT_PAUSE_MAX: Duration = Duration::from_millis(10);
const ATTEMPT_SHARE: u32 = 200;
/// Endpoints tried in one round.
const ATTEMPTS_PER_ROUND: usize = 8;

pub(super) fn spawn(target: Arc<Target>) {
    let home = target.home();
    let Some(runtime) = target.settings.runtime(home) else {
        // Only a target made without workers, in a test, has none.
        target.driving.store(false, Ordering::Release);
        return;
    };
    // Not joined: it ends by itself, and with the worker's runtime at the latest.
    drop(runtime.spawn(drive(target, home)));
}

async fn drive(target: Arc<Target>, home: WorkerId) {
    let mut refused_since = None;
    loop {
        if target.gate.is_empty() {
            // An exchange, because a store could pass the look behind it: whoever joined the queue and saw a driver running
            // did so before it, and is seen below.
            target.driving.swap(false, Ordering::AcqRel);
            if target.gate.is_empty() || target.driving.swap(true, Ordering::AcqRel) {
                return;
            }
        }
        let now = Instant::now();
        let endpoints = target.endpoints.load().endpoints.clone();
        let pause = if endpoints.is_empty() {
            refused_since = None;
            None
        } else if endpoints.iter().any(|endpoint| endpoint.is_usable(now)) {
            refused_since = None;
            let next = target.gate.tick(now);
            target.pump(now);
            Some(next.saturating_duration_since(now))
        } else {
            let since = *refused_since.get_or_insert(now);
            if attempt(&target, &endpoints, home).await {
                continue;
            }
            let elapsed = now.saturating_duration_since(since);
            Some((elapsed / ATTEMPT_SHARE).clamp(ATTEMPT_PAUSE_MIN, ATTEMPT_PAUSE_MAX))
        };
        match pause {
            // Nothing to do before an endpoint comes or the last one leaves.
            None => target.changed.notified().await,
            Some(pause) => {
                // Whichever comes first; a timeout is the ordinary case.
                let _changed = tokio::time::timeout(pause, target.changed.notified()).await;
            }
        }
    }
}

/// Tries to connect to quarantined endpoints; whether one took a connection and is in use again.
async fn attempt(target: &Arc<Target>, endpoints: &[Arc<Endpoint>], home: WorkerId) -> bool {
    let mut attempts: FuturesUnordered<_> = endpoints
        .iter()
        .take(ATTEMPTS_PER_ROUND)
        .map(|endpoint| async move { (endpoint, open(endpoint, home, &target.settings.dialer).await) })
        .collect();
    let mut revived = false;
    while let Some((endpoint, outcome)) = attempts.next().await {
        match outcome {
            Ok(()) => {
                endpoint.succeeded();
                revived = true;
                // At once: others may take their time.
                target.pump(Instant::now());
            }
            Err(error) => {
                // Renewed, so that no request is let through to find out what this attempt has found out.
                endpoint.failed(Instant::now());
                tracing::trace!(endpoint = %endpoint.addr(), error = %rouse_daemon::chain::chain(&error), "not yet");
            }
        }
    }
    revived
}

async fn open(endpoint: &Endpoint, home: WorkerId, dialer: &Dialer) -> Result<(), ConnectError> {
    match endpoint.protocol() {
        UpstreamProtocol::Http1 => {
            let connection = dialer.h1(endpoint.addr()).await?;
            endpoint.pool().h1(home).put(connection, Instant::now());
        }
        UpstreamProtocol::H2c => {
            let sender = dialer.h2(endpoint.addr()).await?;
            endpoint.pool().h2(home).put(sender);
        }
    }
    if endpoint.is_retired() {
        endpoint.pool().clear();
    }
    Ok(())
}
