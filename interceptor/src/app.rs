//! The interceptor's life: starts its parts in order, and ends them in order.
//!
//! The request path runs on the workers' own threads; everything else (acceptor, admin server, load reports,
//! housekeeping) runs on the runtime that calls [`App::start`].

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rouse_daemon::{
    admin::{self, AdminServer},
    metrics::Metrics as Registry,
    phase::{self, Phase, PhaseSender, PhaseWatch},
    readiness::Readiness,
};
use rouse_proto::load::load_server::LoadServer;
use rouse_routing::HostOwnership;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;
use tower::ServiceBuilder;

use crate::{
    acceptor::Acceptor,
    config::Config,
    downstream::DownstreamSettings,
    index::IndexHandle,
    load::{self, LoadHub, LoadService},
    metrics::Metrics,
    pool::{Dialer, IdleLimits},
    proxy::{AccessLogLayer, Proxy},
    publish::LivePublisher,
    state::State,
    target::TargetSettings,
    worker::Workers,
};

/// How often wakes that are over are noticed.
const WAKE_SWEEP: Duration = Duration::from_secs(1);
/// How often idle upstream connections are looked through.
const IDLE_SWEEP: Duration = Duration::from_secs(10);
/// How often a drain looks whether held requests are left.
const DRAIN_LOOK: Duration = Duration::from_millis(100);
/// How long connections may take to close after they were told to close at once.
const ABORT_GRACE: Duration = Duration::from_secs(1);
/// How long the control tasks may take to end.
const TASK_GRACE: Duration = Duration::from_secs(10);

