//! From the watches into what is observed: one sink per kind.

use std::{collections::HashSet, marker::PhantomData};

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1,
};
use kube::{Resource, core::PartialObjectMeta};
use parking_lot::Mutex;
use rouse_api::{HTTPScaledObject, InterceptorRoute};
use rouse_kubernetes::{Feed, Listed, Sink, Watches};
use rouse_routing::RouteId;

use crate::{
    observed::{
        Autoscaler, Engine, ObjectName, Observed, ScaledObject, Service, SharedObserved, Workload,
        WorkloadKind,
    },
    resource::{Raw, RouteObject},
    scaled_object::ScaledObjectResource,
};

/// Watches everything that is observed.
pub(crate) fn watch(watches: &mut Watches, observed: &SharedObserved) {
    watches.feed(
        Feed::required("HTTPScaledObject"),
        RouteSink::<HTTPScaledObject>::new(observed),
    );
    watches.feed(
        Feed::required("InterceptorRoute"),
        RouteSink::<InterceptorRoute>::new(observed),
    );
    watches.feed(Feed::required("Service"), ServiceSink(NameSink::new(observed)));
    watches.feed(
        Feed::required("Deployment"),
        WorkloadSink::<Deployment>::new(observed),
    );
    watches.feed(
        Feed::required("StatefulSet"),
        WorkloadSink::<StatefulSet>::new(observed),
    );
    watches.feed(
        Feed::required("HorizontalPodAutoscaler"),
        AutoscalerSink(NameSink::new(observed)),
    );
    watches.feed(
        Feed::optional("ScaledObject"),
        ScaledObjectSink(NameSink::new(observed)),
    );
}

/// Remembers the names that were applied, to find those that are gone after a list.
#[derive(Debug)]
struct NameSink {
    observed: SharedObserved,
    names: Mutex<HashSet<ObjectName>>,
}

impl NameSink {
    fn new(observed: &SharedObserved) -> Self {
        Self {
            observed: observed.clone(),
            names: Mutex::default(),
        }
    }

    fn applied(&self, name: &ObjectName) {
        self.names.lock().insert(name.clone());
    }

    fn deleted(&self, namespace: &str, name: &str) -> ObjectName {
        let name = ObjectName::new(namespace, name);
        self.names.lock().remove(&name);
        name
    }

    /// Takes out what was applied and is not listed.
    fn vanished(&self, within: Option<&str>, listed: &Listed) -> Vec<ObjectName> {
        let mut names = self.names.lock();
        let vanished: Vec<ObjectName> = names
            .iter()
            .filter(|name| within.is_none_or(|within| *name.namespace == *within))
            .filter(|name| !listed.contains(&name.namespace, &name.name))
            .cloned()
            .collect();
        for name in &vanished {
            names.remove(name);
        }
        vanished
    }

    fn count(&self) -> usize {
        self.names.lock().len()
    }
}

/// Either kind of route.
#[derive(Debug)]
struct RouteSink<K> {
    names: NameSink,
    kind: PhantomData<fn() -> K>,
}

impl<K: RouteObject> RouteSink<K> {
    fn new(observed: &SharedObserved) -> Self {
        Self {
            names: NameSink::new(observed),
            kind: PhantomData,
        }
    }

    fn delete_from(observed: &mut Observed, name: ObjectName) {
        observed.delete_route(&RouteId::new(K::KIND, name.namespace, name.name));
    }
}

impl<K: RouteObject + 'static> Sink<Raw<K>> for RouteSink<K> {
    fn apply(&self, object: Raw<K>) {
        self.names.applied(&ObjectName::of(&object.metadata));
        let route = object.route();
        self.names.observed.update(|observed| observed.apply_route(route));
    }

    fn delete(&self, namespace: &str, name: &str) {
        let name = self.names.deleted(namespace, name);
        self.names
            .observed
            .update(|observed| Self::delete_from(observed, name));
    }

    fn reset(&self, within: Option<&str>, listed: &Listed) {
        let vanished = self.names.vanished(within, listed);
        self.names.observed.update(|observed| {
            for name in vanished {
                Self::delete_from(observed, name);
            }
        });
    }

    fn count(&self) -> usize {
        self.names.count()
    }
}

#[derive(Debug)]
struct ServiceSink(NameSink);

impl Sink<v1::Service> for ServiceSink {
    fn apply(&self, object: v1::Service) {
        let name = ObjectName::of(&object.metadata);
        self.0.applied(&name);
        let service = Service::from(&object);
        self.0
            .observed
            .update(|observed| observed.apply_service(name, service));
    }

