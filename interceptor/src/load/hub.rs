//! Where changes of load come together: the request path marks routes, the publisher names routes and targets, one task
//! samples what was marked, and every stream is told.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    mem,
    sync::Arc,
    time::Duration,
};

use futures_util::Stream;
use parking_lot::Mutex;
use rouse_proto::load::LoadReport;
use rouse_routing::RouteId;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    picture::Picture,
    source::{LoadSource, RouteLoadSample},
};
use crate::plan::TargetKey;

/// How long changes that are not edges are gathered.
pub(super) const GATHER: Duration = Duration::from_millis(100);

/// How long a stream may be silent.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

/// The load picture's one owner; a handle, cheap to clone. [`LoadHub::run`] must run on the control runtime for anything
/// but full reports to come out.
#[derive(Debug, Clone)]
pub struct LoadHub(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    boot_id: u64,
    /// Routes that changed since the last round; each is in here once, so the routes bound it. Locked by the request path
    /// once per route and round.
    changed: Mutex<Vec<Arc<dyn LoadSource>>>,
    /// Routes whose change is sent at once; each is in here once.
    urgent: Mutex<Vec<Arc<dyn LoadSource>>>,
    /// Something is urgent.
    wake: Notify,
    /// Never locked by the request path, never across an await.
    picture: Mutex<Picture>,
    /// Tells the streams; the last value is all that counts.
    announced: watch::Sender<Announcement>,
}

/// What the streams are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Announcement {
    /// The picture has changes up to this version.
    version: u64,
    /// The process is shutting down.
    is_draining: bool,
    /// The streams end.
    is_closed: bool,
}

impl LoadHub {
    /// A hub that knows nothing yet, with a boot id of its own.
    pub fn new() -> Self {
        // `RandomState` draws its keys from the system's randomness.
        let boot_id = RandomState::new().build_hasher().finish().max(1);
        Self(Arc::new(Shared {
            boot_id,
            changed: Mutex::new(Vec::new()),
            urgent: Mutex::new(Vec::new()),
            wake: Notify::new(),
            picture: Mutex::new(Picture::default()),
            announced: watch::Sender::new(Announcement {
                version: 0,
                is_draining: false,
                is_closed: false,
            }),
        }))
    }

    /// Random, drawn with the hub: a new value means that every counter began again at zero.
    pub fn boot_id(&self) -> u64 {
        self.0.boot_id
    }

