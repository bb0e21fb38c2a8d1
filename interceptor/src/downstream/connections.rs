//! A worker's connections: their registry, the coarse clock and the sweeper that closes the ones that only sit there.
//!
//! Owned by the worker; a connection enters when its task starts and leaves when its [`ClientStream`] is dropped, so an
//! upgraded connection stays until its tunnel ends. Bounded by the acceptor's limit on open connections.
//!
//! [`ClientStream`]: super::ClientStream

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use slab::Slab;
use tokio::{
    net::TcpStream,
    sync::Notify,
    time::{Instant, MissedTickBehavior},
};
use tracing::{debug, error};

use super::{
    DownstreamSettings,
    connection::{Activity, ConnectionState},
    hangup::HangupWatcher,
};
use crate::worker::WorkerId;

/// Connections looked at before other tasks get their turn.
const SWEEP_CHUNK: usize = 512;
/// How long an idle connection has for its graceful end: the acknowledgement of an HTTP/2 GOAWAY.
const IDLE_GRACE: Duration = Duration::from_secs(10);

/// How long a client may go on sending a body that nobody reads, after its response.
const LINGER: Duration = Duration::from_secs(5);

/// What a connection has been told. Commands only escalate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Command {
    /// Serve.
    Run = 0,
    /// Finish the requests in progress, take no more, close.
    Drain = 1,
    /// Close at once.
    Abort = 2,
}

impl Command {
    pub(super) fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Run,
            1 => Self::Drain,
            _ => Self::Abort,
        }
    }
}

/// How many connections are open in the whole process, and the limit.
#[derive(Debug)]
pub(crate) struct OpenConnections {
    open: AtomicUsize,
    max: usize,
    /// Notified when there is room again after the limit, and when none is open.
    changed: Notify,
}

impl OpenConnections {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            open: AtomicUsize::new(0),
            max: max.max(1),
            changed: Notify::new(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count() >= self.max
    }

    /// Waits until a connection may be accepted.
    pub(crate) async fn room(&self) {
        self.wait_until(|open| open < self.max).await;
    }

    /// Waits until no connection is open.
    pub(crate) async fn none(&self) {
        self.wait_until(|open| open == 0).await;
    }

    async fn wait_until(&self, holds: impl Fn(usize) -> bool) {
        loop {
            let changed = self.changed.notified();
            if holds(self.count()) {
                return;
            }
            changed.await;
        }
    }

    fn release(&self) {
        let before = self.open.fetch_sub(1, Ordering::AcqRel);
        if before == 1 || before >= self.max {
            self.changed.notify_waiters();
        }
    }
}

/// A connection's place in the counts, taken when it is accepted.
pub(crate) struct OpenSlot {
    owner: Arc<Connections>,
}

impl OpenSlot {
    pub(crate) fn take(owner: &Arc<Connections>) -> Self {
        owner.open.fetch_add(1, Ordering::AcqRel);
        owner.accepted.fetch_add(1, Ordering::Relaxed);
        owner.total.open.fetch_add(1, Ordering::AcqRel);
        Self {
            owner: Arc::clone(owner),
        }
    }
}

impl fmt::Debug for OpenSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSlot").finish_non_exhaustive()
    }
}

impl Drop for OpenSlot {
    fn drop(&mut self) {
        self.owner.open.fetch_sub(1, Ordering::AcqRel);
        self.owner.total.release();
    }
}

/// One worker's connections.
pub(crate) struct Connections {
    worker_id: WorkerId,
    settings: Arc<DownstreamSettings>,
    /// The process is about to drain: HTTP/1 clients are told to go elsewhere.
    closing: Arc<AtomicBool>,
    total: Arc<OpenConnections>,
    /// Of this worker, those in its queue included.
    open: AtomicUsize,
    /// All that this worker was ever given.
    accepted: AtomicU64,
    panics: AtomicU64,
    registry: Mutex<Registry>,
    pub(super) watcher: HangupWatcher,
    started: Instant,
    /// Milliseconds since `started`, at the last sweep. Wraps after 49 days, so only differences mean anything. Never 0.
    clock_ms: AtomicU32,
}

struct Registry {
    entries: Slab<Arc<ConnectionState>>,
    /// Makes keys unique, so that a late event of one connection cannot reach another in the same place.
    generation: u32,
    /// What new connections are told.
    command: Command,
}

impl Connections {
    pub(crate) fn new(
        worker_id: WorkerId,
        settings: Arc<DownstreamSettings>,
        total: Arc<OpenConnections>,
        closing: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        Ok(Self {
            worker_id,
            settings,
            closing,
            total,
            open: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            registry: Mutex::new(Registry {
                entries: Slab::new(),
                generation: 0,
                command: Command::Run,
            }),
            watcher: HangupWatcher::new()?,
            started: Instant::now(),
            clock_ms: AtomicU32::new(1),
        })
    }

