//! The worker threads: one single-threaded runtime per core, on which connections and their requests live.
//!
//! Owned by the interceptor's `App`. The acceptor hands each connection to the worker with the fewest; it never moves.
//! Bounded by the limit on open connections, and by a queue of [`QUEUE`] new connections per worker.

use std::{
    fmt,
    future::Future,
    io,
    net::{SocketAddr, TcpStream},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc as std_mpsc,
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::downstream::{
    ClientService, Command, ConnectionTask, Connections, DownstreamSettings, Http, OpenConnections, OpenSlot,
};

/// Connections handed to a worker and not yet taken; a worker takes them all in one turn.
const QUEUE: usize = 1024;
/// How long a worker may take to start, and to end.
const THREAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A worker's number, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub usize);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A connection on its way to its worker.
#[derive(Debug)]
struct Accepted {
    socket: TcpStream,
    peer_addr: SocketAddr,
    slot: OpenSlot,
}

/// One worker, as others see it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WorkerHandle {
    connections: Arc<Connections>,
    runtime: Handle,
    queue: mpsc::Sender<Accepted>,
}

impl WorkerHandle {
    /// Its number.
    pub fn id(&self) -> WorkerId {
        self.connections.worker_id()
    }

    /// Its open connections, those in its queue and tunnels included.
    pub fn open_connections(&self) -> usize {
        self.connections.open()
    }

    /// Connections it was ever given.
    pub fn accepted_connections(&self) -> u64 {
        self.connections.accepted()
    }

    /// Panics that cost a connection or a request.
    pub fn panics(&self) -> u64 {
        self.connections.panics()
    }

    /// Its runtime, for timers and sockets that have to live on this worker.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Runs a task on the worker. It is dropped when the worker stops.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.runtime.spawn(task)
    }
}

/// Hands connections to workers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Assigner {
    workers: Arc<[WorkerHandle]>,
    total: Arc<OpenConnections>,
    /// Where the search for the fewest connections begins, so that ties go round.
    next: Arc<AtomicUsize>,
}

impl Assigner {
    /// Waits until the limit on open connections leaves room.
    pub async fn room(&self) {
        self.total.room().await;
    }

    /// Whether the limit on open connections is reached.
    pub fn is_full(&self) -> bool {
        self.total.is_full()
    }

