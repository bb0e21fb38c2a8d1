//! A sink for tests, and waiting in paused time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::timeout;

use crate::{Listed, Sink};

/// Keeps names with what `value` makes of each object.
pub(crate) struct Recorder<K> {
    value: fn(&K) -> String,
    pub(crate) objects: Mutex<BTreeMap<String, String>>,
}

impl<K> Recorder<K> {
    pub(crate) fn new(value: fn(&K) -> String) -> Arc<Self> {
        Arc::new(Self {
            value,
            objects: Mutex::default(),
        })
    }

    /// `namespace/name=value`, in order.
    pub(crate) fn seen(&self) -> Vec<String> {
        let objects = self.objects.lock();
        objects
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

impl<K: kube::Resource + Send + Sync + 'static> Sink<K> for Recorder<K> {
    fn apply(&self, object: K) {
        let metadata = object.meta();
        let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
        let name = format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default());
        self.objects.lock().insert(name, (self.value)(&object));
    }

    fn delete(&self, namespace: &str, name: &str) {
        self.objects.lock().remove(&format!("{namespace}/{name}"));
    }

    fn reset(&self, within: Option<&str>, listed: &Listed) {
        self.objects.lock().retain(|object, _| {
            let (namespace, name) = object.split_once('/').unwrap();
            within.is_some_and(|within| within != namespace) || listed.contains(namespace, name)
        });
    }

    fn count(&self) -> usize {
        self.objects.lock().len()
    }
}

/// Waits until `condition`, in paused time for at most `within` of it.
#[track_caller]
pub(crate) fn eventually(
    what: &str,
    within: Duration,
    condition: impl Fn() -> bool,
) -> impl Future<Output = Duration> {
    let began = tokio::time::Instant::now();
    let what = what.to_owned();
    let at = std::panic::Location::caller();
    async move {
        let wait = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(
            timeout(within, wait).await.is_ok(),
            "{at}: not within {within:?}: {what}"
        );
        began.elapsed()
    }
}
