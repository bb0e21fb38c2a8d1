//! `StreamIsActive`: the current value when it is opened, and from then on a `true` whenever a request waits for a target
//! without a ready endpoint.
//!
//! ```text
//!             edge: send                    edge: send
//!   Quiet ───────────────▶ Waking ──┐ repeat after 100, 200, 400 ms … 5 s: send
//!     ▲                      │  ▲   │
//!     └──────────────────────┘  └───┘
//!   an endpoint is ready, or nothing wants the wake any longer
//! ```
//!
//! An edge arrives through a watch channel: nothing ticks and nothing polls between an interceptor's report and the
//! message. Repeats are for KEDA's sake, which drops a push that comes before its status is complete or races a
//! scale-in. Warm traffic changes nothing in the channel and costs no message: each `true` makes KEDA read and write.

use std::{iter, sync::Arc, time::Duration};

use futures_util::stream;
use prometheus_client::metrics::gauge::Gauge;
use rouse_proto::externalscaler::{IsActiveResponse, ScaledObjectRef};
use rouse_routing::RouteId;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    Answers, Scaler,
    load::{Load, namesake},
    not_found,
    subject::Subject,
};
use crate::{
    catalog::ScalingSpec,
    metrics::{Method, PushReason, ScalerMetrics},
    picture::{Picture, Signal},
};

/// To the first repeat; also the least time between two messages, whatever an interceptor reports.
const FIRST_REPEAT: Duration = Duration::from_millis(100);
/// Between repeats once a wake takes long.
const LONGEST_REPEAT: Duration = Duration::from_secs(5);
/// A clean end waits for as long as a wake is wanted, and is tried again after this.
const CLEAN_END_RETRY: Duration = Duration::from_secs(1);

impl Scaler {
    pub(super) fn open_active_stream(
        &self,
        object: &ScaledObjectRef,
    ) -> Result<Answers<IsActiveResponse>, Status> {
        let gauge = self.metrics.streams(Method::StreamIsActive);
        match Subject::of(object)? {
            Subject::Route(id) => {
                let spec = self.catalog.subscribe(&id).ok_or_else(|| not_found(&id))?;
                let (route, signals) = self.picture.subscribe(&id);
                let namesake = namesake(&id).map(|id| self.picture.subscribe(&id));
                let (namesake, namesake_signals) = namesake.unzip();
                gauge.inc();
                let stream = ActiveStream {
                    signals,
                    namesake_signals,
                    spec,
                    clean_end: self
                        .clean_ends
                        .as_ref()
                        .and_then(|ends| ends.turn(&object.name, &id)),
                    shutdown: self.shutdown.clone(),
                    metrics: Arc::clone(&self.metrics),
                    opening: Some(self.picture.news()),
                    stage: Stage::Quiet,
                    edges: 0,
                    pushed_at: None,
                    open: OpenStream {
                        picture: Arc::clone(&self.picture),
                        id,
                        load: Load::new(iter::once(route).chain(namesake)),
                        gauge,
                    },
                };
                Ok(stream.into_answers())
            }
            Subject::Interceptors { .. } => {
                // The interceptors are never at zero, so that there is no wake to be pushed.
                let active = self.picture.total_concurrency() > 0;
                let first = (active || self.picture.can_say_none())
                    .then_some(Ok(IsActiveResponse { result: active }));
                let shutdown = self.shutdown.clone();
                let rest = stream::once(async move { shutdown.cancelled_owned().await });
                let rest = futures_util::StreamExt::filter_map(rest, |()| std::future::ready(None));
                Ok(Box::pin(futures_util::StreamExt::chain(
                    stream::iter(first),
                    rest,
                )))
            }
        }
    }
}

/// One stream for one route.
#[derive(Debug)]
struct ActiveStream {
    /// Dropped before `open`, which looks whether it was the route's last.
    signals: watch::Receiver<Signal>,
    /// Of the route that may be served in place of this one.
    namesake_signals: Option<watch::Receiver<Signal>>,
    spec: watch::Receiver<Arc<ScalingSpec>>,
    clean_end: Option<Instant>,
    shutdown: CancellationToken,
    metrics: Arc<ScalerMetrics>,
    /// Until the opening value has been sent: changes when it may have become known.
    opening: Option<watch::Receiver<u64>>,
    stage: Stage,
    /// The last edge that was acted on, counted over the signals.
    edges: u64,
    /// When a wake was last pushed.
    pushed_at: Option<Instant>,
    open: OpenStream,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody waits for the target.
    Quiet,
    /// A wake is wanted: a message at `at`, and further ones at a growing distance.
    Waking {
        at: Instant,
        then: Duration,
        reason: PushReason,
    },
    /// The stream has ended.
    Ended,
}

/// Undoes at its end what a stream's beginning did.
#[derive(Debug)]
struct OpenStream {
    picture: Arc<Picture>,
    id: RouteId,
    load: Load,
    gauge: Gauge,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.gauge.dec();
        for id in self.load.ids() {
            self.picture.drop_unused(id);
        }
    }
}

