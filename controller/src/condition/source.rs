//! Conditions that are found elsewhere than in the objects that every route is reconciled from.

use std::fmt;

use rouse_routing::RouteId;

use super::Finding;

/// One area of the controller that has something to say in the status of routes: the gateway objects, the pods that wait
/// for a node. It writes no status itself: it answers from memory when the reconciler asks, and calls
/// [`Requeue::route`](crate::queue::Requeue::route) whenever its answer for a route may have become another.
pub(crate) trait ConditionSource: fmt::Debug + Send + Sync {
    /// What is found of the route now, or `None` where there is nothing to say of it. Called for every reconcile, also
    /// for routes that are invalid: from memory, without blocking.
    fn condition(&self, route: &RouteId) -> Option<Finding>;
}
