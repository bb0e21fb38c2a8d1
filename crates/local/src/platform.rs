//! The platform in motion: the interceptor, the external scaler, the Deployments and the scaling loops, started in the
//! order in which they need each other and ended in the reverse.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use rouse_api::HTTPScaledObject;
use rouse_interceptor::IndexHandle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::answers;
use crate::deployment::{Deployment, ScaleHandle};
use crate::endpoints::EndpointPublisher;
use crate::engine::ObjectSink;
use crate::manifest::Plan;
use crate::narrate::Narrator;
use crate::replica::ReplicaContext;
use crate::replica::logs::LogDirectory;
use crate::replica::ports::PortAllocator;
use crate::replica::process::ShimLauncher;
use crate::scaling::ScalingLoop;
use crate::scaling::client::{ScalerConnection, ScalerError};

/// For the external scaler's calls at hand; its streams end at once.
const SCALER_DRAIN: Duration = Duration::from_secs(2);

/// The settings of a platform.
#[derive(Debug)]
pub struct Settings {
    /// The interceptor's own, its addresses included.
    pub interceptor: rouse_interceptor::Config,
    /// Where the external scaler listens.
    pub scaler: SocketAddr,
    /// The time between two polls of the scaling loop.
    pub polling_interval: Duration,
    /// How long a node takes to come.
    pub node_delay: Duration,
    /// How shims are started.
    pub launcher: ShimLauncher,
    /// Where output goes.
    pub logs: LogDirectory,
    /// Whether output is shown on the terminal too.
    pub shows_output: bool,
}