    fn delete(&self, namespace: &str, name: &str) {
        let name = self.0.deleted(namespace, name);
        self.0.observed.update(|observed| observed.delete_service(&name));
    }

    fn reset(&self, within: Option<&str>, listed: &Listed) {
        let vanished = self.0.vanished(within, listed);
        self.0.observed.update(|observed| {
            for name in &vanished {
                observed.delete_service(name);
            }
        });
    }

    fn count(&self) -> usize {
        self.0.count()
    }
}

/// A kind of workload, of which only the names are asked for.
#[derive(Debug)]
struct WorkloadSink<K> {
    names: NameSink,
    workload_kind: WorkloadKind,
    kind: PhantomData<fn() -> K>,
}

impl<K: Resource<DynamicType = ()>> WorkloadSink<K> {
    fn new(observed: &SharedObserved) -> Self {
        Self {
            names: NameSink::new(observed),
            workload_kind: WorkloadKind::of(&K::api_version(&()), &K::kind(&())),
            kind: PhantomData,
        }
    }

    fn workload(&self, name: &ObjectName) -> Workload {
        Workload::new(&name.namespace, self.workload_kind.clone(), &name.name)
    }
}

impl<K> Sink<PartialObjectMeta<K>> for WorkloadSink<K>
where
    K: Resource<DynamicType = ()> + 'static,
{
    fn apply(&self, object: PartialObjectMeta<K>) {
        let name = ObjectName::of(&object.metadata);
        self.names.applied(&name);
        let workload = self.workload(&name);
        self.names
            .observed
            .update(|observed| observed.apply_workload(workload));
    }

    fn delete(&self, namespace: &str, name: &str) {
        let name = self.names.deleted(namespace, name);
        let workload = self.workload(&name);
        self.names
            .observed
            .update(|observed| observed.delete_workload(&workload));
    }

    fn reset(&self, within: Option<&str>, listed: &Listed) {
        let vanished = self.names.vanished(within, listed);
        self.names.observed.update(|observed| {
            for name in &vanished {
                observed.delete_workload(&self.workload(name));
            }
            observed.workloads_watched(&self.workload_kind);
        });
    }

    fn count(&self) -> usize {
        self.names.count()
    }
}

#[derive(Debug)]
struct AutoscalerSink(NameSink);

impl Sink<HorizontalPodAutoscaler> for AutoscalerSink {
    fn apply(&self, object: HorizontalPodAutoscaler) {
        let name = ObjectName::of(&object.metadata);
        self.0.applied(&name);
        let autoscaler = Autoscaler::read(&object);
        self.0.observed.update(|observed| match autoscaler {
            Some(autoscaler) => observed.apply_autoscaler(name, autoscaler),
            None => observed.delete_autoscaler(&name),
        });
    }

    fn delete(&self, namespace: &str, name: &str) {
        let name = self.0.deleted(namespace, name);
        self.0
            .observed
            .update(|observed| observed.delete_autoscaler(&name));
    }

    fn reset(&self, within: Option<&str>, listed: &Listed) {
        let vanished = self.0.vanished(within, listed);
        self.0.observed.update(|observed| {
            for name in &vanished {
                observed.delete_autoscaler(name);
            }
        });
    }

    fn count(&self) -> usize {
        self.0.count()
    }
}

/// KEDA's. That they can be listed is also how it is known that KEDA is there.
#[derive(Debug)]
struct ScaledObjectSink(NameSink);

impl Sink<ScaledObjectResource> for ScaledObjectSink {
    fn apply(&self, object: ScaledObjectResource) {
        self.0.applied(&ObjectName::of(&object.metadata));
        let scaled_object = ScaledObject::read(&object.metadata, &object.spec, &object.status);
        self.0
            .observed
            .update(|observed| observed.apply_scaled_object(scaled_object));
    }

    fn delete(&self, namespace: &str, name: &str) {
        let name = self.0.deleted(namespace, name);
        self.0
            .observed
            .update(|observed| observed.delete_scaled_object(&name));
    }

    fn reset(&self, within: Option<&str>, listed: &Listed) {
        let vanished = self.0.vanished(within, listed);
        let mut was_missing = false;
        self.0.observed.update(|observed| {
            for name in &vanished {
                observed.delete_scaled_object(name);
            }
            was_missing = observed.engine() == Engine::Missing;
            observed.set_engine(Engine::Present);
        });
        if was_missing {
            tracing::info!("KEDA is there: ScaledObjects are written from now on");
        }
    }

    fn count(&self) -> usize {
        self.0.count()
    }
}
