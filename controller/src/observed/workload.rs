//! What a route scales, and whether it is there.

use std::{fmt, sync::Arc};

/// The kind of a workload: anything that has a scale subresource. The version is left out, because it is the same object in
/// every version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WorkloadKind {
    /// Such as `apps`; empty for the core group.
    pub(crate) group: Arc<str>,
    /// Such as `Deployment`.
    pub(crate) kind: Arc<str>,
}

/// What is scaled.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Workload {
    pub(crate) namespace: Arc<str>,
    pub(crate) kind: WorkloadKind,
    pub(crate) name: Arc<str>,
}

/// Whether a workload is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Existence {
    Exists,
    Missing,
    /// The lookup has not been made yet.
    NotLookedUp,
    /// The lookup failed, with this text.
    Unknown(Arc<str>),
}

impl WorkloadKind {
    /// The kind `kind` of an API version such as `apps/v1`.
    pub(crate) fn of(api_version: &str, kind: &str) -> Self {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        Self {
            group: group.into(),
            kind: kind.into(),
        }
    }
}

impl Workload {
    pub(crate) fn new(namespace: &Arc<str>, kind: WorkloadKind, name: &str) -> Self {
        Self {
            namespace: Arc::clone(namespace),
            kind,
            name: name.into(),
        }
    }
}

/// As people say it, within its namespace: `Deployment chatbot`.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.kind, self.name)
    }
}
