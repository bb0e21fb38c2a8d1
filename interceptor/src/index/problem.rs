//! What is said about an object that is not served, or not as it is written.

use std::{fmt, sync::Arc};

use rouse_api::{FieldError, FieldWarning};
use rouse_routing::{RouteId, RouteKind};

/// The kinds of objects that the index is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// An `HTTPScaledObject` or `InterceptorRoute`.
    Route(RouteKind),
    /// A `Service`.
    Service,
    /// An `EndpointSlice`.
    EndpointSlice,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(kind) => kind.fmt(f),
            Self::Service => f.write_str("Service"),
            Self::EndpointSlice => f.write_str("EndpointSlice"),
        }
    }
}

/// Why an object cannot be served as it is: which object, which fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectProblem {
    /// The object's kind.
    pub kind: ObjectKind,
    /// The object's namespace, empty if it has none.
    pub namespace: Arc<str>,
    /// The object's name, empty if it has none.
    pub name: Arc<str>,
    /// What is wrong, by field; never empty.
    pub errors: Vec<FieldError>,
}

impl ObjectProblem {
    /// What is wrong with a route.
    pub(super) fn of_route(id: &RouteId, errors: Vec<FieldError>) -> Self {
        Self {
            kind: ObjectKind::Route(id.kind),
            namespace: Arc::clone(&id.namespace),
            name: Arc::clone(&id.name),
            errors,
        }
    }
}

impl fmt::Display for ObjectProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}: ", self.kind, self.namespace, self.name)?;
        write_list(f, &self.errors)
    }
}

impl std::error::Error for ObjectProblem {}

/// What of a route is served differently from how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectWarning {
    /// The route.
    pub id: RouteId,
    /// What is different, by field; never empty.
    pub warnings: Vec<FieldWarning>,
}

impl fmt::Display for ObjectWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.id.kind, self.id)?;
        write_list(f, &self.warnings)
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            f.write_str("; ")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}
