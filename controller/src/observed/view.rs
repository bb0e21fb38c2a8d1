//! What conditions and reconcilers read of what is observed.

use std::sync::Arc;

use rouse_routing::{RouteId, RouteKind};

use super::{
    Autoscaler, Claims, Engine, Existence, ObjectName, Observed, Route, ScaledObject, Service, Workload,
    WorkloadKind,
};

impl Observed {
    /// A route.
    pub(crate) fn route(&self, id: &RouteId) -> Option<&Arc<Route>> {
        self.routes.get(id)
    }

    /// All routes, in no order.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.values()
    }

    /// A Service.
    pub(crate) fn service(&self, name: &ObjectName) -> Option<&Service> {
        self.services.get(name)
    }

    /// Whether a workload is there.
    pub(crate) fn workload(&self, workload: &Workload) -> Existence {
        if self.watched_workloads.contains(&workload.kind) {
            return if self.workloads.contains(workload) {
                Existence::Exists
            } else {
                Existence::Missing
            };
        }
        self.looked_up
            .get(workload)
            .cloned()
            .unwrap_or(Existence::NotLookedUp)
    }

    /// A ScaledObject.
    pub(crate) fn scaled_object(&self, name: &ObjectName) -> Option<&Arc<ScaledObject>> {
        self.scaled_objects.get(name)
    }

    /// All ScaledObjects, in no order.
    pub(crate) fn scaled_objects(&self) -> impl Iterator<Item = &Arc<ScaledObject>> {
        self.scaled_objects.values()
    }

    /// The ScaledObjects that scale a workload, by name.
    pub(crate) fn scaled_objects_of<'a>(
        &'a self,
        workload: &Workload,
    ) -> impl Iterator<Item = &'a Arc<ScaledObject>> + use<'a> {
        let namespace = Arc::clone(&workload.namespace);
        self.by_workload
            .get(workload)
            .into_iter()
            .flat_map(|users| &users.scaled_objects)
            .filter_map(move |name| {
                let name = ObjectName::new(Arc::clone(&namespace), Arc::clone(name));
                self.scaled_objects.get(&name)
            })
    }

    /// The HorizontalPodAutoscalers that scale a workload, by name.
    pub(crate) fn autoscalers_of<'a>(
        &'a self,
        workload: &Workload,
    ) -> impl Iterator<Item = &'a Autoscaler> + use<'a> {
        let namespace = Arc::clone(&workload.namespace);
        self.by_workload
            .get(workload)
            .into_iter()
            .flat_map(|users| &users.autoscalers)
            .filter_map(move |name| {
                let name = ObjectName::new(Arc::clone(&namespace), Arc::clone(name));
                self.autoscalers.get(&name)
            })
    }

    /// The routes that name a workload.
    pub(crate) fn routes_of<'a>(
        &'a self,
        workload: &Workload,
    ) -> impl Iterator<Item = &'a Arc<Route>> + use<'a> {
        self.by_workload
            .get(workload)
            .into_iter()
            .flat_map(|users| &users.routes)
            .filter_map(|id| self.routes.get(id))
    }

    /// The ScaledObjects of which a trigger asks the external scaler about the route, by name: the one that Rouse makes of an
    /// HTTPScaledObject, and those that users write.
    pub(crate) fn scaled_objects_for<'a>(
        &'a self,
        route: &RouteId,
    ) -> impl Iterator<Item = &'a Arc<ScaledObject>> + use<'a> {
        let namespace = Arc::clone(&route.namespace);
        self.by_trigger
            .get(route)
            .into_iter()
            .flatten()
            .filter_map(move |name| {
                let name = ObjectName::new(Arc::clone(&namespace), Arc::clone(name));
                self.scaled_objects.get(&name)
            })
    }

    /// Who gets which host.
    pub(crate) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Whether an InterceptorRoute of the same name is served in place of this HTTPScaledObject.
    pub(crate) fn is_superseded(&self, id: &RouteId) -> bool {
        let other = RouteId {
            kind: RouteKind::InterceptorRoute,
            ..id.clone()
        };
        id.kind == RouteKind::HttpScaledObject
            && self.routes.get(&other).is_some_and(|route| route.is_valid())
    }

    /// Whether the scaling engine can be written to.
    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }

    /// Whether all workloads of this kind are known. Others are to be looked up.
    pub(crate) fn is_watched(&self, kind: &WorkloadKind) -> bool {
        self.watched_workloads.contains(kind)
    }
}
