//! An interceptor that says what the test wants, and KEDA's side of the contract.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, stream};
use parking_lot::Mutex;
use rouse_api::HTTPScaledObject;
use rouse_external_scaler::{App, Config};
use rouse_proto::{
    externalscaler::{ScaledObjectRef, external_scaler_client::ExternalScalerClient},
    load::{
        LoadReport, RouteKind, RouteLoad, TargetRef, TargetState, WatchRequest,
        load_server::{Load, LoadServer},
    },
};
use tokio::{
    net::TcpListener,
    sync::broadcast,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint, Server},
};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct FakeInterceptor {
    pub(crate) addr: SocketAddr,
    state: Arc<State>,
}

struct State {
    boot_id: u64,
    /// What a stream begins with.
    full: Mutex<LoadReport>,
    updates: broadcast::Sender<LoadReport>,
    silent: AtomicBool,
    streams: AtomicU64,
    kill: CancellationToken,
}

impl FakeInterceptor {
    pub(crate) async fn start(boot_id: u64) -> Self {
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
            streams: AtomicU64::new(0),
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
    pub(crate) fn set_full(&self, routes: Vec<RouteLoad>, targets: Vec<TargetState>) {
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
    pub(crate) fn report(&self, routes: Vec<RouteLoad>, targets: Vec<TargetState>) {
        let report = LoadReport {
            boot_id: self.state.boot_id,
            routes,
            targets,
            ..LoadReport::default()
        };
        self.state.updates.send(report).expect("somebody listens");
    }

    /// Sends nothing any longer, or sends again; the connections stay.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::Release);
    }

    /// Streams opened so far.
    pub(crate) fn streams(&self) -> u64 {
        self.state.streams.load(Ordering::Acquire)
    }

    /// Ends the streams and refuses connections.
    pub(crate) fn kill(&self) {
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
        state.streams.fetch_add(1, Ordering::AcqRel);
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

/// A scaler on a port of the system's choice that leaves KEDA's streams alone.
pub(crate) async fn start_scaler() -> App {
    App::start(config()).await.expect("started")
}

pub(crate) fn config() -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        clean_end_after: None,
        ..Config::default()
    }
}

/// One connection, as KEDA has one for all its ScaledObjects.
pub(crate) async fn keda(app: &App) -> ExternalScalerClient<Channel> {
    // h2 takes many small frames that nobody has read yet for an attack, and counts them against half of the window; a
    // test that reads thousands of streams from one task needs the room.
    let endpoint = Endpoint::from_shared(format!("http://{}", app.addr()))
        .unwrap()
        .initial_connection_window_size(64 << 20);
    ExternalScalerClient::new(endpoint.connect().await.expect("connected"))
}

/// Waits until `condition` holds, looking every few milliseconds.
#[track_caller]
pub(crate) fn eventually<F: Future<Output = bool>>(
    what: &'static str,
    mut condition: impl FnMut() -> F,
) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let holds = async {
            while !condition().await {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(
            timeout(PATIENCE, holds).await.is_ok(),
            "{what} not within {PATIENCE:?}, waited for at {caller}"
        );
    }
}

pub(crate) fn idle(name: &str) -> RouteLoad {
    RouteLoad {
        kind: RouteKind::HttpScaledObject.into(),
        namespace: "team".to_owned(),
        name: name.to_owned(),
        target: Some(target(name)),
        ..RouteLoad::default()
    }
}

pub(crate) fn held(name: &str, count: u64) -> RouteLoad {
    RouteLoad {
        concurrency: count,
        pending: count,
        requests_total: count,
        ..idle(name)
    }
}

fn target(name: &str) -> TargetRef {
    TargetRef {
        namespace: "team".to_owned(),
        service: name.to_owned(),
        port: "80".to_owned(),
    }
}

pub(crate) fn ready(name: &str, count: u32) -> TargetState {
    TargetState {
        target: Some(target(name)),
        removed: false,
        ready_endpoints: count,
    }
}

pub(crate) fn httpso(name: &str) -> HTTPScaledObject {
    let json = format!(
        r#"{{"apiVersion": "http.keda.sh/v1alpha1", "kind": "HTTPScaledObject",
            "metadata": {{"namespace": "team", "name": "{name}"}},
            "spec": {{"scaleTargetRef": {{"name": "app", "service": "app", "port": 80}}}}}}"#
    );
    serde_json::from_str(&json).expect("an HTTPScaledObject")
}

pub(crate) fn scaled_object(name: &str) -> ScaledObjectRef {
    ScaledObjectRef {
        name: name.to_owned(),
        namespace: "team".to_owned(),
        scaler_metadata: [("httpScaledObject".to_owned(), name.to_owned())].into(),
    }
}
