//! What the routes' objects say about scaling: the source of every `GetMetricSpec` answer. Written by whoever watches the
//! objects (or, on one machine, reads them from files), read by every RPC. One entry per applied object.

use std::sync::Arc;

use ahash::RandomState;
use dashmap::DashMap;
use rouse_api::{HTTPScaledObject, InterceptorRoute, Metric};
use rouse_proto::externalscaler::MetricSpec;
use rouse_routing::{RouteId, RouteKind};
use tokio::sync::watch;

use crate::{
    metric_name,
    picture::{Picture, RateWindow},
};

/// How one route is scaled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScalingSpec {
    pub(crate) metrics: Vec<NamedMetric>,
}

/// One metric under the name that KEDA knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedMetric {
    pub(crate) name: String,
    pub(crate) metric: Metric,
    /// Numbers go into the float fields, else into the older integer fields.
    pub(crate) float: bool,
}

impl NamedMetric {
    fn spec(&self) -> MetricSpec {
        let target = self.metric.target();
        MetricSpec {
            metric_name: self.name.clone(),
            target_size: if self.float { 0 } else { target.into() },
            target_size_float: if self.float { target.into() } else { 0.0 },
        }
    }
}

impl ScalingSpec {
    fn of_http_scaled_object(id: &RouteId, object: &HTTPScaledObject) -> Self {
        let name = metric_name::of_http_scaled_object(&id.namespace, &id.name);
        Self {
            metrics: vec![NamedMetric {
                name,
                metric: object.metric(),
                float: false,
            }],
        }
    }

    fn of_interceptor_route(id: &RouteId, object: &InterceptorRoute) -> Self {
        let named = |metric: Metric| NamedMetric {
            name: match metric {
                Metric::Concurrency { .. } => metric_name::of_concurrency(&id.name),
                Metric::RequestRate { .. } => metric_name::of_rate(&id.name),
            },
            metric,
            float: true,
        };
        Self {
            metrics: object.metrics().into_iter().map(named).collect(),
        }
    }

    /// What the HPA is to watch.
    pub(crate) fn specs(&self) -> Vec<MetricSpec> {
        self.metrics.iter().map(NamedMetric::spec).collect()
    }

    fn window(&self) -> Option<RateWindow> {
        self.metrics.iter().find_map(|named| match named.metric {
            Metric::RequestRate {
                window, granularity, ..
            } => Some(RateWindow { window, granularity }),
            Metric::Concurrency { .. } => None,
        })
    }
}

/// All applied objects.
#[derive(Debug)]
pub(crate) struct Catalog {
    picture: Arc<Picture>,
    specs: DashMap<RouteId, watch::Sender<Arc<ScalingSpec>>, RandomState>,
}

impl Catalog {
    pub(crate) fn new(picture: Arc<Picture>) -> Self {
        Self {
            picture,
            specs: DashMap::default(),
        }
    }

    /// The route's spec, if its object has been applied.
    pub(crate) fn get(&self, id: &RouteId) -> Option<Arc<ScalingSpec>> {
        self.specs.get(id).map(|spec| Arc::clone(&spec.borrow()))
    }

    /// A receiver that changes with the spec, and whose sender is gone once the object is.
    pub(crate) fn subscribe(&self, id: &RouteId) -> Option<watch::Receiver<Arc<ScalingSpec>>> {
        self.specs.get(id).map(|spec| spec.subscribe())
    }

    pub(crate) fn len(&self) -> usize {
        self.specs.len()
    }

    /// The routes of a kind whose objects have been applied, of one namespace or of all.
    fn ids(&self, kind: RouteKind, within: Option<&str>) -> Vec<RouteId> {
        self.specs
            .iter()
            .map(|spec| spec.key().clone())
            .filter(|id| id.kind == kind && within.is_none_or(|within| within == &*id.namespace))
            .collect()
    }

