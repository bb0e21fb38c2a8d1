//! What the reconciler counts.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};
use rouse_api::condition::READY;
use rouse_daemon::metrics::Metrics;
use rouse_routing::RouteKind;

use crate::{observed::SharedObserved, queue::Requeue};

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    ScaledObject,
    Status,
    Finalizers,
}

impl Written {
    const fn name(self) -> &'static str {
        match self {
            Self::ScaledObject => "scaled_object",
            Self::Status => "status",
            Self::Finalizers => "finalizers",
        }
    }
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteResult {
    Ok,
    /// The API server refused it, or could not be reached.
    Error,
    Timeout,
    /// The term ended meanwhile.
    Abandoned,
}

impl WriteResult {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Abandoned => "abandoned",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    object: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    kind: &'static str,
    result: &'static str,
}

/// From one that writes nothing to one that waits for the API server.
const DURATION_BUCKETS: [f64; 7] = [0.000_1, 0.001, 0.01, 0.05, 0.25, 1.0, 10.0];

/// The reconciler's metrics. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ReconcileMetrics {
    families: Arc<Families>,
}

#[derive(Debug)]
struct Families {
    reconciles: Family<ReconcileLabels, Counter>,
    duration: Histogram,
    writes: Family<WriteLabels, Counter>,
    is_leader: Gauge,
}

impl ReconcileMetrics {
    pub(crate) fn new(metrics: &Metrics, observed: SharedObserved, requeue: Requeue) -> Self {
        metrics.register(|registry| {
            registry.register_collector(Box::new(StateCollector { observed, requeue }));
            Self::register(registry)
        })
    }

    fn register(registry: &mut Registry) -> Self {
        let families = Families {
            reconciles: Family::default(),
            duration: Histogram::new(DURATION_BUCKETS),
            writes: Family::default(),
            is_leader: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("rouse_controller");
        registry.register("reconciles", "Routes reconciled", families.reconciles.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "Time to reconcile a route",
            Unit::Seconds,
            families.duration.clone(),
        );
        registry.register("writes", "Writes to the API server", families.writes.clone());
        registry.register(
            "is_leader",
            "Whether this replica is the one that writes",
            families.is_leader.clone(),
        );
        Self {
            families: Arc::new(families),
        }
    }

    pub(crate) fn reconciled(&self, kind: RouteKind, is_ok: bool, took: Duration) {
        let labels = ReconcileLabels {
            kind: match kind {
                RouteKind::HttpScaledObject => "HTTPScaledObject",
                RouteKind::InterceptorRoute => "InterceptorRoute",
            },
            result: if is_ok { "ok" } else { "error" },
        };
        self.families.reconciles.get_or_create(&labels).inc();
        self.families.duration.observe(took.as_secs_f64());
    }

    pub(crate) fn wrote(&self, object: Written, result: WriteResult) {
        let labels = WriteLabels {
            object: object.name(),
            result: result.name(),
        };
        self.families.writes.get_or_create(&labels).inc();
    }

    pub(crate) fn set_leader(&self, is_leader: bool) {
        self.families.is_leader.set(i64::from(is_leader));
    }
}

/// Reads what already exists as state, when it is scraped.
#[derive(Debug)]
struct StateCollector {
    observed: SharedObserved,
    requeue: Requeue,
}

impl Collector for StateCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (ready, all) = self.observed.read(|observed| {
            let is_ready = |status: &crate::observed::RouteStatus| {
                let mut conditions = status.conditions.iter();
                conditions.any(|condition| condition.type_ == READY && condition.status == "True")
            };
            let ready = observed.routes().filter(|route| is_ready(&route.status)).count();
            (ready, observed.routes().count())
        });
        let mut routes = encoder.encode_descriptor(
            "rouse_controller_routes",
            "Routes, by what their condition Ready says",
            None,
            MetricType::Gauge,
        )?;
        for (label, count) in [("true", ready), ("false", all - ready)] {
            let value = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            value.encode(routes.encode_family(&[("ready", label)])?)?;
        }
        let queued = encoder.encode_descriptor(
            "rouse_controller_queued_routes",
            "Routes that wait to be reconciled, or are being reconciled",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::try_from(self.requeue.len()).unwrap_or(i64::MAX)).encode(queued)
    }
}
