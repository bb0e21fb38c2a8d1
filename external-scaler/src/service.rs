//! KEDA's external scaler contract, answered from the load picture and the catalog. No call waits for anything: KEDA sets
//! no deadline and holds a lock meanwhile.

mod active_stream;
mod load;
mod spec_stream;
mod subject;

use std::{collections::HashSet, pin::Pin, sync::Arc, time::Duration};

use ahash::RandomState;
use futures_util::Stream;
use parking_lot::Mutex;
use rouse_api::Metric;
use rouse_proto::externalscaler::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec, MetricValue,
    ScaledObjectRef, external_scaler_server::ExternalScaler,
};
use rouse_routing::RouteId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use self::{load::Load, subject::Subject};
use crate::{
    catalog::{Catalog, NamedMetric, ScalingSpec},
    metrics::{Method, ScalerMetrics},
    picture::{Moment, Picture},
};

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service.
#[derive(Debug)]
pub(crate) struct Scaler {
    picture: Arc<Picture>,
    catalog: Arc<Catalog>,
    metrics: Arc<ScalerMetrics>,
    /// Ends all streams, with status OK.
    shutdown: CancellationToken,
    clean_ends: Option<CleanEnds>,
}

/// Which streams end cleanly once. KEDA waits for longer and longer (up to a minute) after each error of a ScaledObject's
/// stream, and the errors it saw while the scaler was away count until a stream has ended without one.
#[derive(Debug)]
struct CleanEnds {
    after: Duration,
    started: Instant,
    /// The ScaledObjects and routes whose turn has been. Emptied when the time is over.
    done: Mutex<HashSet<(String, RouteId), RandomState>>,
    random: RandomState,
}

/// KEDA's longest back-off is a minute: whoever opens its first stream later than this had no error to remember.
const CLEAN_END_PERIOD: Duration = Duration::from_mins(2);

impl CleanEnds {
    fn new(after: Duration) -> Self {
        Self {
            after,
            started: Instant::now(),
            done: Mutex::default(),
            random: RandomState::new(),
        }
    }

    /// When the stream that is being opened has to end, if it is its ScaledObject's turn. Spread over as long again, so
    /// that not every stream comes back at the same moment.
    fn turn(&self, scaled_object: &str, route: &RouteId) -> Option<Instant> {
        let now = Instant::now();
        let mut done = self.done.lock();
        if now.duration_since(self.started) > CLEAN_END_PERIOD {
            *done = HashSet::default();
            return None;
        }
        let key = (scaled_object.to_owned(), route.clone());
        let spread = self.after * (self.random.hash_one(&key) % 1000) as u32 / 1000;
        done.insert(key).then(|| now + self.after + spread)
    }
}

impl Scaler {
    pub(crate) fn new(
        picture: Arc<Picture>,
        catalog: Arc<Catalog>,
        metrics: Arc<ScalerMetrics>,
        shutdown: CancellationToken,
        clean_end_after: Option<Duration>,
    ) -> Self {
        Self {
            picture,
            catalog,
            metrics,
            shutdown,
            clean_ends: clean_end_after.map(CleanEnds::new),
        }
    }

    fn answer_is_active(&self, object: &ScaledObjectRef) -> Result<IsActiveResponse, Status> {
        let active = match Subject::of(object)? {
            Subject::Route(id) => {
                self.spec(&id)?;
                let now = self.picture.now();
                let load = Load::of(&self.picture, &id);
                load.polled(now);
                load.is_active(now)
            }
            Subject::Interceptors { .. } => self.picture.total_concurrency() > 0,
        };
        if !active {
            self.may_say_none()?;
        }
        Ok(IsActiveResponse { result: active })
    }

    fn answer_metric_spec(&self, object: &ScaledObjectRef) -> Result<GetMetricSpecResponse, Status> {
        let metric_specs = match Subject::of(object)? {
            Subject::Route(id) => self.spec(&id)?.specs(),
            Subject::Interceptors { name, target } => {
                vec![MetricSpec {
                    metric_name: name,
                    target_size: target,
                    target_size_float: 0.0,
                }]
            }
        };
        Ok(GetMetricSpecResponse { metric_specs })
    }