    /// Gives a connection to the worker with the fewest open ones; waits while that worker's queue is full. The socket
    /// must be non-blocking.
    ///
    /// # Errors
    /// When the worker has stopped. The connection is closed.
    pub async fn assign(&self, socket: TcpStream, peer_addr: SocketAddr) -> io::Result<WorkerId> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let worker = (0..self.workers.len())
            .map(|step| &self.workers[(start.wrapping_add(step)) % self.workers.len()])
            // A worker that died takes its connections with it; new ones go to the others.
            .filter(|worker| !worker.queue.is_closed())
            .min_by_key(|worker| worker.open_connections())
            .ok_or(io::ErrorKind::NotConnected)?;
        let slot = OpenSlot::take(&worker.connections);
        match worker
            .queue
            .send(Accepted {
                socket,
                peer_addr,
                slot,
            })
            .await
        {
            Ok(()) => Ok(worker.id()),
            Err(_closed) => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// All workers. Dropping it stops them without waiting.
pub struct Workers {
    handles: Arc<[WorkerHandle]>,
    total: Arc<OpenConnections>,
    closing: Arc<AtomicBool>,
    stop: CancellationToken,
    threads: Vec<Thread>,
}

struct Thread {
    id: WorkerId,
    join: thread::JoinHandle<()>,
    ended: oneshot::Receiver<()>,
}

impl Workers {
    /// Starts `count` threads, each with a runtime of its own, and calls `make_service` on each; the service is cloned
    /// per connection. Returns when all are ready to take connections.
    ///
    /// # Errors
    /// When a thread or a runtime cannot be started.
    pub fn start<F, S>(count: NonZeroUsize, make_service: F, settings: DownstreamSettings) -> io::Result<Self>
    where
        F: Fn(WorkerId, &WorkerHandle) -> S + Send + Sync + 'static,
        S: ClientService,
    {
        let make_service = Arc::new(make_service);
        let settings = Arc::new(settings);
        let total = Arc::new(OpenConnections::new(settings.max_connections));
        let closing = Arc::new(AtomicBool::new(false));
        let stop = CancellationToken::new();
        // From here on an early return drops this, which stops the threads that have started.
        let stop_on_error = stop.clone().drop_guard();
        let mut handles = Vec::with_capacity(count.get());
        let mut threads = Vec::with_capacity(count.get());
        for id in (0..count.get()).map(WorkerId) {
            let connections = Arc::new(Connections::new(
                id,
                Arc::clone(&settings),
                Arc::clone(&total),
                Arc::clone(&closing),
            )?);
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (queue, accepted) = mpsc::channel(QUEUE);
            let handle = WorkerHandle {
                connections,
                runtime: runtime.handle().clone(),
                queue,
            };
            let worker = Worker {
                handle: handle.clone(),
                accepted,
                stop: stop.clone(),
            };
            let (started_tx, started) = std_mpsc::sync_channel(1);
            let (ended_tx, ended) = oneshot::channel();
            let make_service = Arc::clone(&make_service);
            let join = thread::Builder::new()
                .name(format!("rouse-worker-{id}"))
                .spawn(move || {
                    worker.run(runtime, &*make_service, &started_tx);
                    drop(ended_tx);
                })?;
            started
                .recv_timeout(THREAD_TIMEOUT)
                .map_err(|_| io::Error::other(format!("worker {id} did not start")))?;
            threads.push(Thread { id, join, ended });
            handles.push(handle);
        }
        Ok(Self {
            handles: handles.into(),
            total,
            closing,
            stop: stop_on_error.disarm(),
            threads,
        })
    }

    /// The workers, in the order of their numbers.
    pub fn handles(&self) -> &[WorkerHandle] {
        &self.handles
    }

    /// For the acceptor.
    pub fn assigner(&self) -> Assigner {
        Assigner {
            workers: Arc::clone(&self.handles),
            total: Arc::clone(&self.total),
            next: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Open connections on all workers, tunnels included.
    pub fn open_connections(&self) -> usize {
        self.total.count()
    }

    /// The process will drain soon: from now on HTTP/1 responses carry `connection: close`, so that clients move while
    /// new connections are still accepted.
    pub fn announce_close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Lets every connection finish what it is doing and close: HTTP/1 after the exchange in progress, HTTP/2 after a
    /// GOAWAY and its open streams, idle ones at once. The returned future resolves when all are gone, tunnels included;
    /// it has no deadline of its own. The orders are given before this returns.
    pub fn drain(&self) -> impl Future<Output = ()> + Send + 'static {
        self.announce_close();
        self.order_all(Command::Drain);
        let total = Arc::clone(&self.total);
        async move { total.none().await }
    }

    /// Closes every connection at once, tunnels included, and every one that comes later.
    pub fn abort(&self) {
        self.order_all(Command::Abort);
    }

    fn order_all(&self, command: Command) {
        for handle in &*self.handles {
            handle.connections.order_all(command);
        }
    }

    /// Stops the threads and waits for their end, 10 s at most each. What still runs on them is dropped.
    pub async fn stop(mut self) {
        self.stop.cancel();
        for Thread { id, join, ended } in self.threads.drain(..) {
            // The sender is dropped, never used: either way the thread is at its end.
            if tokio::time::timeout(THREAD_TIMEOUT, ended).await.is_err() {
                warn!(worker = %id, "worker does not stop");
            } else if join.join().is_err() {
                error!(worker = %id, "worker panicked");
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("handles", &self.handles)
            .finish_non_exhaustive()
    }
}

/// What a worker's thread owns.
struct Worker {
    handle: WorkerHandle,
    accepted: mpsc::Receiver<Accepted>,
    stop: CancellationToken,
}

impl Worker {
    fn run<F, S>(self, runtime: Runtime, make_service: &F, started: &std_mpsc::SyncSender<()>)
    where
        F: Fn(WorkerId, &WorkerHandle) -> S,
        S: ClientService,
    {
        runtime.block_on(self.serve(make_service, started));
        // Drops every task, and with them the connections that are left.
        drop(runtime);
    }

    async fn serve<F, S>(self, make_service: &F, started: &std_mpsc::SyncSender<()>)
    where
        F: Fn(WorkerId, &WorkerHandle) -> S,
        S: ClientService,
    {
        let connections = &self.handle.connections;
        let http = Arc::new(Http::new(connections.settings()));
        let service = make_service(self.handle.id(), &self.handle);
        tokio::spawn(Arc::clone(connections).sweep());
        tokio::spawn(Arc::clone(connections).watch_hangups());
        // The other end waits, or has given up and stopped us.
        if started.send(()).is_err() {
            return;
        }
        // A task of its own: should the service's clone panic, the connections that are open live on.
        tokio::spawn(take_connections(
            Arc::clone(connections),
            self.accepted,
            http,
            service,
        ));
        self.stop.cancelled().await;
    }
}

async fn take_connections<S: ClientService>(
    connections: Arc<Connections>,
    mut accepted: mpsc::Receiver<Accepted>,
    http: Arc<Http>,
    service: S,
) {
    while let Some(Accepted {
        socket,
        peer_addr,
        slot,
    }) = accepted.recv().await
    {
        match ConnectionTask::open(
            &connections,
            slot,
            socket,
            peer_addr,
            Arc::clone(&http),
            service.clone(),
        ) {
            Ok(task) => drop(tokio::spawn(task)),
            Err(error) => debug!(client.addr = %peer_addr, %error, "cannot register a connection"),
        }
    }
}

#[cfg(test)]
mod tests;
