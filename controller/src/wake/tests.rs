//! Interceptors that hold requests, on real streams, and an API server in memory.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use rouse_daemon::metrics::Metrics;
use rouse_fake_api_server::{FakeApiServer, Fault, Verb};
use rouse_kubernetes::lease::Leadership;
use rouse_load::testing::FakeInterceptor;
use rouse_proto::load::{RouteKind as ProtoKind, RouteLoad, TargetRef, TargetState};
use rouse_routing::{RouteId, RouteKind};
use serde_json::{Value, json};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    event,
    observed::{Engine, ObjectName, Route, ScaledObject, Service, SharedObserved, Workload, WorkloadKind},
    queue::{Outcome, Requeue},
};

mod fallback;
mod late;
mod whole;

/// How long KEDA has in these tests.
const PATIENCE: Duration = Duration::from_millis(300);

/// Of the controller: what it has observed, who leads, and an API server.
pub(super) struct World {
    pub(super) server: FakeApiServer,
    pub(super) parts: Parts,
    leadership: watch::Sender<Leadership>,
    interceptors: watch::Sender<Option<Arc<BTreeSet<SocketAddr>>>>,
}

impl World {
    /// With an HTTPScaledObject `app`, its Service, its Deployment without replicas and its ScaledObject. Leads.
    pub(super) async fn new() -> Self {
        let server = FakeApiServer::start().await;
        let requeue = Requeue::default();
        let metrics = Metrics::new();
        let (events, publisher) = event::channel(&metrics);
        let (leadership, leads) = watch::channel(Leadership::Leader(CancellationToken::new()));
        let parts = Parts {
            client: server.client(),
            observed: SharedObserved::new(requeue.clone()),
            requeue,
            leadership: leads,
            events,
            metrics,
            shutdown: CancellationToken::new(),
        };
        tokio::spawn(publisher.run(server.client(), "test".to_owned(), parts.shutdown.clone()));
        let world = Self {
            server,
            parts,
            leadership,
            interceptors: watch::Sender::new(None),
        };
        world
            .parts
            .observed
            .update(|observed| observed.set_engine(Engine::Present));
        world.route("app", &json!({}));
        world.workload("app", 0);
        world.scaled_object("app", "app", &json!({}));
        world.server.clear_requests();
        world
    }

    /// An HTTPScaledObject over the Service and the Deployment `app`, as observed.
    pub(super) fn route(&self, name: &str, annotations: &Value) {
        let spec = json!({"scaleTargetRef": {"name": "app", "service": "app", "port": 80}});
        self.observe_route(RouteKind::HttpScaledObject, name, annotations, &spec);
    }

    pub(super) fn observe_route(&self, kind: RouteKind, name: &str, annotations: &Value, spec: &Value) {
        let mut metadata = metadata(name, annotations);
        metadata.creation_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let route = Route::read(kind, &metadata, spec, &json!({}));
        assert!(route.is_valid(), "{:?}", route.problems);
        let service: v1::Service = serde_json::from_value(json!({
            "metadata": {"namespace": "team", "name": "app"},
            "spec": {"selector": {"app": "app"}, "ports": [{"port": 80}]},
        }))
        .expect("a Service");
        self.parts.observed.update(|observed| {
            observed.apply_route(route);
            observed.apply_service(ObjectName::new("team", "app"), Service::from(&service));
        });
    }

