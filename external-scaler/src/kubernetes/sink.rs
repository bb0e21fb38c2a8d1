//! From watches to the catalog.

use std::marker::PhantomData;

use rouse_api::{HTTPScaledObject, InterceptorRoute};
use rouse_kubernetes::{Listed, Sink, Watched};
use rouse_routing::RouteKind;

use crate::CatalogHandle;

/// What both kinds of route have in common.
pub(super) trait RouteObject: Watched {
    const KIND: RouteKind;

    fn apply_to(&self, catalog: &CatalogHandle);
    fn delete_from(catalog: &CatalogHandle, namespace: &str, name: &str);
}

impl RouteObject for HTTPScaledObject {
    const KIND: RouteKind = RouteKind::HttpScaledObject;

    fn apply_to(&self, catalog: &CatalogHandle) {
        catalog.apply_http_scaled_object(self);
    }

    fn delete_from(catalog: &CatalogHandle, namespace: &str, name: &str) {
        catalog.delete_http_scaled_object(namespace, name);
    }
}

impl RouteObject for InterceptorRoute {
    const KIND: RouteKind = RouteKind::InterceptorRoute;

    fn apply_to(&self, catalog: &CatalogHandle) {
        catalog.apply_interceptor_route(self);
    }

    fn delete_from(catalog: &CatalogHandle, namespace: &str, name: &str) {
        catalog.delete_interceptor_route(namespace, name);
    }
}

/// Routes of one kind.
#[derive(Debug)]
pub(super) struct RouteSink<K> {
    catalog: CatalogHandle,
    kind: PhantomData<fn(K)>,
}

impl<K: RouteObject> RouteSink<K> {
    pub(super) fn new(catalog: CatalogHandle) -> Self {
        Self {
            catalog,
            kind: PhantomData,
        }
    }
}

impl<K: RouteObject> Sink<K> for RouteSink<K> {
    fn apply(&self, object: K) {
        object.apply_to(&self.catalog);
    }

    fn delete(&self, namespace: &str, name: &str) {
        K::delete_from(&self.catalog, namespace, name);
    }

    fn reset(&self, within: Option<&str>, listed: &Listed) {
        for id in self.catalog.ids(K::KIND, within) {
            if !listed.contains(&id.namespace, &id.name) {
                self.delete(&id.namespace, &id.name);
            }
        }
    }

    fn count(&self) -> usize {
        self.catalog.ids(K::KIND, None).len()
    }
}