    fn apply(&self, id: &RouteId, spec: ScalingSpec) {
        let window = self.window(id, &spec);
        self.picture.register(id, window);
        let spec = Arc::new(spec);
        let sender = self
            .specs
            .entry(id.clone())
            .or_insert_with(|| watch::Sender::new(Arc::clone(&spec)));
        sender.send_if_modified(|current| {
            let changed = *current != spec;
            if changed {
                *current = spec;
            }
            changed
        });
        // It locks a part of the map, which is read next.
        drop(sender);
        self.settle_window(id);
    }

    fn delete(&self, id: &RouteId) {
        if self.specs.remove(id).is_some() {
            self.picture.unregister(id);
            self.settle_window(id);
        }
    }

    /// Over what a rate is kept for the route. An InterceptorRoute has the load of the HTTPScaledObject of its name, which
    /// may be scaled on a rate where it itself is not.
    fn window(&self, id: &RouteId, spec: &ScalingSpec) -> Option<RateWindow> {
        let namesake = || match id.kind {
            RouteKind::InterceptorRoute => self.get(&of_kind(RouteKind::HttpScaledObject, id)),
            RouteKind::HttpScaledObject => None,
        };
        spec.window().or_else(|| namesake()?.window())
    }

    /// One of two objects of a name was applied or deleted: the InterceptorRoute's window may be another.
    fn settle_window(&self, id: &RouteId) {
        let id = of_kind(RouteKind::InterceptorRoute, id);
        let Some(spec) = self.get(&id) else { return };
        let window = self.window(&id, &spec);
        // Held meanwhile, so that it is not deleted before it is registered.
        if let Some(_held) = self.specs.get(&id) {
            self.picture.register(&id, window);
        }
    }
}

/// The route of this kind that has the name of `id`.
fn of_kind(kind: RouteKind, id: &RouteId) -> RouteId {
    RouteId { kind, ..id.clone() }
}

/// Applies and deletes the objects that say how routes are scaled. Cheap to clone; usable from any thread.
///
/// Applying an object again replaces it. Objects are taken as they are: whatever in them is out of bounds is brought
/// within.
#[derive(Debug, Clone)]
pub struct CatalogHandle {
    catalog: Arc<Catalog>,
}

impl CatalogHandle {
    pub(crate) fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog }
    }

    /// Takes over an HTTPScaledObject. One without a name is ignored.
    pub fn apply_http_scaled_object(&self, object: &HTTPScaledObject) {
        let metadata = &object.metadata;
        let id = route_id(
            RouteKind::HttpScaledObject,
            metadata.namespace.as_deref(),
            metadata.name.as_deref(),
        );
        if let Some(id) = id {
            self.catalog
                .apply(&id, ScalingSpec::of_http_scaled_object(&id, object));
        }
    }

    /// Takes over an InterceptorRoute. One without a name is ignored.
    pub fn apply_interceptor_route(&self, object: &InterceptorRoute) {
        let metadata = &object.metadata;
        let id = route_id(
            RouteKind::InterceptorRoute,
            metadata.namespace.as_deref(),
            metadata.name.as_deref(),
        );
        if let Some(id) = id {
            self.catalog
                .apply(&id, ScalingSpec::of_interceptor_route(&id, object));
        }
    }

    /// The routes of a kind whose objects it was told of, of one namespace or of all, in no order.
    pub fn ids(&self, kind: RouteKind, within: Option<&str>) -> Vec<RouteId> {
        self.catalog.ids(kind, within)
    }

    /// The HTTPScaledObject is gone.
    pub fn delete_http_scaled_object(&self, namespace: &str, name: &str) {
        self.catalog
            .delete(&RouteId::new(RouteKind::HttpScaledObject, namespace, name));
    }

    /// The InterceptorRoute is gone.
    pub fn delete_interceptor_route(&self, namespace: &str, name: &str) {
        self.catalog
            .delete(&RouteId::new(RouteKind::InterceptorRoute, namespace, name));
    }
}

/// Objects from files may leave the namespace out; those from the API server never do.
fn route_id(kind: RouteKind, namespace: Option<&str>, name: Option<&str>) -> Option<RouteId> {
    Some(RouteId::new(kind, namespace.unwrap_or("default"), name?))
}