    fn answer_metrics(&self, request: &GetMetricsRequest) -> Result<GetMetricsResponse, Status> {
        let object = request.scaled_object_ref.as_ref();
        let object = object.ok_or_else(|| Status::invalid_argument("scaledObjectRef is missing"))?;
        let metric_values = match Subject::of(object)? {
            Subject::Route(id) => {
                let spec = self.spec(&id)?;
                let now = self.picture.now();
                // An HTTPScaledObject has one metric, which is the answer whatever was asked for.
                let wanted = |named: &&NamedMetric| {
                    !named.float || request.metric_name.is_empty() || request.metric_name == named.name
                };
                spec.metrics
                    .iter()
                    .filter(wanted)
                    .map(|named| self.value(&id, named, now))
                    .collect()
            }
            Subject::Interceptors { name, .. } => vec![MetricValue {
                metric_name: name,
                metric_value: i64::try_from(self.picture.total_concurrency()).unwrap_or(i64::MAX),
                metric_value_float: 0.0,
            }],
        };
        if metric_values
            .iter()
            .any(|value: &MetricValue| value.metric_value == 0 && value.metric_value_float <= 0.0)
        {
            self.may_say_none()?;
        }
        Ok(GetMetricsResponse { metric_values })
    }

    fn value(&self, id: &RouteId, named: &NamedMetric, now: Moment) -> MetricValue {
        let load = Load::of(&self.picture, id);
        let value = match named.metric {
            Metric::Concurrency { .. } => load.concurrency() as f64,
            Metric::RequestRate { .. } => load.request_rate(now),
        };
        MetricValue {
            metric_name: named.name.clone(),
            metric_value: if named.float { 0 } else { value.ceil() as i64 },
            metric_value_float: if named.float { value } else { 0.0 },
        }
    }

    fn spec(&self, id: &RouteId) -> Result<Arc<ScalingSpec>, Status> {
        self.catalog.get(id).ok_or_else(|| not_found(id))
    }

    /// False and zero need the whole picture; without it they would scale a used application to zero.
    fn may_say_none(&self) -> Result<(), Status> {
        if self.picture.can_say_none() {
            return Ok(());
        }
        let why = self.picture.list_remark();
        let why = why.unwrap_or_else(|| "not every interceptor is heard, no route is called idle".to_owned());
        Err(Status::unavailable(why))
    }

    /// Counts the call and, where it is not a stream, times it.
    fn observe<T>(
        &self,
        method: Method,
        answer: impl FnOnce() -> Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        let started = Instant::now();
        let result = answer();
        self.metrics.answered(method, &result, Some(started.elapsed()));
        result.map(Response::new)
    }
}

fn not_found(id: &RouteId) -> Status {
    Status::not_found(format!("{} {id} does not exist", id.kind))
}

#[tonic::async_trait]
impl ExternalScaler for Scaler {
    type StreamIsActiveStream = Answers<IsActiveResponse>;
    type StreamMetricSpecStream = Answers<GetMetricSpecResponse>;

    async fn is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<IsActiveResponse>, Status> {
        self.observe(Method::IsActive, || self.answer_is_active(request.get_ref()))
    }

    async fn get_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        self.observe(Method::GetMetricSpec, || {
            self.answer_metric_spec(request.get_ref())
        })
    }

    async fn get_metrics(
        &self,
        request: Request<GetMetricsRequest>,
    ) -> Result<Response<GetMetricsResponse>, Status> {
        self.observe(Method::GetMetrics, || self.answer_metrics(request.get_ref()))
    }

    async fn stream_is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        let result = self.open_active_stream(request.get_ref());
        self.metrics.answered(Method::StreamIsActive, &result, None);
        result.map(Response::new)
    }

    async fn stream_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamMetricSpecStream>, Status> {
        let result = self.open_spec_stream(request.get_ref());
        self.metrics.answered(Method::StreamMetricSpec, &result, None);
        result.map(Response::new)
    }
}

#[cfg(test)]
mod tests;
