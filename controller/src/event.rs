//! Events for people: what `kubectl describe` shows of a route beside its conditions.
//!
//! Only transitions are told, and only those from and to something that is wrong: a thousand new routes that are well make
//! no event. Publishing is best effort and never in anybody's way: a short queue, a rate limit over all routes, and what
//! goes beyond is dropped and counted. The condition says the same and is always written. Repetitions within some minutes
//! become a count on the event that is there.

use std::{fmt, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use rouse_daemon::{chain::chain, metrics::Metrics};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// The controller's name in its events.
const REPORTER: &str = "rouse-controller";

/// Events that wait to be published.
const QUEUE: usize = 64;

/// Events that may be published at once, after a calm.
const BURST: u32 = 25;

/// In the long run there is one event in this time.
const PERIOD: Duration = Duration::from_secs(5);

/// How long the API server has for one.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longer notes are refused by the API server.
const MAX_NOTE: usize = 1_000;

/// Something to tell about an object.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    /// The object.
    pub(crate) about: ObjectReference,
    /// Whether something is wrong.
    pub(crate) is_warning: bool,
    /// One word in CamelCase, such as a condition's reason.
    pub(crate) reason: &'static str,
    /// What was done or looked at, as one word in CamelCase.
    pub(crate) action: &'static str,
    /// For people.
    pub(crate) note: String,
}

/// Where events are published. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Events {
    queue: mpsc::Sender<Notice>,
    dropped: Counter,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// Publishes what [`Events`] are given.
#[derive(Debug)]
pub(crate) struct Publisher {
    queue: mpsc::Receiver<Notice>,
    dropped: Counter,
    published: Counter,
}

/// Both ends.
pub(crate) fn channel(metrics: &Metrics) -> (Events, Publisher) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (published, dropped) = metrics.register(register);
    let events = Events {
        queue: sender,
        dropped: dropped.clone(),
    };
    let publisher = Publisher {
        queue: receiver,
        dropped,
        published,
    };
    (events, publisher)
}

fn register(registry: &mut Registry) -> (Counter, Counter) {
    let registry = registry.sub_registry_with_prefix("rouse_controller");
    let (published, dropped) = (Counter::default(), Counter::default());
    registry.register("events_published", "Events published", published.clone());
    registry.register(
        "events_dropped",
        "Events not published: too many at once, or refused",
        dropped.clone(),
    );
    (published, dropped)
}

impl Events {
    /// Publishes soon, or never. Call it as the leader only.
    pub(crate) fn publish(&self, notice: Notice) {
        if self.queue.try_send(notice).is_err() {
            self.dropped.inc();
        }
    }
}

impl Publisher {
    /// Publishes until `shutdown`. What is queued then is dropped: the next leader finds the same conditions.
    pub(crate) async fn run(mut self, client: Client, instance: String, shutdown: CancellationToken) {
        let reporter = Reporter {
            controller: REPORTER.to_owned(),
            instance: Some(instance),
        };
        let recorder = Recorder::new(client, reporter);
        let mut budget = Budget::new(Instant::now());
        loop {
            let notice = tokio::select! {
                () = shutdown.cancelled() => return,
                notice = self.queue.recv() => notice,
            };
            let Some(notice) = notice else { return };
            if !budget.take(Instant::now()) {
                self.dropped.inc();
                continue;
            }
            let published = tokio::select! {
                () = shutdown.cancelled() => return,
                published = timeout(TIMEOUT, publish(&recorder, &notice)) => published,
            };
            match published {
                Ok(Ok(())) => {
                    self.published.inc();
                }
                Ok(Err(error)) => {
                    self.dropped.inc();
                    tracing::debug!(error = %chain(&error), reason = notice.reason, "event refused");
                }
                Err(_elapsed) => {
                    self.dropped.inc();
                }
            }
        }
    }
}

async fn publish(recorder: &Recorder, notice: &Notice) -> Result<(), kube::Error> {
    let mut note = notice.note.clone();
    if note.len() > MAX_NOTE {
        let end = (0..=MAX_NOTE).rev().find(|at| note.is_char_boundary(*at));
        note.truncate(end.unwrap_or(0));
    }
    let event = Event {
        type_: if notice.is_warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: notice.reason.to_owned(),
        note: Some(note),
        action: notice.action.to_owned(),
        secondary: None,
    };
    recorder.publish(&event, &notice.about).await
}

/// A token bucket.
#[derive(Debug)]
struct Budget {
    tokens: u32,
    refilled: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            tokens: BURST,
            refilled: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let periods = (now - self.refilled).as_millis() / PERIOD.as_millis();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        if periods > 0 {
            self.tokens = self.tokens.saturating_add(periods).min(BURST);
            self.refilled += PERIOD.saturating_mul(periods);
        }
        let Some(left) = self.tokens.checked_sub(1) else {
            return false;
        };
        self.tokens = left;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_one_in_each_period() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        for _ in 0..BURST {
            assert!(budget.take(start));
        }
        assert!(!budget.take(start));
        assert!(!budget.take(start + PERIOD - Duration::from_millis(1)));
        assert!(budget.take(start + PERIOD));
        assert!(!budget.take(start + PERIOD));
        let later = start + PERIOD * 1_000;
        for _ in 0..BURST {
            assert!(budget.take(later), "a long calm gives the burst back and no more");
        }
        assert!(!budget.take(later));
    }
}
