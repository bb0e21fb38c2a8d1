//! The controller as a whole: one listener, the watches, the election, and the reconciler while it leads.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use kube::Client;
use rouse_daemon::{
    admin::{self, AdminServer, BindError},
    metrics::Metrics,
    phase::{self, Phase, PhaseSender, PhaseWatch},
    readiness::Readiness,
};
use rouse_kubernetes::{
    Watches,
    lease::{Election, Leadership},
    peers,
};
use tokio::{sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    condition::ConditionSource,
    config::Config,
    definition, engine, event, feeds,
    gateway::{self, ScopeWatch},
    lookup::Lookup,
    metrics::ReconcileMetrics,
    observed::{Engine, Observed, SharedObserved},
    parts::Parts,
    queue::Requeue,
    reconcile::{Reconciler, run_while_leading},
    wake::{self, ENGINE_PATIENCE, WaitingForNode},
};

/// How long everything has to end. Giving the Lease back is one call.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the controller could not start.
#[derive(Debug, thiserror::Error)]
#[error("start the controller")]
pub struct StartError(#[from] BindError);

/// A running controller. Dropping it ends everything; [`stop`](Self::stop) does so in order and gives the Lease back.
#[derive(Debug)]
pub struct App {
    addr: SocketAddr,
    readiness: Readiness,
    metrics: Metrics,
    phase: Arc<PhaseSender>,
    leadership: watch::Receiver<Leadership>,
    /// Ends the listener. Cancelled last, so that the end can be followed.
    stop_server: CancellationToken,
    /// Ends everything else.
    shutdown: CancellationToken,
    tasks: TaskTracker,
    server: TaskTracker,
}

impl App {
    /// Binds the listener and starts everything, on the current runtime. The API server need not be there yet.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
    pub async fn start(config: Config, client: Client) -> Result<Self, StartError> {
        tracing::info!(?config, "controller starting");
        let server = AdminServer::bind(config.listen).await?;
        let addr = server.local_addr();
        let (phase, _) = phase::channel();
        let phase = Arc::new(phase);
        let readiness = Readiness::new();
        // Until those that hold it back for a reason are all there.
        let starting = readiness.block("start");
        let metrics = Metrics::new();
        let (shutdown, stop_server) = (CancellationToken::new(), CancellationToken::new());
        let (tasks, server_task) = (TaskTracker::new(), TaskTracker::new());
        server_task.spawn(server.serve(router(&readiness, &metrics), stop_server.clone()));

        let requeue = Requeue::default();
        let observed = SharedObserved::new(requeue.clone());
        let (events, publisher) = event::channel(&metrics);
        let election = Election::new(client.clone(), config.lease());
        let leadership = election.leadership();
        let parts = Parts {
            client: client.clone(),
            observed: observed.clone(),
            requeue: requeue.clone(),
            leadership: leadership.clone(),
            events: events.clone(),
            metrics: metrics.clone(),
            shutdown: shutdown.clone(),
        };
        let waiting = Arc::new(WaitingForNode::new(observed.clone(), requeue.clone()));
        let mut watches = Watches::new(client.clone(), &config.scope, &readiness, &metrics);
        let reconciler = Arc::new(Reconciler {
            observed: observed.clone(),
            sources: sources(&parts, &config, &watches, &waiting),
            scaler: config.scaler(),
            lookup: Lookup::new(client.clone()),
            events,
            metrics: ReconcileMetrics::new(&metrics, observed.clone(), requeue.clone()),
        });

        feeds::watch(&mut watches, &observed);
        wake::watch_pods(&mut watches, &waiting);
        let interceptors = config
            .wake
            .interceptors
            .as_ref()
            .map(|service| peers::follow(&mut watches, service).addresses);
        let app = Self {
            addr,
            readiness: readiness.clone(),
            metrics,
            phase: Arc::clone(&phase),
            leadership: leadership.clone(),
            stop_server,
            shutdown: shutdown.clone(),
            tasks,
            server: server_task,
        };
        app.spawn({
            let observed = observed.clone();
            async move { observed.keep_settled().await }
        });
        if let Some(interceptors) = interceptors {
            app.tasks
                .spawn(wake::run_fallback(parts, interceptors, ENGINE_PATIENCE));
        }
        app.spawn(definition::watch(
            client.clone(),
            readiness.clone(),
            shutdown.clone(),
        ));
        app.tasks
            .spawn(publisher.run(client.clone(), config.identity.clone(), shutdown.clone()));
        app.spawn(async move {
            readiness.ready().await;
            phase.set(Phase::Ready);
        });
        app.tasks.spawn(async move {
            // Whoever leads has to know everything that there is, or it would report as missing what it has not heard of.
            if shutdown.run_until_cancelled(watches.synced()).await.is_some() {
                observed.update(note_missing_engine);
                let engine = engine::watch(client.clone(), observed);
                let engine = shutdown.run_until_cancelled(engine);
                let campaign = election.run(shutdown.clone());
                let work = run_while_leading(reconciler, requeue, client, leadership, shutdown.clone());
                tokio::join!(campaign, work, engine);
            }
            watches.stop().await;
        });
        drop(starting);
        tracing::info!(%addr, "controller listening");
        Ok(app)
    }

    /// The address listened on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What `/readyz` answers from.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// What `/metrics` answers from.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Where the controller stands in its life.
    pub fn phase(&self) -> PhaseWatch {
        self.phase.watch()
    }

    /// Whether this replica is the one that writes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Ends writing, gives the Lease back, ends the watches and closes the listener, within a few seconds. A second call waits
    /// for nothing.
    pub async fn stop(&self) {
        self.readiness.drain();
        self.phase.set(Phase::Draining);
        self.shutdown.cancel();
        self.tasks.close();
        self.server.close();
        let end = async {
            self.tasks.wait().await;
            self.stop_server.cancel();
            self.server.wait().await;
        };
        if timeout(STOP_TIMEOUT, end).await.is_err() {
            tracing::warn!("controller did not stop in time");
            self.phase.set(Phase::ForcedClose);
            self.stop_server.cancel();
        }
        self.phase.set(Phase::Terminated);
    }

    /// Runs a task that has nothing to tidy up until the shutdown.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            shutdown.run_until_cancelled(task).await;
        });
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.stop_server.cancel();
    }
}

/// Called when everything that the cluster has is known.
fn note_missing_engine(observed: &mut Observed) {
    if observed.engine() == Engine::Unknown {
        tracing::error!(
            "KEDA is not installed: the cluster has no scaledobjects.keda.sh/v1alpha1; nothing is scaled until it has"
        );
        observed.set_engine(Engine::Missing);
    }
}

/// The areas that have something to say in the status of routes.
fn sources(
    parts: &Parts,
    config: &Config,
    watches: &Watches,
    waiting: &Arc<WaitingForNode>,
) -> Vec<Arc<dyn ConditionSource>> {
    let mut sources: Vec<Arc<dyn ConditionSource>> = vec![Arc::clone(waiting) as _];
    if let Some(settings) = &config.gateway {
        let scope = ScopeWatch::new(watches.namespaces());
        sources.push(Arc::new(gateway::start(parts, settings.clone(), scope)));
    }
    sources
}

/// The admin port. `/healthz` is what the add-on's operator calls liveness.
fn router(readiness: &Readiness, metrics: &Metrics) -> Router {
    admin::router(readiness.clone(), metrics.clone()).route("/healthz", get(|| async { "ok\n" }))
}
