//! An interceptor that says what the test wants.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "part of tests: what goes wrong has to fail them"
)]

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, stream};
use parking_lot::Mutex;
use rouse_proto::load::{
    LoadReport, RouteLoad, TargetState, WatchRequest,
    load_server::{Load, LoadServer},
};
use tokio::{
    net::TcpListener,
    sync::{broadcast, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, transport::Server};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Serves `rouse.load.v1.Load` as an interceptor does, until dropped.
#[derive(Debug)]
pub struct FakeInterceptor {
    /// Where it listens.
    pub addr: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    boot_id: u64,
    /// What a stream begins with.
    full: Mutex<LoadReport>,
    updates: broadcast::Sender<LoadReport>,
    silent: AtomicBool,
    streams: watch::Sender<u64>,
    kill: CancellationToken,
}

impl FakeInterceptor {
    /// On a port of the system's choice.
    pub async fn start(boot_id: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(State {
            boot_id,
            full: Mutex::new(LoadReport {
                boot_id,
                full: true,
                ..LoadReport::default()
            }),
            updates: broadcast::Sender::new(64),
            silent: AtomicBool::new(false),
            streams: watch::Sender::new(0),
            kill: CancellationToken::new(),
        });
        let service = LoadServer::new(Service {
            state: Arc::clone(&state),
        });
        let killed = state.kill.clone().cancelled_owned();
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming_shutdown(incoming, killed),
        );
        Self { addr, state }
    }

    /// What the next stream begins with.
    pub fn set_full(&self, routes: Vec<RouteLoad>, targets: Vec<TargetState>) {
        let boot_id = self.state.boot_id;
        *self.state.full.lock() = LoadReport {
            boot_id,
            full: true,
            draining: false,
            routes,
            targets,
        };
    }

    /// Tells whoever listens now.
    pub fn report(&self, routes: Vec<RouteLoad>, targets: Vec<TargetState>) {
        let report = LoadReport {
            boot_id: self.state.boot_id,
            routes,
            targets,
            ..LoadReport::default()
        };
        self.state.updates.send(report).expect("somebody listens");
    }

    /// Sends nothing any longer, or sends again; the connections stay.
    pub fn set_silent(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::Release);
    }

    /// Streams opened so far.
    pub fn streams(&self) -> u64 {
        *self.state.streams.borrow()
    }

    /// Waits until `count` streams have been opened.
    pub async fn wait_for_streams(&self, count: u64) {
        let mut streams = self.state.streams.subscribe();
        let opened = timeout(PATIENCE, streams.wait_for(|streams| *streams >= count)).await;
        opened.expect("opened in time").expect("the state lives");
    }

    /// Ends the streams and refuses connections.
    pub fn kill(&self) {
        self.state.kill.cancel();
    }
}

impl Drop for FakeInterceptor {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Service {
    state: Arc<State>,
}

#[tonic::async_trait]
impl Load for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<LoadReport, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let state = Arc::clone(&self.state);
        let updates = state.updates.subscribe();
        state.streams.send_modify(|streams| *streams += 1);
        let first = Some(state.full.lock().clone());
        let reports = stream::unfold(
            (state, updates, first),
            |(state, mut updates, first)| async move {
                if let Some(first) = first {
                    return Some((Ok(first), (state, updates, None)));
                }
                loop {
                    let heartbeat = Instant::now() + Duration::from_secs(1);
                    let report = tokio::select! {
                        () = state.kill.cancelled() => return None,
                        report = updates.recv() => report.expect("not lagging"),
                        () = sleep_until(heartbeat) => LoadReport { boot_id: state.boot_id, ..LoadReport::default() },
                    };
                    if !state.silent.load(Ordering::Acquire) {
                        return Some((Ok(report), (state, updates, None)));
                    }
                }
            },
        );
        Ok(Response::new(Box::pin(reports)))
    }
}
