//! The scaler as a whole: one listener, one task per interceptor.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rouse_daemon::{
    admin::{self, AdminServer, BindError},
    metrics::Metrics,
    phase::{self, Phase, PhaseSender, PhaseWatch},
    readiness::Readiness,
};
use rouse_proto::externalscaler::external_scaler_server::ExternalScalerServer;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    catalog::{Catalog, CatalogHandle},
    config::Config,
    metrics::{PictureCollector, ScalerMetrics},
    peers::PeersHandle,
    picture::{Patience, Picture},
    service::Scaler,
};

/// After this long the scaler is ready even if some interceptor has not been heard: its answers are then `UNAVAILABLE` where
/// they need that interceptor, and right where they do not.
const READY_AFTER: Duration = Duration::from_secs(5);

/// Largest request. KEDA's are a few hundred bytes.
const MAX_REQUEST_BYTES: usize = 256 << 10;

/// The services that the add-on's probes ask the gRPC health service for.
const LIVENESS: &str = "liveness";
const READINESS: &str = "readiness";

/// What the drain adds to the listener's own limit before it gives up.
const DRAIN_MARGIN: Duration = Duration::from_secs(1);

/// Why the scaler could not start.
#[derive(Debug, thiserror::Error)]
#[error("start the external scaler")]
pub struct StartError(#[from] BindError);

/// A running external scaler. Dropping it cuts every connection; [`drain`](Self::drain) ends them in order.
#[derive(Debug)]
pub struct App {
    addr: SocketAddr,
    catalog: CatalogHandle,
    peers: PeersHandle,
    readiness: Readiness,
    health: HealthReporter,
    metrics: Metrics,
    phase: Arc<PhaseSender>,
    drain_timeout: Duration,
    /// Ends the streams to KEDA.
    end_streams: CancellationToken,
    /// Ends the listener, and the streams from the interceptors.
    stop: CancellationToken,
    server: Mutex<Option<JoinHandle<()>>>,
}

impl App {
    /// Binds the listener and starts serving, on the current runtime.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        tracing::info!(?config, "external scaler starting");
        let server = AdminServer::bind(config.listen)
            .await?
            .shutdown_timeout(config.drain_timeout);
        let addr = server.local_addr();

        let patience = Patience {
            retention: config.peer_retention,
            give_up: config.peer_give_up,
        };
        let picture = Arc::new(Picture::new(patience, config.httpso_polling_interval));
        let catalog = Arc::new(Catalog::new(Arc::clone(&picture)));
        let metrics = Metrics::new();
        let scaler_metrics = Arc::new(metrics.register(|registry| {
            registry.register_collector(Box::new(PictureCollector {
                picture: Arc::clone(&picture),
                catalog: Arc::clone(&catalog),
            }));
            ScalerMetrics::register(registry)
        }));

        let (phase, _) = phase::channel();
        let phase = Arc::new(phase);
        let readiness = Readiness::new();
        let (end_streams, stop) = (CancellationToken::new(), CancellationToken::new());
        let heard = readiness.block("interceptors");
        let remarks = Arc::clone(&picture);
        readiness.remark(move || remarks.list_remark());

        let scaler = Scaler::new(
            Arc::clone(&picture),
            Arc::clone(&catalog),
            Arc::clone(&scaler_metrics),
            end_streams.clone(),
            config.clean_end_after,
        );
        let service = ExternalScalerServer::new(scaler).max_decoding_message_size(MAX_REQUEST_BYTES);
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_service_status(LIVENESS, ServingStatus::Serving).await;
        health
            .set_service_status(READINESS, ServingStatus::NotServing)
            .await;
        let services = Routes::new(service).add_service(health_service);
        let router = admin::router(readiness.clone(), metrics.clone()).merge(admin::grpc(services));
        let server = tokio::spawn(server.serve(router, stop.clone()));

        let peers = PeersHandle::new(Arc::clone(&picture), scaler_metrics, stop.clone());
        if !config.interceptors.is_empty() {
            peers.set(config.interceptors);
        }
        let app = Self {
            addr,
            catalog: CatalogHandle::new(catalog),
            peers,
            readiness,
            health,
            metrics,
            phase,
            drain_timeout: config.drain_timeout,
            end_streams,
            stop: stop.clone(),
            server: Mutex::new(Some(server)),
        };
        app.peers.spawn(async move {
            if timeout(READY_AFTER, picture.complete()).await.is_err() {
                tracing::warn!(after = ?READY_AFTER, "ready although not every interceptor has been heard");
            }
            heard.ready();
        });
        let (readiness, health, phase) = (app.readiness.clone(), app.health.clone(), Arc::clone(&app.phase));
        app.peers.spawn(async move {
            readiness.ready().await;
            health.set_service_status(READINESS, ServingStatus::Serving).await;
            phase.set(Phase::Ready);
        });
        tracing::info!(%addr, "external scaler listening");
        Ok(app)
    }

    /// The address listened on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where the routes' objects are applied.
    pub fn catalog(&self) -> CatalogHandle {
        self.catalog.clone()
    }

    /// Where the list of interceptors is set.
    pub fn peers(&self) -> PeersHandle {
        self.peers.clone()
    }

    /// What `/readyz` answers from. Whoever feeds the catalog may block it until the first objects are applied.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// What `/metrics` answers from.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Where the scaler stands in its life.
    pub fn phase(&self) -> PhaseWatch {
        self.phase.watch()
    }

    /// Ends the streams with status OK, finishes the calls at hand and closes the listener, within the drain timeout. A
    /// second call waits for nothing.
    pub async fn drain(&self) {
        self.readiness.drain();
        self.health
            .set_service_status(READINESS, ServingStatus::NotServing)
            .await;
        self.phase.set(Phase::Draining);
        self.end_streams.cancel();
        self.stop.cancel();
        let Some(mut server) = self.server.lock().take() else {
            return;
        };
        let finish = async {
            if let Err(error) = (&mut server).await {
                tracing::error!(%error, "the listener's task failed");
            }
            self.peers.stopped().await;
        };
        if timeout(self.drain_timeout + DRAIN_MARGIN, finish).await.is_err() {
            tracing::warn!("external scaler did not stop in time");
            self.phase.set(Phase::ForcedClose);
            server.abort();
        }
        self.phase.set(Phase::Terminated);
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.end_streams.cancel();
        self.stop.cancel();
        if let Some(server) = self.server.get_mut().take() {
            server.abort();
        }
    }
}
