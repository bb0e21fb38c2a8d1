//! What the unit tests share: reports made in a line, and a scaler without sockets.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rouse_api::{HTTPScaledObject, InterceptorRoute};
use rouse_proto::{
    externalscaler::{GetMetricsRequest, ScaledObjectRef, external_scaler_server::ExternalScaler},
    load::{LoadReport, RouteKind, RouteLoad, TargetRef, TargetState},
};
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};

use crate::{
    catalog::{Catalog, CatalogHandle},
    metrics::ScalerMetrics,
    picture::{Patience, Peer, Picture, Session},
    service::Scaler,
};

pub(crate) const POLLING_INTERVAL: Duration = Duration::from_secs(15);
/// How long an HTTPScaledObject stays active after its last request.
pub(crate) const LINGER: Duration = Duration::from_millis(15_500);
pub(crate) const PATIENCE: Patience = Patience {
    retention: Duration::from_mins(1),
    give_up: Duration::from_mins(10),
};

/// The namespace of everything in these tests.
pub(crate) const NAMESPACE: &str = "team";

pub(crate) struct World {
    pub(crate) picture: Arc<Picture>,
    pub(crate) catalog: CatalogHandle,
    pub(crate) scaler: Scaler,
    pub(crate) shutdown: CancellationToken,
}

impl World {
    /// A scaler that has just started and knows nothing.
    pub(crate) fn new() -> Self {
        Self::with_clean_end(None)
    }

    pub(crate) fn with_clean_end(after: Option<Duration>) -> Self {
        let picture = Arc::new(Picture::new(PATIENCE, POLLING_INTERVAL));
        let catalog = Arc::new(Catalog::new(Arc::clone(&picture)));
        let metrics = Arc::new(ScalerMetrics::register(
            &mut prometheus_client::registry::Registry::default(),
        ));
        let shutdown = CancellationToken::new();
        let scaler = Scaler::new(
            Arc::clone(&picture),
            Arc::clone(&catalog),
            metrics,
            shutdown.clone(),
            after,
        );
        Self {
            picture,
            catalog: CatalogHandle::new(catalog),
            scaler,
            shutdown,
        }
    }

    /// A scaler with the HTTPScaledObject `app` on concurrency and one interceptor that has reported it at zero.
    pub(crate) async fn with_cold_app() -> (Self, Interceptor) {
        let world = Self::new();
        world.catalog.apply_http_scaled_object(&httpso("app", "{}"));
        let mut interceptor = world.interceptor(1);
        interceptor.full(vec![idle("app")], vec![ready("app", 0)]).await;
        (world, interceptor)
    }

    /// Lists interceptor `number`, which is connected and silent so far.
    pub(crate) fn interceptor(&self, number: u8) -> Interceptor {
        let addr = SocketAddr::from(([10, 0, 0, number], 9090));
        let peer = self.picture.list(addr).expect("listed once");
        let session = Session::new(Arc::clone(&self.picture), Arc::clone(&peer));
        Interceptor {
            session,
            peer,
            boot_id: number.into(),
        }
    }

    pub(crate) async fn is_active(&self, object: ScaledObjectRef) -> Result<bool, Code> {
        let answer = self.scaler.is_active(Request::new(object)).await;
        answer
            .map(|answer| answer.into_inner().result)
            .map_err(|status| status.code())
    }

    /// All values, the integer one where the float is not set.
    pub(crate) async fn values(&self, object: ScaledObjectRef) -> Result<Vec<(String, f64)>, Code> {
        self.value_of(object, "").await
    }

    pub(crate) async fn value_of(
        &self,
        object: ScaledObjectRef,
        metric: &str,
    ) -> Result<Vec<(String, f64)>, Code> {
        let request = GetMetricsRequest {
            scaled_object_ref: Some(object),
            metric_name: metric.to_owned(),
        };
        let answer = self
            .scaler
            .get_metrics(Request::new(request))
            .await
            .map_err(|status| status.code())?;
        let values = answer.into_inner().metric_values.into_iter();
        Ok(values
            .map(|value| {
                (
                    value.metric_name,
                    value.metric_value as f64 + value.metric_value_float,
                )
            })
            .collect())
    }

    pub(crate) async fn open(
        &self,
        object: ScaledObjectRef,
    ) -> Pushes<impl Stream<Item = Result<bool, Status>>> {
        let stream = self
            .scaler
            .stream_is_active(Request::new(object))
            .await
            .expect("opened")
            .into_inner();
        Pushes {
            stream: stream.map(|item| item.map(|answer| answer.result)),
        }
    }
}