    /// A Deployment.
    pub(super) fn workload(&self, name: &str, replicas: i32) {
        self.server.apply_json(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "team", "name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {}},
        }));
    }

    /// A ScaledObject of the Deployment `app` whose trigger names the HTTPScaledObject `route`, in the cluster and observed.
    pub(super) fn scaled_object(&self, name: &str, route: &str, annotations: &Value) {
        let spec = json!({
            "scaleTargetRef": {"name": "app"},
            "triggers": [{"type": "external-push", "metadata": {"httpScaledObject": route}}],
        });
        self.server.apply_json(json!({
            "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
            "metadata": {"namespace": "team", "name": name, "annotations": annotations}, "spec": spec,
        }));
        self.observe_scaled_object(name, annotations, &spec);
    }

    pub(super) fn observe_scaled_object(&self, name: &str, annotations: &Value, spec: &Value) {
        let scaled_object = ScaledObject::read(&metadata(name, annotations), spec, &json!({}));
        self.parts
            .observed
            .update(|observed| observed.apply_scaled_object(scaled_object));
    }

    pub(super) fn replicas(&self) -> i32 {
        let app: Deployment = self.server.get("team", "app").expect("the Deployment");
        app.spec.expect("a spec").replicas.unwrap_or(0)
    }

    /// Runs the fallback over these interceptors.
    fn run(&self, interceptors: &[&FakeInterceptor]) {
        self.list(interceptors);
        let listed = self.interceptors.subscribe();
        tokio::spawn(run_fallback(self.parts.clone(), listed, PATIENCE));
    }

    fn list(&self, interceptors: &[&FakeInterceptor]) {
        let addrs = interceptors.iter().map(|interceptor| interceptor.addr).collect();
        self.interceptors.send_replace(Some(Arc::new(addrs)));
    }

    fn lead(&self) {
        self.leadership
            .send_replace(Leadership::Leader(CancellationToken::new()));
    }

    fn stand_by(&self) {
        let before = self.leadership.send_replace(Leadership::Standby);
        if let Leadership::Leader(term) = before {
            term.cancel();
        }
    }

    /// Takes all routes off the queue, and says how many they were.
    pub(super) async fn drain_queue(&self) -> usize {
        let mut count = 0;
        while let Ok(id) = timeout(Duration::from_secs(1), self.parts.requeue.next()).await {
            self.parts.requeue.done(&id, Outcome::Settled);
            count += 1;
        }
        count
    }

    /// Looks every few milliseconds: what is waited for here is in memory.
    pub(super) async fn eventually(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        soon(what, async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Attempts that ended so, as `/metrics` says it.
    fn attempts(&self, outcome: &str) -> u64 {
        let name = format!("rouse_controller_wake_fallback_attempts_total{{outcome=\"{outcome}\"}} ");
        let text = self.parts.metrics.encode();
        let value = text.lines().find_map(|line| line.strip_prefix(&name));
        // There is none before the fallback runs.
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    /// Writes of a scale so far.
    fn scale_writes(&self) -> usize {
        let writes = self.server.writes().into_iter();
        writes.filter(|write| write.subresource == "scale").count()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.parts.shutdown.cancel();
    }
}

fn metadata(name: &str, annotations: &Value) -> ObjectMeta {
    serde_json::from_value(json!({
        "namespace": "team", "name": name, "uid": name, "annotations": annotations,
    }))
    .expect("metadata")
}

pub(super) fn app() -> Workload {
    Workload::new(
        &Arc::from("team"),
        WorkloadKind::of("apps/v1", "Deployment"),
        "app",
    )
}

pub(super) fn app_id() -> RouteId {
    RouteId::new(RouteKind::HttpScaledObject, "team", "app")
}

fn target() -> TargetRef {
    TargetRef {
        namespace: "team".to_owned(),
        service: "app".to_owned(),
        port: "80".to_owned(),
    }
}

/// The route `app` with `pending` held requests.
fn held(pending: u64) -> Vec<RouteLoad> {
    vec![RouteLoad {
        kind: ProtoKind::HttpScaledObject.into(),
        namespace: "team".to_owned(),
        name: "app".to_owned(),
        concurrency: pending,
        pending,
        requests_total: pending,
        target: Some(target()),
        ..RouteLoad::default()
    }]
}

fn ready(count: u32) -> Vec<TargetState> {
    vec![TargetState {
        target: Some(target()),
        removed: false,
        ready_endpoints: count,
    }]
}

/// An interceptor with the route `app` and nothing else.
async fn interceptor(number: u64, pending: u64) -> FakeInterceptor {
    let interceptor = FakeInterceptor::start(number).await;
    interceptor.set_full(held(pending), ready(0));
    interceptor
}

async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    let waited = timeout(Duration::from_secs(20), wait).await;
    waited.unwrap_or_else(|_elapsed| panic!("waited in vain for {what}"))
}
