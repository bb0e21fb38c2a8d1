//! What the gateway part is told by whoever starts it.

use std::time::Duration;

use rouse_kubernetes::NamespaceSet;
use tokio::sync::watch;

use crate::observed::ObjectName;

/// The namespaces whose objects are looked at, and that may be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of them.
    All,
    /// These.
    Only(NamespaceSet),
}

/// The scope, which changes where namespaces are selected by their labels.
#[derive(Debug, Clone)]
pub(crate) enum ScopeWatch {
    /// All namespaces, always.
    All,
    /// These; `None` until they are known.
    Set(watch::Receiver<Option<NamespaceSet>>),
}

/// The settings of the gateway part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GatewaySettings {
    /// The interceptor's proxy Service, which HTTPRoutes point at. ReferenceGrants are written to its namespace.
    pub(crate) interceptor: ObjectName,
    /// Its port, which HTTPRoutes that Rouse writes point at.
    pub(crate) interceptor_port: u16,
    /// The Gateway of HTTPRoutes that Rouse writes. Without one it writes none.
    pub(crate) default_gateway: Option<ObjectName>,
    /// How long the interceptor may hold a request of a route that says nothing about it, the wait for a node included.
    pub(crate) hold: Duration,
    /// The deadline of a request at the gateway; `None` leaves deadlines to the interceptor.
    pub(crate) request_timeout: Option<Duration>,
}

/// Why a text is not the name of an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not namespace/name")]
pub(crate) struct ObjectNameError(String);

/// Why settings do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the gateway's request timeout ({request_timeout:?}) must be above the time that a request may be held ({hold:?})"
)]
pub(crate) struct RequestTimeoutError {
    request_timeout: Duration,
    hold: Duration,
}

/// Reads `namespace/name`. Usable as clap's `value_parser`.
pub(crate) fn parse_object_name(text: &str) -> Result<ObjectName, ObjectNameError> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ObjectName::new(namespace, name))
        }
        _ => Err(ObjectNameError(text.to_owned())),
    }
}

// === impl Scope ===

impl Scope {
    /// Whether a namespace is within.
    pub(crate) fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(namespaces) => namespaces.contains(namespace),
        }
    }
}

// === impl ScopeWatch ===

impl ScopeWatch {
    /// The scope of [`Watches::namespaces`](rouse_kubernetes::Watches::namespaces).
    pub(crate) fn new(namespaces: Option<watch::Receiver<Option<NamespaceSet>>>) -> Self {
        namespaces.map_or(Self::All, Self::Set)
    }

    /// The scope now; `None` while it is not known.
    pub(super) fn current(&self) -> Option<Scope> {
        match self {
            Self::All => Some(Scope::All),
            Self::Set(set) => set.borrow().clone().map(Scope::Only),
        }
    }

    /// Waits for the scope to be another than at the last call. For ever, where it cannot change any more.
    pub(super) async fn changed(&mut self) {
        if let Self::Set(set) = self
            && set.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// Waits for the scope to be known, and takes note of it.
    pub(super) async fn known(&mut self) -> Scope {
        loop {
            if let Self::Set(set) = self {
                set.mark_unchanged();
            }
            match self.current() {
                Some(scope) => return scope,
                None => self.changed().await,
            }
        }
    }
}

// === impl GatewaySettings ===

impl GatewaySettings {
    /// Whether this is the interceptor's Service.
    pub(crate) fn is_interceptor(&self, namespace: &str, name: &str) -> bool {
        *self.interceptor.namespace == *namespace && *self.interceptor.name == *name
    }

    /// Refuses a deadline at the gateway that would cut a held request off. Zero means none, as in the Gateway API.
    pub(crate) fn checked(mut self) -> Result<Self, RequestTimeoutError> {
        self.request_timeout = self.request_timeout.filter(|timeout| !timeout.is_zero());
        match self.request_timeout {
            Some(request_timeout) if request_timeout <= self.hold => Err(RequestTimeoutError {
                request_timeout,
                hold: self.hold,
            }),
            _ => Ok(self),
        }
    }
}
