//! `StreamMetricSpec`: the current specs when it is opened, and again at every change.

use std::sync::Arc;

use futures_util::stream;
use prometheus_client::metrics::gauge::Gauge;
use rouse_proto::externalscaler::{GetMetricSpecResponse, ScaledObjectRef};
use rouse_routing::RouteId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{Answers, Scaler, not_found, subject::Subject};
use crate::{catalog::ScalingSpec, metrics::Method};

impl Scaler {
    pub(super) fn open_spec_stream(
        &self,
        object: &ScaledObjectRef,
    ) -> Result<Answers<GetMetricSpecResponse>, Status> {
        let source = match Subject::of(object)? {
            Subject::Route(id) => {
                let spec = self.catalog.subscribe(&id).ok_or_else(|| not_found(&id))?;
                Source::Route { id, spec }
            }
            // What the trigger itself says does not change while the stream is open.
            Subject::Interceptors { .. } => Source::Fixed(self.answer_metric_spec(object)?),
        };
        let gauge = self.metrics.streams(Method::StreamMetricSpec);
        gauge.inc();
        let stream = SpecStream {
            source,
            shutdown: self.shutdown.clone(),
            opened: false,
            ended: false,
            _open: OpenStream { gauge },
        };
        Ok(Box::pin(stream::unfold(stream, |mut stream| async move {
            let item = stream.next().await?;
            Some((item, stream))
        })))
    }
}

#[derive(Debug)]
enum Source {
    Route {
        id: RouteId,
        spec: watch::Receiver<Arc<ScalingSpec>>,
    },
    Fixed(GetMetricSpecResponse),
}

#[derive(Debug)]
struct SpecStream {
    source: Source,
    shutdown: CancellationToken,
    opened: bool,
    ended: bool,
    _open: OpenStream,
}

#[derive(Debug)]
struct OpenStream {
    gauge: Gauge,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

impl SpecStream {
    /// The next message; `None` ends the stream with status OK.
    async fn next(&mut self) -> Option<Result<GetMetricSpecResponse, Status>> {
        if self.ended {
            return None;
        }
        if self.opened {
            let changed = async {
                match &mut self.source {
                    Source::Route { id, spec } => spec.changed().await.map_err(|_| not_found(id)),
                    Source::Fixed(_) => std::future::pending().await,
                }
            };
            if let Err(gone) = self.shutdown.run_until_cancelled(changed).await? {
                self.ended = true;
                return Some(Err(gone));
            }
        }
        self.opened = true;
        Some(Ok(match &mut self.source {
            Source::Route { spec, .. } => GetMetricSpecResponse {
                metric_specs: spec.borrow_and_update().specs(),
            },
            Source::Fixed(response) => response.clone(),
        }))
    }
}
