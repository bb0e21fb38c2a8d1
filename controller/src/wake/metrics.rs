//! What the fallback counts.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{counter::Counter, family::Family, gauge::ConstGauge},
};
use rouse_daemon::metrics::Metrics;

use super::{attempt::Outcome, demand::SharedDemand};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Handles.
#[derive(Debug, Clone)]
pub(crate) struct WakeMetrics {
    attempts: Family<OutcomeLabel, Counter>,
}

impl WakeMetrics {
    pub(crate) fn register(metrics: &Metrics, demand: &SharedDemand) -> Self {
        let attempts = Family::default();
        for outcome in Outcome::ALL {
            // So that a scrape shows the zero.
            drop(attempts.get_or_create(&label(outcome)));
        }
        metrics.register(|registry| {
            let registry = registry.sub_registry_with_prefix("rouse_controller");
            registry.register(
                "wake_fallback_attempts",
                "Looks at workloads of routes whose requests were held while KEDA had not acted, by what came of them",
                attempts.clone(),
            );
            registry.register_collector(Box::new(DemandCollector(demand.clone())));
        });
        Self { attempts }
    }

    pub(crate) fn attempted(&self, outcome: Outcome) {
        self.attempts.get_or_create(&label(outcome)).inc();
    }
}

fn label(outcome: Outcome) -> OutcomeLabel {
    OutcomeLabel {
        outcome: outcome.name(),
    }
}

/// Reads what is there as state, when it is scraped.
#[derive(Debug)]
struct DemandCollector(SharedDemand);

impl Collector for DemandCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let gauges = [
            (
                "wake_waiting_routes",
                "Routes with held requests and no ready endpoint",
                self.0.waiting().len(),
            ),
            (
                "wake_interceptors",
                "Interceptors whose load is known",
                self.0.interceptors(),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}