/// A `StreamIsActive` as KEDA sees it, under paused time.
pub(crate) struct Pushes<S> {
    stream: S,
}

impl<S: Stream<Item = Result<bool, Status>> + Unpin> Pushes<S> {
    /// The next message and how long it took, up to a minute; `None` if none came.
    pub(crate) async fn next(&mut self) -> Option<(bool, Duration)> {
        let started = tokio::time::Instant::now();
        match tokio::time::timeout(Duration::from_mins(1), self.stream.next()).await {
            Ok(item) => {
                let value = item.expect("the stream goes on").expect("no error");
                Some((value, started.elapsed()))
            }
            Err(_) => None,
        }
    }

    /// How the stream ended, and when.
    pub(crate) async fn end(&mut self) -> (Code, Duration) {
        let started = tokio::time::Instant::now();
        loop {
            let item = tokio::time::timeout(Duration::from_mins(1), self.stream.next()).await;
            match item.expect("ends within a minute") {
                Some(Ok(_)) => {}
                Some(Err(status)) => return (status.code(), started.elapsed()),
                None => return (Code::Ok, started.elapsed()),
            }
        }
    }
}

/// An interceptor that says what the test wants.
pub(crate) struct Interceptor {
    pub(crate) session: Session,
    pub(crate) peer: Arc<Peer>,
    pub(crate) boot_id: u64,
}

impl Interceptor {
    pub(crate) async fn full(&mut self, routes: Vec<RouteLoad>, targets: Vec<TargetState>) {
        self.report(LoadReport {
            boot_id: self.boot_id,
            full: true,
            draining: false,
            routes,
            targets,
        })
        .await;
    }

    pub(crate) async fn partial(&mut self, routes: Vec<RouteLoad>, targets: Vec<TargetState>) {
        self.report(LoadReport {
            boot_id: self.boot_id,
            full: false,
            draining: false,
            routes,
            targets,
        })
        .await;
    }

    pub(crate) async fn report(&mut self, report: LoadReport) {
        self.session.apply(report).await.expect("a good report");
    }
}

/// The route `name` without load, sending to the target `name`.
pub(crate) fn idle(name: &str) -> RouteLoad {
    RouteLoad {
        kind: RouteKind::HttpScaledObject.into(),
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        target: Some(target(name)),
        ..RouteLoad::default()
    }
}

/// The route `name` with `count` requests in flight or held.
pub(crate) fn busy(name: &str, count: u64) -> RouteLoad {
    RouteLoad {
        concurrency: count,
        requests_total: count,
        ..idle(name)
    }
}

pub(crate) fn target(name: &str) -> TargetRef {
    TargetRef {
        namespace: NAMESPACE.to_owned(),
        service: name.to_owned(),
        port: "80".to_owned(),
    }
}

/// The target `name` with `count` ready endpoints.
pub(crate) fn ready(name: &str, count: u32) -> TargetState {
    TargetState {
        target: Some(target(name)),
        removed: false,
        ready_endpoints: count,
    }
}

pub(crate) fn httpso(name: &str, scaling_metric: &str) -> HTTPScaledObject {
    let json = format!(
        r#"{{"apiVersion": "http.keda.sh/v1alpha1", "kind": "HTTPScaledObject",
            "metadata": {{"namespace": "{NAMESPACE}", "name": "{name}"}},
            "spec": {{"scaleTargetRef": {{"name": "app", "service": "app", "port": 80}},
                      "scalingMetric": {scaling_metric}}}}}"#
    );
    serde_json::from_str(&json).expect("an HTTPScaledObject")
}

pub(crate) fn interceptor_route(name: &str, scaling_metric: &str) -> InterceptorRoute {
    let json = format!(
        r#"{{"apiVersion": "http.keda.sh/v1beta1", "kind": "InterceptorRoute",
            "metadata": {{"namespace": "{NAMESPACE}", "name": "{name}"}},
            "spec": {{"target": {{"service": "app", "port": 80}}, "scalingMetric": {scaling_metric}}}}}"#
    );
    serde_json::from_str(&json).expect("an InterceptorRoute")
}

/// What KEDA sends for a trigger with one key of metadata.
pub(crate) fn trigger(key: &str, value: &str) -> ScaledObjectRef {
    ScaledObjectRef {
        name: "scaled".to_owned(),
        namespace: NAMESPACE.to_owned(),
        scaler_metadata: [(key.to_owned(), value.to_owned())].into(),
    }
}

/// What KEDA sends for the HTTPScaledObject `app`.
pub(crate) fn app() -> ScaledObjectRef {
    trigger("httpScaledObject", "app")
}