/// What the wait ended with.
enum Event {
    Shutdown,
    Signal,
    /// The object was changed, or is gone.
    Spec {
        gone: bool,
    },
    /// The opening value may be known now.
    News,
    Timer,
}

impl ActiveStream {
    fn into_answers(self) -> Answers<IsActiveResponse> {
        Box::pin(stream::unfold(self, |mut stream| async move {
            let item = stream.next().await?;
            Some((item, stream))
        }))
    }

    /// The next message; `None` ends the stream with status OK.
    async fn next(&mut self) -> Option<Result<IsActiveResponse, Status>> {
        loop {
            if self.stage == Stage::Ended {
                return None;
            }
            if self.opening.is_some()
                && let Some(active) = self.opening_value()
            {
                self.opening = None;
                return Some(Ok(self.send(active, PushReason::Open)));
            }
            match self.wait().await {
                Event::Shutdown => return None,
                Event::Spec { gone: true } => {
                    self.stage = Stage::Ended;
                    return Some(Err(not_found(&self.open.id)));
                }
                Event::Signal => self.look(),
                Event::Spec { gone: false } | Event::News | Event::Timer => {}
            }
            if let Some(reason) = self.due() {
                self.opening = None;
                return Some(Ok(self.send(true, reason)));
            }
            if self.ends_cleanly() {
                return None;
            }
        }
    }

    /// The value to open with. `None` while a `false` cannot be told from not knowing.
    fn opening_value(&mut self) -> Option<bool> {
        self.edges = self.take_edges();
        let now = self.open.picture.now();
        let active = self.open.load.is_active(now);
        if self.open.load.wants_wake(now) {
            // The opening message is the first push.
            self.pushed_at = Some(Instant::now());
            self.stage = Stage::Waking {
                at: Instant::now() + FIRST_REPEAT,
                then: FIRST_REPEAT * 2,
                reason: PushReason::Repeat,
            };
        }
        (active || self.open.picture.can_say_none()).then_some(active)
    }

    async fn wait(&mut self) -> Event {
        let push = match self.stage {
            Stage::Waking { at, .. } => Some(at),
            _ => None,
        };
        let timer = [push, self.clean_end].into_iter().flatten().min();
        let alarm = async {
            match timer {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let news = async {
            match &mut self.opening {
                // Never an error: `open` keeps the sender.
                Some(news) => news.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let namesake_signal = async {
            match &mut self.namesake_signals {
                // Never an error: `open` keeps the sender.
                Some(signals) => signals.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Event::Shutdown,
            // Never an error: `open` keeps the sender.
            _ = self.signals.changed() => Event::Signal,
            _ = namesake_signal => Event::Signal,
            changed = self.spec.changed() => Event::Spec { gone: changed.is_err() },
            _ = news => Event::News,
            () = alarm => Event::Timer,
        }
    }

    /// Takes in what the route signals.
    fn look(&mut self) {
        let edges = self.take_edges();
        if edges != self.edges {
            self.edges = edges;
            let now = Instant::now();
            let at = self
                .pushed_at
                .map_or(now, |pushed_at| now.max(pushed_at + FIRST_REPEAT));
            self.stage = Stage::Waking {
                at,
                then: FIRST_REPEAT,
                reason: PushReason::Edge,
            };
        } else if !self.open.load.wants_wake(self.open.picture.now()) {
            self.stage = Stage::Quiet;
        }
    }

    fn take_edges(&mut self) -> u64 {
        let namesake = self.namesake_signals.as_mut();
        let namesake = namesake.map_or(0, |signals| signals.borrow_and_update().edges);
        self.signals.borrow_and_update().edges + namesake
    }

    /// Whether a message is due, and why.
    fn due(&mut self) -> Option<PushReason> {
        let Stage::Waking { at, then, reason } = self.stage else {
            return None;
        };
        let now = Instant::now();
        if now < at {
            return None;
        }
        if !self.open.load.wants_wake(self.open.picture.now()) {
            self.stage = Stage::Quiet;
            return None;
        }
        self.pushed_at = Some(now);
        let next = (then * 2).min(LONGEST_REPEAT);
        self.stage = Stage::Waking {
            at: now + then,
            then: next,
            reason: PushReason::Repeat,
        };
        Some(reason)
    }

    /// Whether the time for the clean end has come. Not in the middle of a wake: KEDA is back only after 2 s.
    fn ends_cleanly(&mut self) -> bool {
        let now = Instant::now();
        if self.clean_end.is_none_or(|at| now < at) {
            return false;
        }
        if self.open.load.wants_wake(self.open.picture.now()) {
            self.clean_end = Some(now + CLEAN_END_RETRY);
            return false;
        }
        true
    }

    fn send(&self, active: bool, reason: PushReason) -> IsActiveResponse {
        self.metrics.pushed(reason);
        IsActiveResponse { result: active }
    }
}
