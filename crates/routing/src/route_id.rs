use std::{fmt, sync::Arc};

/// The kind of object that a route was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RouteKind {
    /// `http.keda.sh/v1alpha1` `HTTPScaledObject`.
    HttpScaledObject,
    /// `http.keda.sh/v1beta1` `InterceptorRoute`.
    InterceptorRoute,
}

impl fmt::Display for RouteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HttpScaledObject => "HTTPScaledObject",
            Self::InterceptorRoute => "InterceptorRoute",
        })
    }
}

/// Names the object that a route was made from. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId {
    /// The object's kind.
    pub kind: RouteKind,
    /// The object's namespace.
    pub namespace: Arc<str>,
    /// The object's name.
    pub name: Arc<str>,
}

impl RouteId {
    /// Names the object `namespace/name` of `kind`.
    pub fn new(kind: RouteKind, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// `namespace/name`, the form that `/queue` and the logs use.
impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
