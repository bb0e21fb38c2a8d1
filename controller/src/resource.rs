//! The route objects as they come from the API server: the parts, unread.
//!
//! Reading them into types is done part by part, so that a spec that cannot be read still leaves the status readable and
//! writable.

use std::{borrow::Cow, fmt, marker::PhantomData};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use rouse_api::{HTTPScaledObject, InterceptorRoute};
use rouse_routing::RouteKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::observed::Route;

/// An object of the kind `K`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Raw<K> {
    #[serde(default)]
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: Value,
    #[serde(default)]
    pub(crate) status: Value,
    #[serde(skip)]
    kind: PhantomData<fn() -> K>,
}

/// A kind of route object.
pub(crate) trait RouteObject: Resource<DynamicType = ()> + Clone + fmt::Debug {
    /// What the routing calls it.
    const KIND: RouteKind;
}

impl RouteObject for HTTPScaledObject {
    const KIND: RouteKind = RouteKind::HttpScaledObject;
}

impl RouteObject for InterceptorRoute {
    const KIND: RouteKind = RouteKind::InterceptorRoute;
}

impl<K: RouteObject> Raw<K> {
    /// Reads it.
    pub(crate) fn route(&self) -> Route {
        Route::read(K::KIND, &self.metadata, &self.spec, &self.status)
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Raw<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