/// Why the interceptor did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The proxy's address cannot be listened on.
    #[error("listen on {addr} for requests")]
    BindProxy {
        /// The address.
        addr: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The admin server's address cannot be listened on.
    #[error("start the admin server")]
    BindAdmin(#[source] admin::BindError),
    /// The request threads cannot be started.
    #[error("start the workers")]
    Workers(#[source] io::Error),
}

/// A running interceptor. Dropped, it ends at once.
#[derive(Debug)]
pub struct App {
    proxy_addr: SocketAddr,
    admin_addr: SocketAddr,
    phase: PhaseSender,
    readiness: Readiness,
    registry: Registry,
    index: IndexHandle,
    state: Arc<State>,
    workers: Workers,
    stop_accepting: CancellationToken,
    /// Ends the control tasks, also when the app is dropped.
    stop: DropGuard,
    acceptor: JoinHandle<()>,
    control: Vec<JoinHandle<()>>,
}

impl App {
    /// Starts an interceptor with settings `config`. It is ready when its index has been told of every object there is
    /// ([`IndexHandle::synced`]); until then connections wait to be accepted.
    ///
    /// # Errors
    /// When an address cannot be listened on or a thread cannot be started; nothing is left running.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.log();
        let (phase, _) = phase::channel();
        let readiness = Readiness::new();
        let routes_known = readiness.block("routes");
        let registry = Registry::new();
        rouse_daemon::process::register(&registry);

        let proxy_addr = config.proxy_addr;
        let acceptor = Acceptor::bind(proxy_addr).map_err(|source| StartError::BindProxy {
            addr: proxy_addr,
            source,
        })?;
        let admin = AdminServer::bind(config.admin_addr)
            .await
            .map_err(StartError::BindAdmin)?;
        let (proxy_addr, admin_addr) = (acceptor.local_addr(), admin.local_addr());

        let hub = LoadHub::new();
        let downstream = DownstreamSettings {
            max_connections: config.downstream.connections,
            header_timeout: Some(config.downstream.header_timeout),
            idle_timeout: Some(config.downstream.idle_timeout),
            max_header_bytes: u32::try_from(config.downstream.header_bytes).unwrap_or(u32::MAX),
            max_headers: config.downstream.headers,
            max_concurrent_streams: config.downstream.streams,
            ..DownstreamSettings::default()
        };
        let worker_count = config.workers;
        let metrics = registry.register(Metrics::register);
        let idle = IdleLimits::new(
            config.upstream.idle,
            config.upstream.idle_per_endpoint,
            worker_count.get(),
            config.upstream.idle_timeout,
        );
        let dialer = Dialer::new(config.timeouts.connect, metrics.clone());
        let target_settings = TargetSettings::new(worker_count.get(), idle, dialer);
        let state = State::new(config, hub.clone(), metrics, target_settings);
        let workers = Workers::start(
            worker_count,
            {
                let state = Arc::clone(&state);
                move |worker, _| {
                    let proxy = Proxy::new(Arc::clone(&state), worker);
                    ServiceBuilder::new()
                        .option_layer(state.config.log_requests.then_some(AccessLogLayer))
                        .service_fn(move |request| Arc::clone(&proxy).handle(request))
                }
            },
            downstream,
        )
        .map_err(StartError::Workers)?;
        state.target_settings.set_workers(
            workers
                .handles()
                .iter()
                .map(|worker| worker.runtime().clone())
                .collect(),
        );

        let stop = CancellationToken::new();
        let stop_accepting = stop.child_token();
        let (index, tables) = IndexHandle::new(
            LivePublisher::new(Arc::clone(&state), routes_known),
            HostOwnership::FirstNamespace,
        );
        registry.register(|registry| {
            Metrics::observe_load(registry, hub.clone());
            Metrics::observe_index(registry, index.clone());
            let (state, workers) = (Arc::clone(&state), workers.handles().to_vec());
            Metrics::observe_process(registry, move || state.gauges(&workers));
        });
        let admin_routes = admin::router(readiness.clone(), registry.clone())
            .merge(load::queue_router(hub.clone()))
            .merge(admin::grpc(Routes::new(LoadServer::new(LoadService::new(
                hub.clone(),
            )))));
        let control = vec![
            tokio::spawn(hub.run(stop.clone())),
            tokio::spawn(tables.run(stop.clone())),
            tokio::spawn(admin.serve(admin_routes, stop.clone())),
            tokio::spawn(keep_house(Arc::clone(&state), stop.clone())),
        ];
        let ready = {
            let readiness = readiness.clone();
            async move { readiness.ready().await }
        };
        let acceptor = tokio::spawn(acceptor.run(ready, workers.assigner(), stop_accepting.clone()));
        tracing::info!(proxy = %proxy_addr, admin = %admin_addr, workers = worker_count, "interceptor listening");
        phase.set(Phase::Ready);
        Ok(Self {
            proxy_addr,
            admin_addr,
            phase,
            readiness,
            registry,
            index,
            state,
            workers,
            stop_accepting,
            stop: stop.drop_guard(),
            acceptor,
            control,
        })
    }

    /// Where requests are accepted.
    pub fn proxy_addr(&self) -> SocketAddr {
        self.proxy_addr
    }

    /// Where `/livez`, `/readyz`, `/queue`, `/metrics` and the load stream are served.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Takes the objects that routes and endpoints are made from.
    pub fn index(&self) -> IndexHandle {
        self.index.clone()
    }

    /// What `/readyz` answers from. Whoever feeds the index may block it.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// What `/metrics` answers from.
    pub fn metrics(&self) -> Registry {
        self.registry.clone()
    }

    /// The phase of the interceptor's life.
    pub fn phase(&self) -> PhaseWatch {
        self.phase.watch()
    }

    /// Shuts down in order: not ready at once, accepting for the shutdown delay, then every connection finishes what it
    /// carries. Answered requests have the drain timeout; held ones keep their own deadline, and the drain timeout from
    /// their release on. What is left then is cut off.
    ///
    /// # Cancel safety
    /// Dropped, everything ends at once.
    pub async fn drain(self) {
        let settings = &self.state.config;
        self.readiness.drain();
        self.state.hub.set_draining();
        self.workers.announce_close();
        self.phase.set(Phase::ShutdownDelay);
        tracing::info!(delay = ?settings.shutdown_delay, "draining");
        tokio::time::sleep(settings.shutdown_delay).await;

        self.phase.set(Phase::Draining);
        self.stop_accepting.cancel();
        finish(self.acceptor).await;
        let mut drained = std::pin::pin!(self.workers.drain());
        tokio::select! {
            () = &mut drained => {}
            () = drain_deadline(&self.state) => {
                self.phase.set(Phase::ForcedClose);
                tracing::warn!(connections = self.workers.open_connections(), "drain timeout over, closing connections");
                self.workers.abort();
                if tokio::time::timeout(ABORT_GRACE, drained).await.is_err() {
                    tracing::warn!("connections do not close");
                }
            }
        }
        self.workers.stop().await;
        drop(self.stop);
        for task in self.control {
            finish(task).await;
        }
        self.phase.set(Phase::Terminated);
    }
}

/// Ends when what is still in progress has had its time.
async fn drain_deadline(state: &State) {
    let Some(timeout) = state.config.drain_timeout else {
        return std::future::pending().await;
    };
    let mut deadline = Instant::now() + timeout;
    let mut look = tokio::time::interval(DRAIN_LOOK);
    // Held requests end by their own deadlines, so this loop does too.
    while Instant::now() < deadline {
        look.tick().await;
        if state.bounds.requests() > 0 {
            deadline = Instant::now() + timeout;
        }
    }
}

async fn finish(task: JoinHandle<()>) {
    if tokio::time::timeout(TASK_GRACE, task).await.is_err() {
        tracing::warn!("a task does not end");
    }
}

/// What nobody does in passing: ends wakes whose time is over, closes connections that have been idle too long.
async fn keep_house(state: Arc<State>, stop: CancellationToken) {
    let mut wakes = tokio::time::interval(WAKE_SWEEP);
    let mut idle = tokio::time::interval(IDLE_SWEEP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = wakes.tick() => state.end_wakes(Instant::now()),
            _ = idle.tick() => state.evict_idle_connections(Instant::now()),
        }
    }
}
