//! What a route's trigger counts.
//!
//! Interceptors serve an InterceptorRoute in place of the HTTPScaledObject of the same name, and report all load under it.
//! Whoever adds one beside the other, which is how one migrates, still has a ScaledObject that asks about the
//! HTTPScaledObject: without its namesake's load a used application would be scaled to zero.

use std::{iter, sync::Arc};

use rouse_routing::{RouteId, RouteKind};

use crate::picture::{Moment, Picture, Route};

/// The InterceptorRoute that is served in place of this HTTPScaledObject, if it exists.
pub(super) fn namesake(id: &RouteId) -> Option<RouteId> {
    (id.kind == RouteKind::HttpScaledObject).then(|| RouteId {
        kind: RouteKind::InterceptorRoute,
        ..id.clone()
    })
}

/// The routes, as far as anybody has spoken of them: of an interceptor one or the other has load.
#[derive(Debug)]
pub(super) struct Load {
    routes: Vec<Arc<Route>>,
}

impl Load {
    pub(super) fn of(picture: &Picture, id: &RouteId) -> Self {
        let ids = iter::once(id.clone()).chain(namesake(id));
        Self::new(ids.filter_map(|id| picture.route(&id)))
    }

    pub(super) fn new(routes: impl IntoIterator<Item = Arc<Route>>) -> Self {
        Self {
            routes: routes.into_iter().collect(),
        }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &RouteId> {
        self.routes.iter().map(|route| &route.id)
    }

    /// KEDA polled.
    pub(super) fn polled(&self, now: Moment) {
        for route in &self.routes {
            route.polled(now);
        }
    }

    pub(super) fn is_active(&self, now: Moment) -> bool {
        self.routes.iter().any(|route| route.is_active(now))
    }

    pub(super) fn wants_wake(&self, now: Moment) -> bool {
        self.routes.iter().any(|route| route.wants_wake(now))
    }

    pub(super) fn concurrency(&self) -> u64 {
        let each = self.routes.iter().map(|route| route.concurrency());
        each.fold(0, u64::saturating_add)
    }

    pub(super) fn request_rate(&self, now: Moment) -> f64 {
        self.routes.iter().map(|route| route.request_rate(now)).sum()
    }
}
