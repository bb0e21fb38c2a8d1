//! The namespaces of a scope, as they come and go.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    Listed, Sink,
    driver::Driver,
    feed::{Registered, resource, survive},
    health::KindHealth,
    transport,
};

/// The namespaces of a scope at one moment.
pub type NamespaceSet = Arc<BTreeSet<Arc<str>>>;

/// The same, where it is clear whose.
pub(crate) type Set = NamespaceSet;

/// Above this many, one watch of everything costs less than one for each; see [`ScopeArgs`](crate::ScopeArgs).
const MANY: usize = 100;

/// Where a kind is watched.
#[derive(Debug, Clone)]
pub(crate) enum Namespaces {
    /// Everywhere, with one watch.
    All,
    /// In these, with one watch each; `None` until they are known.
    Set(watch::Receiver<Option<Set>>),
}

impl Namespaces {
    /// A set that does not change.
    pub(crate) fn fixed<'a>(names: impl IntoIterator<Item = &'a String>) -> Self {
        let set = names.into_iter().map(|name| Arc::from(name.as_str())).collect();
        Self::Set(watch::channel(Some(Arc::new(set))).1)
    }
}

/// Collects the namespaces whose labels match.
#[derive(Debug)]
pub(crate) struct NamespaceSink {
    names: Mutex<BTreeSet<Arc<str>>>,
    published: watch::Sender<Option<Set>>,
}

impl NamespaceSink {
    pub(crate) fn new() -> (Arc<Self>, watch::Receiver<Option<Set>>) {
        let (published, set) = watch::channel(None);
        let sink = Self {
            names: Mutex::default(),
            published,
        };
        (Arc::new(sink), set)
    }

    /// Once all are known, every change is told.
    fn publish(&self, names: &BTreeSet<Arc<str>>) {
        let before = self.published.borrow().as_ref().map_or(0, |names| names.len());
        if before <= MANY && names.len() > MANY {
            tracing::warn!(
                namespaces = names.len(),
                "many namespaces match, each costs a connection for each kind: watching all costs less"
            );
        }
        self.published.send_replace(Some(Arc::new(names.clone())));
    }

    fn is_published(&self) -> bool {
        self.published.borrow().is_some()
    }
}

impl Sink<Namespace> for NamespaceSink {
    fn apply(&self, object: Namespace) {
        let Some(name) = object.metadata.name else {
            return;
        };
        let mut names = self.names.lock();
        if names.insert(name.into()) && self.is_published() {
            self.publish(&names);
        }
    }

    fn delete(&self, _: &str, name: &str) {
        let mut names = self.names.lock();
        if names.remove(name) && self.is_published() {
            self.publish(&names);
        }
    }

    fn reset(&self, _: Option<&str>, listed: &Listed) {
        let mut names = self.names.lock();
        let before = names.len();
        names.retain(|name| listed.contains("", name));
        if names.len() != before || !self.is_published() {
            self.publish(&names);
        }
    }

    fn count(&self) -> usize {
        self.names.lock().len()
    }
}

/// Watches the namespaces whose labels match `selector`. Does not end by itself.
pub(crate) async fn watch_selected(
    client: Client,
    selector: String,
    kind: Arc<KindHealth>,
    sink: Arc<NamespaceSink>,
) {
    let health = Registered::new(&kind);
    let api: Api<crate::Guarded<Namespace>> = Api::all(transport::observed(&client, &health.watch));
    let driver = Driver {
        sink: &*sink,
        health: &health.watch,
        within: None,
        kind: kind.name,
        resource: resource::<Namespace>(),
    };
    loop {
        let events = transport::events(api.clone(), Some(&selector), None);
        survive(&health.watch, driver.run(events, |_| {})).await;
    }
}