    /// Says that a route's load changed; it is told within 100 ms. For the request path: one relaxed load while the route
    /// is marked already. Call it after the counters were changed.
    pub fn mark_dirty<S: LoadSource + 'static>(&self, source: &Arc<S>) {
        if source.mark().set_changed() {
            let source: Arc<dyn LoadSource> = Arc::<S>::clone(source);
            self.0.changed.lock().push(source);
        }
    }

    /// Says that a route's load changed in a way that cannot wait: a cold route's first request. Call it after the
    /// counters were changed.
    pub fn edge<S: LoadSource + 'static>(&self, source: &Arc<S>) {
        if source.mark().set_urgent() {
            let source: Arc<dyn LoadSource> = Arc::<S>::clone(source);
            self.0.urgent.lock().push(source);
            self.0.wake.notify_one();
        }
    }

    /// A route exists from now on, or has a new state.
    pub fn route_added(&self, source: Arc<dyn LoadSource>) {
        self.0.picture.lock().add_route(source);
    }

    /// A route is gone.
    pub fn route_removed(&self, id: &RouteId) {
        self.0.picture.lock().remove_route(id);
    }

    /// A target has this many ready endpoints. Told at once when it became ready or ceased to be.
    pub fn target_changed(&self, key: &TargetKey, ready_count: usize) {
        let ready = u32::try_from(ready_count).unwrap_or(u32::MAX);
        let is_edge = self.0.picture.lock().set_target(key, ready);
        if is_edge {
            self.announce();
        }
    }

    /// No route uses the target any longer.
    pub fn target_removed(&self, key: &TargetKey) {
        self.0.picture.lock().remove_target(key);
    }

    /// The process is shutting down; its counts still count. Told at once.
    pub fn set_draining(&self) {
        self.0
            .announced
            .send_if_modified(|announced| !mem::replace(&mut announced.is_draining, true));
    }

    /// Ends every stream, after what it has to tell. New ones end after their full report.
    pub fn close(&self) {
        self.0
            .announced
            .send_if_modified(|announced| !mem::replace(&mut announced.is_closed, true));
    }

    /// Every route's load now.
    pub fn loads(&self) -> Vec<(RouteId, RouteLoadSample)> {
        let sources = self.0.picture.lock().sources();
        sources
            .iter()
            .map(|source| (source.id().clone(), source.load()))
            .collect()
    }

    /// How many streams are open.
    pub fn stream_count(&self) -> usize {
        self.0.announced.receiver_count()
    }

    /// Samples what was marked until `stop`, then closes the streams. Runs once, on the control runtime.
    pub async fn run(self, stop: CancellationToken) {
        let mut round = tokio::time::interval_at(Instant::now() + GATHER, GATHER);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut again = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.0.wake.notified() => self.sample_urgent(&mut again),
                _ = round.tick() => self.sample_changed(&mut again),
            }
        }
        self.close();
    }

    /// The urgent round. The sampled routes are put down in `again`.
    fn sample_urgent(&self, again: &mut Vec<Arc<dyn LoadSource>>) {
        let sources = mem::take(&mut *self.0.urgent.lock());
        if sources.is_empty() {
            return;
        }
        {
            let mut picture = self.0.picture.lock();
            for source in &sources {
                source.mark().take_urgent();
                picture.sample(source);
            }
        }
        self.announce();
        again.extend(sources);
    }

    /// The round of every 100 ms: what was marked, and once more what was sampled since the last round (see
    /// [`LoadMark`](super::LoadMark)).
    fn sample_changed(&self, again: &mut Vec<Arc<dyn LoadSource>>) {
        let sources = mem::take(&mut *self.0.changed.lock());
        let last = mem::take(again);
        if !sources.is_empty() || !last.is_empty() {
            let mut picture = self.0.picture.lock();
            for source in last.iter().filter(|source| !source.mark().is_changed()) {
                picture.sample(source);
            }
            for source in &sources {
                source.mark().take_changed();
                picture.sample(source);
            }
        }
        self.announce();
        *again = sources;
    }

    /// Tells the streams that the picture changed, if it did.
    fn announce(&self) {
        let version = self.0.picture.lock().version();
        self.0.announced.send_if_modified(|announced| {
            let is_news = version > announced.version;
            announced.version = announced.version.max(version);
            is_news
        });
    }

    /// Everything there is, then what changes: see `Watch` in load.proto. Ends when the hub is closed.
    pub fn watch(&self) -> impl Stream<Item = LoadReport> + Send + 'static + use<> {
        let watcher = Watcher {
            announced: self.0.announced.subscribe(),
            shared: Arc::clone(&self.0),
            told: None,
            told_draining: false,
            silent_since: Instant::now(),
        };
        futures_util::stream::unfold(watcher, |mut watcher| async move {
            let report = watcher.next().await?;
            Some((report, watcher))
        })
    }
}

impl Default for LoadHub {
    fn default() -> Self {
        Self::new()
    }
}

/// One stream: a position in the picture's order of changes.
#[derive(Debug)]
struct Watcher {
    shared: Arc<Shared>,
    announced: watch::Receiver<Announcement>,
    /// The version told so far; `None` before the full report.
    told: Option<u64>,
    told_draining: bool,
    silent_since: Instant,
}

impl Watcher {
    async fn next(&mut self) -> Option<LoadReport> {
        loop {
            let announced = *self.announced.borrow_and_update();
            let has_news = self.told.is_none_or(|told| announced.version > told)
                || announced.is_draining != self.told_draining;
            if has_news {
                return Some(self.report(announced));
            }
            if announced.is_closed {
                return None;
            }
            let heartbeat = self.silent_since + HEARTBEAT;
            match tokio::time::timeout_at(heartbeat, self.announced.changed()).await {
                Ok(Ok(())) => {}
                // The sender lives in `shared`, which this stream holds.
                Ok(Err(_closed)) => return None,
                Err(_silent_for_long) => return Some(self.sign(LoadReport::default(), announced)),
            }
        }
    }

    /// What this stream has not told yet, taken under one lock with the version it reaches up to.
    fn report(&mut self, announced: Announcement) -> LoadReport {
        let report = {
            let picture = self.shared.picture.lock();
            let changes = self.told.and_then(|told| picture.since(told));
            self.told = Some(picture.version());
            changes.unwrap_or_else(|| picture.full())
        };
        self.sign(report, announced)
    }

    fn sign(&mut self, report: LoadReport, announced: Announcement) -> LoadReport {
        self.told_draining = announced.is_draining;
        self.silent_since = Instant::now();
        LoadReport {
            boot_id: self.shared.boot_id,
            draining: announced.is_draining,
            ..report
        }
    }
}
