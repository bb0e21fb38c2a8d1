//! The process's one metrics registry. Parts register when they start and keep plain handles; `/metrics` encodes it.

use std::{fmt, sync::Arc};

use parking_lot::RwLock;
use prometheus_client::{encoding::text, registry::Registry};

/// The content type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A shared registry. Cheap to clone; all clones are the same registry.
///
/// The lock is for the registry's list of metrics only. Counting never takes it: that is done on the handles.
#[derive(Clone, Default)]
pub struct Metrics {
    registry: Arc<RwLock<Registry>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets a part register its metrics and returns what the part wants to keep.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.registry.write())
    }

    /// Everything as OpenMetrics text. Runs every collector: call it on the control path's runtime.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        if let Err(error) = text::encode(&mut out, &self.registry.read()) {
            // A text without its end mark: the scraper refuses it, as it should.
            tracing::error!(%error, "a metric could not be encoded");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn a_registered_counter_is_encoded_with_its_value() {
        let metrics = Metrics::new();
        let requests = metrics.clone().register(|registry| {
            let requests = Counter::<u64>::default();
            registry.register("requests", "Requests seen", requests.clone());
            requests
        });
        requests.inc_by(3);
        let text = metrics.encode();
        assert!(text.contains("requests_total 3\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
