//! The scaling loop: what KEDA and the horizontal pod autoscaler do for a ScaledObject, as one task for each route.
//!
//! It is a client of the external scaler's own service and knows nothing of the interceptor. A pushed `true` wakes at
//! once, a pushed `false` is ignored; every polling interval it asks for activity and metrics. An answer that does not
//! come changes nothing: errors never scale in. Ticks are aligned to the start and do not drift.

mod activation;
pub mod client;
pub mod cooldown;
pub mod hpa;

use std::fmt;
use std::time::Duration;

use rouse_daemon::chain::chain;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::deployment::ScaleHandle;
use crate::narrate::{Human, Narrator};
use client::{Scaler, ScalerError};
use cooldown::{Cooldown, Limits};
use hpa::Hpa;

/// Pushed answers that wait for the loop. One is as good as many.
const PUSHES: usize = 8;

/// Failed polls in a row that are worth a line.
const FAULTS_TOLD: u32 = 2;
/// For as long after the start nothing is said of them: the scaler may not have heard the interceptor yet.
const QUIET_AT_START: Duration = Duration::from_secs(5);

/// One route's scaling.
#[derive(Debug)]
pub struct ScalingLoop<S> {
    /// The calls for the route.
    pub scaler: S,
    /// The workload to scale.
    pub workload: ScaleHandle,
    /// The route's bounds and periods.
    pub limits: Limits,
    /// The time between two polls.
    pub polling_interval: Duration,
    /// Who tells what happens.
    pub narrator: Narrator,
    /// The route's name for the terminal.
    pub subject: String,
}

/// Why a workload is scaled, for the terminal.
enum Reason {
    Pushed,
    Polled,
    Minimum,
    Idle,
    NeverActive,
    Metrics,
}

impl<S: Scaler> ScalingLoop<S> {
    /// Scales until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (sender, pushes) = mpsc::channel(PUSHES);
        tokio::select! {
            () = stop.cancelled() => {}
            () = activation::listen(&self.scaler, sender) => {}
            () = self.decide(pushes) => {}
        }
    }

    async fn decide(&self, mut pushes: mpsc::Receiver<bool>) {
        let mut cooldown = Cooldown::new(self.limits);
        let mut hpa = Hpa::new(self.limits.min, self.limits.max);
        let mut ticks = interval(self.polling_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut faults = Faults::new();
        // The end of a cooldown that was already looked at, so that a failed look is left to the next tick.
        let mut looked_at = None;
        loop {
            let expiry = cooldown
                .expiry(self.workload.replicas())
                .filter(|expiry| Some(*expiry) != looked_at);
            tokio::select! {
                _ = ticks.tick() => {
                    if self.poll(&mut cooldown, &mut faults).await {
                        self.follow_metrics(&mut hpa, &mut faults).await;
                    }
                }
                Some(is_active) = pushes.recv() => {
                    if is_active && let Some(replicas) = cooldown.observe(true, self.workload.replicas()) {
                        self.scale(replicas, &Reason::Pushed);
                    }
                }
                () = sleep_until(expiry.unwrap_or_else(Instant::now)), if expiry.is_some() => {
                    looked_at = expiry;
                    self.poll(&mut cooldown, &mut faults).await;
                }
            }
        }
    }

    /// Asks for activity and acts on it. Gives whether there was an answer.
    async fn poll(&self, cooldown: &mut Cooldown, faults: &mut Faults) -> bool {
        let is_active = match self.scaler.is_active().await {
            Ok(is_active) => is_active,
            Err(error) => {
                faults.failed(&self.subject, &error);
                return false;
            }
        };
        faults.worked(&self.subject);
        if let Some(replicas) = cooldown.observe(is_active, self.workload.replicas()) {
            let reason = match (is_active, replicas) {
                (true, _) => Reason::Polled,
                (false, 0) if cooldown.has_been_active() => Reason::Idle,
                (false, 0) => Reason::NeverActive,
                (false, _) => Reason::Minimum,
            };
            self.scale(replicas, &reason);
        }
        true
    }

    async fn follow_metrics(&self, hpa: &mut Hpa, faults: &mut Faults) {
        if self.workload.replicas() == 0 {
            return;
        }
        match self.scaler.measure().await {
            // Read again: a push may not have come between, but the answer took its time.
            Ok(metrics) => {
                let current = self.workload.replicas();
                let desired = hpa.evaluate(current, &metrics);
                if desired != current {
                    self.scale(desired, &Reason::Metrics);
                }
            }
            Err(error) => faults.failed(&self.subject, &error),
        }
    }

    fn scale(&self, replicas: u32, reason: &Reason) {
        let current = self.workload.replicas();
        self.workload.scale(replicas);
        let change = Change { current, replicas };
        let tell = |why: fmt::Arguments<'_>| {
            self.narrator
                .event(&self.subject, format_args!("{why}: {change}"));
        };
        match reason {
            Reason::Pushed => tell(format_args!("request held")),
            Reason::Polled => tell(format_args!("active")),
            Reason::Minimum => tell(format_args!("minimum")),
            Reason::Idle => tell(format_args!("idle for {}", Human(self.limits.cooldown))),
            Reason::NeverActive => tell(format_args!("never active")),
            Reason::Metrics => tell(format_args!("load")),
        }
    }
}

struct Change {
    current: u32,
    replicas: u32,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.current, self.replicas) {
            (0, replicas) => write!(f, "waking, 0 → {replicas}"),
            (current, 0) => write!(f, "scaled to zero, {current} → 0"),
            (current, replicas) => write!(f, "{current} → {replicas}"),
        }
    }
}

/// Tells a fault once, and its end. A single answer that did not come is no fault: the next one makes up for it.
#[derive(Debug)]
struct Faults {
    quiet_until: Instant,
    in_a_row: u32,
    is_told: bool,
}

impl Faults {
    fn new() -> Self {
        Self {
            quiet_until: Instant::now() + QUIET_AT_START,
            in_a_row: 0,
            is_told: false,
        }
    }

    fn failed(&mut self, route: &str, error: &ScalerError) {
        if self.count() {
            tracing::warn!(route, error = %chain(error), "nothing is scaled until the scaler answers");
        }
    }

    /// Counts a failure. Gives whether it is to be told.
    fn count(&mut self) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let is_news = !self.is_told && self.in_a_row >= FAULTS_TOLD && Instant::now() >= self.quiet_until;
        self.is_told |= is_news;
        is_news
    }

    fn worked(&mut self, route: &str) {
        self.in_a_row = 0;
        if std::mem::take(&mut self.is_told) {
            tracing::info!(route, "the scaler answers again");
        }
    }
}

#[cfg(test)]
mod tests;
