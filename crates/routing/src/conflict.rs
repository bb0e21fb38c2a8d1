//! What an index does not serve, and why. Read by whoever reports it: the log of `rouse local`, an object's status.

use std::{fmt, sync::Arc};

use crate::{HostPattern, RouteId};

/// A host and path that a route claims and another route gets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Conflict {
    /// The host that both claim.
    pub host: HostPattern,
    /// The path prefix that is not served as claimed, with its leading slash.
    pub path: Arc<str>,
    /// The route whose claim is not served.
    pub route: RouteId,
    /// The route that the claim loses to.
    pub serving: RouteId,
    /// Why.
    pub kind: ConflictKind,
}

/// Why one claim loses to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConflictKind {
    /// Both ask for the same host, path and headers; the other object is older.
    SameMatch,
    /// The host belongs to the other object's namespace, which claimed it first.
    HostOwned,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            path,
            route,
            serving,
            kind,
        } = self;
        write!(f, "{} {route} does not serve {host}{path}: ", route.kind)?;
        match kind {
            ConflictKind::SameMatch => {
                write!(
                    f,
                    "the older {} {serving} has the same host, path and headers",
                    serving.kind
                )
            }
            ConflictKind::HostOwned => write!(
                f,
                "namespace {} claimed the host first, with {} {serving}",
                serving.namespace, serving.kind
            ),
        }
    }
}

/// What of a route cannot be served whatever other routes there are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rejection {
    /// The host is one that no request can have. The route's other hosts are served.
    InvalidHost(Arc<str>),
    /// Hosts times paths come to more than [`MAX_MATCHES`](crate::MAX_MATCHES). Nothing of the route is served.
    TooManyMatches(usize),
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidHost(host) => write!(f, "{host:?} is not a host name, *.name or *"),
            Self::TooManyMatches(count) => write!(
                f,
                "its rules make {count} pairs of host and path, more than {}",
                crate::MAX_MATCHES
            ),
        }
    }
}