    pub(crate) fn worker_id(&self) -> WorkerId {
        self.worker_id
    }

    pub(crate) fn settings(&self) -> &DownstreamSettings {
        &self.settings
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    pub(super) fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// The worker's coarse clock.
    pub(super) fn now_ms(&self) -> u32 {
        self.clock_ms.load(Ordering::Relaxed)
    }

    pub(super) fn insert(self: &Arc<Self>, stream: TcpStream, peer_addr: SocketAddr) -> Arc<ConnectionState> {
        let mut registry = self.registry.lock();
        registry.generation = registry.generation.wrapping_add(1);
        let (generation, command) = (registry.generation, registry.command);
        let place = registry.entries.vacant_entry();
        let key = u64::from(generation) << 32 | place.key() as u64;
        let state = Arc::new(ConnectionState::new(
            stream,
            peer_addr,
            Arc::clone(self),
            key,
            command,
        ));
        place.insert(Arc::clone(&state));
        state
    }

    pub(super) fn remove(&self, key: u64) {
        let mut registry = self.registry.lock();
        let removed = registry.entries.try_remove(index(key));
        if registry.entries.is_empty() {
            // Given back after a wave of connections.
            registry.entries.shrink_to_fit();
        }
        drop(registry);
        drop(removed);
    }

    /// The connection with this key, if it is still open.
    pub(super) fn get(&self, key: u64) -> Option<Arc<ConnectionState>> {
        let registry = self.registry.lock();
        registry
            .entries
            .get(index(key))
            .filter(|state| state.key == key)
            .map(Arc::clone)
    }

    /// Tells every connection, and those to come.
    pub(crate) fn order_all(&self, command: Command) {
        let connections: Vec<_> = {
            let mut registry = self.registry.lock();
            registry.command = registry.command.max(command);
            registry
                .entries
                .iter()
                .map(|(_, state)| Arc::clone(state))
                .collect()
        };
        for connection in connections {
            connection.order(command);
        }
    }

    /// Runs the worker's clock and closes connections that only sit there. Ends with the worker.
    pub(crate) async fn sweep(self: Arc<Self>) {
        let mut interval = tokio::time::interval(self.settings.sweep_interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let now_ms = (self.started.elapsed().as_millis() as u32).max(1);
            self.clock_ms.store(now_ms, Ordering::Relaxed);
            let mut from = 0;
            while let Some(next) = self.sweep_chunk(from, now_ms) {
                from = next;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Runs the worker's hang-up watcher. Ends with the worker.
    pub(crate) async fn watch_hangups(self: Arc<Self>) {
        if let Err(error) = self.watcher.run(&self).await {
            // Requests are served all the same; what hyper sees of a client still ends them.
            error!(worker = %self.worker_id, %error, "the hang-up watcher ended");
        }
    }

    fn sweep_chunk(&self, from: usize, now_ms: u32) -> Option<usize> {
        let mut expired = Vec::new();
        let to = from + SWEEP_CHUNK;
        let capacity = {
            let registry = self.registry.lock();
            for place in from..to.min(registry.entries.capacity()) {
                if let Some(state) = registry.entries.get(place)
                    && let Some(command) = self.verdict(state.activity(now_ms))
                {
                    expired.push((Arc::clone(state), command));
                }
            }
            registry.entries.capacity()
        };
        for (state, command) in expired {
            if state.order(command) {
                debug!(client.addr = %state.peer_addr(), ?command, "connection timed out");
            }
        }
        (to < capacity).then_some(to)
    }

    fn verdict(&self, activity: Activity) -> Option<Command> {
        let over =
            |ms: u32, limit: Option<Duration>| limit.is_some_and(|limit| u128::from(ms) >= limit.as_millis());
        match activity {
            Activity::Busy => None,
            Activity::Silent(ms) => over(ms, self.settings.first_byte_timeout).then_some(Command::Abort),
            Activity::Head(ms) => over(ms, self.settings.header_timeout).then_some(Command::Abort),
            Activity::Lingering(ms) => over(ms, Some(LINGER)).then_some(Command::Abort),
            Activity::Idle(ms) => {
                let limit = self.settings.idle_timeout;
                if over(ms, limit.map(|limit| limit + IDLE_GRACE)) {
                    Some(Command::Abort)
                } else {
                    over(ms, limit).then_some(Command::Drain)
                }
            }
        }
    }
}

fn index(key: u64) -> usize {
    (key & u64::from(u32::MAX)) as usize
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("worker_id", &self.worker_id)
            .field("open", &self.open())
            .finish_non_exhaustive()
    }
}
