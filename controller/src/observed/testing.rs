//! Objects made by hand, and what is observed of them.

use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1};
use rouse_routing::{RouteId, RouteKind};
use serde_json::{Value, json};

use super::{Autoscaler, Engine, ObjectName, Observed, Route, ScaledObject, Service, Workload, WorkloadKind};

/// A cluster with KEDA, whose Deployments and StatefulSets are all known.
pub(crate) fn cluster() -> Observed {
    let mut observed = Observed::default();
    observed.set_engine(Engine::Present);
    observed.workloads_watched(&WorkloadKind::of("apps/v1", "Deployment"));
    observed.workloads_watched(&WorkloadKind::of("apps/v1", "StatefulSet"));
    observed
}

/// An HTTPScaledObject for the Deployment and Service `app`, with `changes` over its spec. `name` is `namespace/name`; the
/// older `age` is, the older is the object.
pub(crate) fn http_scaled_object(name: &str, age: u32, changes: &Value) -> Route {
    let mut spec = json!({
        "hosts": [format!("{}.test", name.replace('/', "."))],
        "scaleTargetRef": { "name": "app", "service": "app", "port": 80 },
    });
    merge(&mut spec, changes);
    route(RouteKind::HttpScaledObject, name, age, &json!({}), &spec)
}

/// An InterceptorRoute for the Service `app`.
pub(crate) fn interceptor_route(name: &str, age: u32, changes: &Value) -> Route {
    let mut spec = json!({
        "rules": [{ "hosts": [format!("{}.test", name.replace('/', "."))] }],
        "target": { "service": "app", "port": 80 },
        "scalingMetric": { "concurrency": { "targetValue": 10 } },
    });
    merge(&mut spec, changes);
    route(RouteKind::InterceptorRoute, name, age, &json!({}), &spec)
}

/// Any route.
pub(crate) fn route(kind: RouteKind, name: &str, age: u32, metadata: &Value, spec: &Value) -> Route {
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    let mut all = json!({
        "namespace": namespace,
        "name": name,
        "uid": format!("uid-{namespace}-{name}"),
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": format!("2026-01-{:02}T00:00:00Z", 28 - age),
    });
    merge(&mut all, metadata);
    let metadata = serde_json::from_value(all).expect("metadata");
    Route::read(kind, &metadata, spec, &Value::Null)
}

/// The id of an HTTPScaledObject.
pub(crate) fn id(name: &str) -> RouteId {
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    RouteId::new(RouteKind::HttpScaledObject, namespace, name)
}

/// Puts the Service `app` with port 80 and the Deployment `app` into a namespace.
pub(crate) fn add_target(observed: &mut Observed, namespace: &str) {
    observed.apply_workload(deployment(namespace, "app"));
    let (name, service) = service(
        namespace,
        "app",
        &json!({ "ports": [{ "name": "http", "port": 80 }] }),
    );
    observed.apply_service(name, service);
}

pub(crate) fn deployment(namespace: &str, name: &str) -> Workload {
    Workload::new(&namespace.into(), WorkloadKind::of("apps/v1", "Deployment"), name)
}

pub(crate) fn service(namespace: &str, name: &str, spec: &Value) -> (ObjectName, Service) {
    let service: v1::Service =
        serde_json::from_value(json!({ "metadata": {}, "spec": spec })).expect("a Service");
    (ObjectName::new(namespace, name), Service::from(&service))
}

/// A HorizontalPodAutoscaler of the Deployment `app`.
pub(crate) fn autoscaler(namespace: &str, name: &str, owners: &Value) -> (ObjectName, Autoscaler) {
    let object: HorizontalPodAutoscaler = serde_json::from_value(json!({
        "metadata": { "namespace": namespace, "name": name, "ownerReferences": owners },
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "app" },
        },
    }))
    .expect("a HorizontalPodAutoscaler");
    let name = ObjectName::new(namespace, name);
    (name, Autoscaler::read(&object).expect("it scales something"))
}

/// A ScaledObject of the Deployment `app`, with `changes` over the whole object.
pub(crate) fn scaled_object(name: &str, changes: &Value) -> ScaledObject {
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    let mut object = json!({
        "metadata": { "namespace": namespace, "name": name, "uid": format!("so-{name}"), "resourceVersion": "1" },
        "spec": { "scaleTargetRef": { "name": "app" }, "triggers": [] },
        "status": {},
    });
    merge(&mut object, changes);
    let metadata = serde_json::from_value(object["metadata"].clone()).expect("metadata");
    ScaledObject::read(&metadata, &object["spec"], &object["status"])
}

/// What KEDA writes of a ScaledObject.
pub(crate) fn says(status: &str, message: &str) -> Value {
    json!({ "status": { "conditions": [
        { "type": "Active", "status": "False" },
        { "type": "Ready", "status": status, "message": message, "reason": "Whatever" },
    ] } })
}

/// A JSON merge patch (RFC 7396).
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    target.remove(name);
                } else {
                    merge(target.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}