/// Why the platform did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The interceptor.
    #[error("start the interceptor")]
    Interceptor(#[source] rouse_interceptor::StartError),
    /// The external scaler.
    #[error("start the external scaler")]
    Scaler(#[source] rouse_external_scaler::StartError),
    /// The way from the scaling loop to the external scaler.
    #[error("reach the external scaler")]
    Connection(#[source] ScalerError),
}

impl ObjectSink for IndexHandle {
    fn apply_service(&self, service: Service) {
        self.apply_service(service);
    }

    fn apply_route(&self, route: HTTPScaledObject) {
        self.apply_http_scaled_object(route);
    }

    fn apply_endpoint_slice(&self, slice: EndpointSlice) {
        self.apply_endpoint_slice(slice);
    }

    fn delete_endpoint_slice(&self, namespace: &str, name: &str) {
        self.delete_endpoint_slice(namespace, name);
    }

    fn set_waiting_for_node(&self, namespace: &str, service: &str, is_waiting: bool) {
        self.set_waiting_for_node(namespace, service, is_waiting);
    }
}

/// A running platform.
#[derive(Debug)]
pub struct Platform {
    interceptor: rouse_interceptor::App,
    scaler: rouse_external_scaler::App,
    deployments: JoinSet<()>,
    stop_deployments: CancellationToken,
    loops: JoinSet<()>,
    stop_loops: CancellationToken,
}

impl Platform {
    /// Starts everything that `plan` holds.
    ///
    /// # Errors
    /// When an address cannot be listened on; nothing is left running.
    pub async fn start(plan: &Plan, settings: Settings, narrator: &Narrator) -> Result<Self, StartError> {
        let interceptor = Box::pin(rouse_interceptor::App::start(settings.interceptor))
            .await
            .map_err(StartError::Interceptor)?;
        let scaler = rouse_external_scaler::App::start(rouse_external_scaler::Config {
            listen: settings.scaler,
            interceptors: vec![interceptor.admin_addr()],
            httpso_polling_interval: settings.polling_interval,
            // The scaling loop here forgets errors by itself; see `scaling::activation`.
            clean_end_after: None,
            drain_timeout: SCALER_DRAIN,
            ..rouse_external_scaler::Config::default()
        })
        .await
        .map_err(StartError::Scaler)?;
        let connection = ScalerConnection::new(scaler.addr()).map_err(StartError::Connection)?;

        let index = interceptor.index();
        let sink: Arc<dyn ObjectSink> = Arc::new(index.clone());
        for service in &plan.services {
            sink.apply_service(service.clone());
        }
        for route in &plan.routes {
            sink.apply_route(route.clone());
            scaler.catalog().apply_http_scaled_object(route);
        }
        index.synced();
        // It answers for certain once it has heard the interceptor; it gives up waiting for that after 5 s by itself.
        scaler.readiness().ready().await;

        let mut platform = Self {
            interceptor,
            scaler,
            deployments: JoinSet::new(),
            stop_deployments: CancellationToken::new(),
            loops: JoinSet::new(),
            stop_loops: CancellationToken::new(),
        };
        let context = Context {
            launcher: Arc::new(settings.launcher),
            ports: PortAllocator::default(),
            logs: settings.logs,
            shows_output: settings.shows_output,
            narrator: narrator.clone(),
            sink,
        };
        let scales = platform.start_deployments(plan, &context, settings.node_delay);
        let answers = answers::tell(
            platform.interceptor.admin_addr(),
            narrator.clone(),
            platform.stop_loops.clone(),
        );
        platform.loops.spawn(answers);
        platform.start_loops(plan, &scales, &connection, settings.polling_interval, narrator);
        Ok(platform)
    }

    fn start_deployments(
        &mut self,
        plan: &Plan,
        context: &Context,
        node_delay: Duration,
    ) -> HashMap<(String, String), ScaleHandle> {
        let mut scales = HashMap::new();
        for workload in &plan.workloads {
            let (scale, wanted) = ScaleHandle::new(workload.replicas);
            let template = Arc::clone(&workload.template);
            scales.insert(
                (template.namespace.to_string(), template.deployment.to_string()),
                scale.clone(),
            );
            let endpoints = EndpointPublisher {
                sink: Arc::clone(&context.sink),
                namespace: Arc::clone(&template.namespace),
                services: Arc::clone(&workload.services),
            };
            let deployment = Deployment {
                template,
                context: context.for_replicas(endpoints),
                node_delay,
                wanted,
                scale,
            };
            self.deployments
                .spawn(deployment.run(self.stop_deployments.clone()));
        }
        scales
    }

    fn start_loops(
        &mut self,
        plan: &Plan,
        scales: &HashMap<(String, String), ScaleHandle>,
        connection: &ScalerConnection,
        polling_interval: Duration,
        narrator: &Narrator,
    ) {
        for scaled in &plan.scaled {
            let key = (scaled.namespace.clone(), scaled.deployment.clone());
            let Some(workload) = scales.get(&key) else {
                continue;
            };
            let scaling = ScalingLoop {
                scaler: connection.for_route(&scaled.namespace, &scaled.route),
                workload: workload.clone(),
                limits: scaled.limits,
                polling_interval,
                narrator: narrator.clone(),
                subject: format!("{}/{}", scaled.namespace, scaled.deployment),
            };
            self.loops.spawn(scaling.run(self.stop_loops.clone()));
        }
    }

    /// Where requests are accepted.
    pub fn proxy_addr(&self) -> SocketAddr {
        self.interceptor.proxy_addr()
    }

    /// Where the interceptor's admin server is.
    pub fn admin_addr(&self) -> SocketAddr {
        self.interceptor.admin_addr()
    }

    /// Where the external scaler is.
    pub fn scaler_addr(&self) -> SocketAddr {
        self.scaler.addr()
    }

    /// Ends everything in order: requests finish first, while held ones may still wake what they wait for; then scaling
    /// stops, and all replicas end in parallel, each with its own grace period.
    pub async fn drain(mut self) {
        Box::pin(self.interceptor.drain()).await;
        self.stop_loops.cancel();
        while self.loops.join_next().await.is_some() {}
        self.scaler.drain().await;
        self.stop_deployments.cancel();
        while self.deployments.join_next().await.is_some() {}
    }
}

/// What the replicas of all Deployments share.
struct Context {
    launcher: Arc<ShimLauncher>,
    ports: PortAllocator,
    logs: LogDirectory,
    shows_output: bool,
    narrator: Narrator,
    sink: Arc<dyn ObjectSink>,
}

impl Context {
    fn for_replicas(&self, endpoints: EndpointPublisher) -> ReplicaContext {
        ReplicaContext {
            launcher: Arc::clone(&self.launcher),
            ports: self.ports.clone(),
            logs: self.logs.clone(),
            shows_output: self.shows_output,
            narrator: self.narrator.clone(),
            endpoints,
        }
    }
}
