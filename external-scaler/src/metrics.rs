//! What the scaler counts about itself.

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
use rouse_load::Loss;
use tonic::{Code, Status};

use crate::{
    catalog::Catalog,
    picture::{PeerState, Picture},
};

/// The calls of KEDA's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    IsActive,
    StreamIsActive,
    GetMetricSpec,
    GetMetrics,
    StreamMetricSpec,
}

impl Method {
    const fn name(self) -> &'static str {
        match self {
            Self::IsActive => "IsActive",
            Self::StreamIsActive => "StreamIsActive",
            Self::GetMetricSpec => "GetMetricSpec",
            Self::GetMetrics => "GetMetrics",
            Self::StreamMetricSpec => "StreamMetricSpec",
        }
    }
}

/// Why a value was sent on `StreamIsActive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushReason {
    /// The stream was opened.
    Open,
    /// A wake became wanted.
    Edge,
    /// It is still wanted.
    Repeat,
}

impl PushReason {
    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Edge => "edge",
            Self::Repeat => "repeat",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    method: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// From a tenth of a millisecond, which an answer from memory should stay under, to where KEDA would notice.
const RPC_BUCKETS: [f64; 6] = [0.000_1, 0.000_5, 0.001, 0.005, 0.025, 0.25];

/// The scaler's metric families.
#[derive(Debug)]
pub(crate) struct ScalerMetrics {
    rpcs: Family<RpcLabels, Counter>,
    rpc_duration: Family<MethodLabel, Histogram, fn() -> Histogram>,
    streams: Family<MethodLabel, Gauge>,
    pushes: Family<ReasonLabel, Counter>,
    peer_losses: Family<ReasonLabel, Counter>,
}

impl ScalerMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            rpcs: Family::default(),
            rpc_duration: Family::new_with_constructor(|| Histogram::new(RPC_BUCKETS)),
            streams: Family::default(),
            pushes: Family::default(),
            peer_losses: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix("rouse_scaler");
        registry.register(
            "rpcs",
            "Calls answered, streams when they are opened",
            metrics.rpcs.clone(),
        );
        registry.register_with_unit(
            "rpc_duration",
            "Time to answer a call that is not a stream",
            Unit::Seconds,
            metrics.rpc_duration.clone(),
        );
        registry.register("streams", "Open streams", metrics.streams.clone());
        registry.register("pushes", "Values sent on StreamIsActive", metrics.pushes.clone());
        registry.register(
            "peer_losses",
            "Streams from interceptors that ended or could not be opened",
            metrics.peer_losses.clone(),
        );
        metrics
    }

    /// A call was answered.
    pub(crate) fn answered<T>(&self, method: Method, result: &Result<T, Status>, took: Option<Duration>) {
        let code = result.as_ref().map_or_else(Status::code, |_| Code::Ok);
        self.rpcs
            .get_or_create(&RpcLabels {
                method: method.name(),
                code: code_name(code),
            })
            .inc();
        if let Some(took) = took {
            self.rpc_duration
                .get_or_create(&MethodLabel {
                    method: method.name(),
                })
                .observe(took.as_secs_f64());
        }
    }

    /// The gauge of open streams.
    pub(crate) fn streams(&self, method: Method) -> Gauge {
        self.streams.get_or_create_owned(&MethodLabel {
            method: method.name(),
        })
    }

    /// A value was sent on `StreamIsActive`.
    pub(crate) fn pushed(&self, reason: PushReason) {
        self.pushes
            .get_or_create(&ReasonLabel {
                reason: reason.name(),
            })
            .inc();
    }

    /// The stream from an interceptor ended or could not be opened.
    pub(crate) fn peer_lost(&self, loss: Loss) {
        self.peer_losses
            .get_or_create(&ReasonLabel { reason: loss.name() })
            .inc();
    }
}

/// The codes that this service answers with.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::NotFound => "NOT_FOUND",
        Code::Unavailable => "UNAVAILABLE",
        _ => "OTHER",
    }
}

/// Reads what already exists as state, when it is scraped.
#[derive(Debug)]
pub(crate) struct PictureCollector {
    pub(crate) picture: Arc<Picture>,
    pub(crate) catalog: Arc<Catalog>,
}

impl Collector for PictureCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let peers = self.picture.peers();
        let mut states =
            encoder.encode_descriptor("rouse_scaler_peers", "Interceptors", None, MetricType::Gauge)?;
        for state in PeerState::ALL {
            let count = peers.iter().filter(|(_, other)| *other == state).count();
            ConstGauge::new(count.cast_signed() as i64)
                .encode(states.encode_family(&[("state", state.name())])?)?;
        }
        let mut ages = encoder.encode_descriptor(
            "rouse_scaler_report_age",
            "Time since an interceptor's last report",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        let now = self.picture.now();
        for (peer, _) in &peers {
            if let Some(last) = peer.last_report() {
                let age = now.since(last).as_secs_f64();
                ConstGauge::new(age).encode(ages.encode_family(&[("peer", peer.addr.to_string())])?)?;
            }
        }
        if let Some(age) = self.picture.list_age() {
            let encoder = encoder.encode_descriptor(
                "rouse_scaler_peer_list_age",
                "Time since the list of interceptors was last known to be right",
                Some(&Unit::Seconds),
                MetricType::Gauge,
            )?;
            ConstGauge::new(age.as_secs_f64()).encode(encoder)?;
        }
        let mut gauge = |name, help, value: usize| {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value.cast_signed() as i64).encode(encoder)
        };
        gauge(
            "rouse_scaler_routes",
            "Routes in the load picture",
            self.picture.route_count(),
        )?;
        gauge(
            "rouse_scaler_objects",
            "Objects that say how a route is scaled",
            self.catalog.len(),
        )?;
        gauge(
            "rouse_scaler_trusted",
            "Whether a route may be called idle: every listed interceptor is heard or given up, and the list is not too old",
            usize::from(self.picture.can_say_none()),
        )
    }
}
