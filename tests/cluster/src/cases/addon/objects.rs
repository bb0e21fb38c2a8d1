//! The objects that the add-on's end-to-end tests are made of, with the settings that its own builders have: one replica at
//! most and none when idle, looked at every 5 s, asleep 10 s after the last request.

use serde_json::{Value, json};

use crate::images::PODINFO;

/// What the API of routes is called.
pub(in crate::cases) const ROUTE: (&str, &str) = ("http.keda.sh/v1beta1", "InterceptorRoute");
/// What the API of KEDA's objects is called.
pub(in crate::cases) const SCALED_OBJECT: (&str, &str) = ("keda.sh/v1alpha1", "ScaledObject");
/// What the API of the older form of routes is called.
pub(in crate::cases) const HTTP_SCALED_OBJECT: (&str, &str) = ("http.keda.sh/v1alpha1", "HTTPScaledObject");
/// The port of every application's Service.
pub(in crate::cases) const PORT: u16 = 8000;
/// That port's name.
pub(in crate::cases) const PORT_NAME: &str = "http";

/// Where KEDA finds Rouse.
const SCALER: &str = "keda-add-ons-http-external-scaler.keda:9090";

/// How much a route's target may be scaled.
#[derive(Debug, Clone)]
pub(in crate::cases) struct Scaling {
    /// The route's `scalingMetric`.
    pub(in crate::cases) metric: Value,
    /// The most replicas.
    pub(in crate::cases) max: u32,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            metric: json!({ "concurrency": { "targetValue": 100 } }),
            max: 1,
        }
    }
}

/// A Deployment at zero, whose pods say the application's name (see [`super::site::told_name`]), and its Service.
pub(in crate::cases) fn app(namespace: &str, name: &str) -> [Value; 2] {
    let labels = json!({ "app": name });
    let metadata = json!({ "name": name, "namespace": namespace, "labels": labels });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 5,
                    "containers": [{
                        "name": "podinfo",
                        "image": PODINFO,
                        "env": [{ "name": "PODINFO_UI_MESSAGE", "value": name }],
                        "ports": [{ "containerPort": 9898 }],
                        "readinessProbe": {
                            "httpGet": { "path": "/readyz", "port": 9898 },
                            "periodSeconds": 1,
                        },
                    }],
                },
            },
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "selector": labels,
            "ports": [{ "name": PORT_NAME, "port": PORT, "targetPort": 9898 }],
        },
    });
    [deployment, service]
}

/// A route by these rules to an application of the same name.
pub(in crate::cases) fn route(namespace: &str, name: &str, rules: &Value, scaling: &Scaling) -> Value {
    json!({
        "apiVersion": ROUTE.0,
        "kind": ROUTE.1,
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "target": { "service": name, "port": PORT },
            "rules": rules,
            "scalingMetric": scaling.metric,
            "timeouts": { "readiness": "60s" },
        },
    })
}

/// A ScaledObject for an application, which Rouse's trigger wakes for a route.
pub(in crate::cases) fn scaled_object(namespace: &str, app: &str, route: &str, scaling: &Scaling) -> Value {
    triggered(namespace, app, &json!({ "interceptorRoute": route }), scaling)
}

/// The same for an HTTPScaledObject of the application's name.
pub(in crate::cases) fn scaled_object_of_http_scaled_object(
    namespace: &str,
    app: &str,
    scaling: &Scaling,
) -> Value {
    triggered(namespace, app, &json!({ "httpScaledObject": app }), scaling)
}

fn triggered(namespace: &str, app: &str, of: &Value, scaling: &Scaling) -> Value {
    let mut metadata = of.clone();
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("scalerAddress".to_owned(), json!(SCALER));
    }
    json!({
        "apiVersion": SCALED_OBJECT.0,
        "kind": SCALED_OBJECT.1,
        "metadata": { "name": app, "namespace": namespace },
        "spec": {
            "scaleTargetRef": { "name": app },
            "idleReplicaCount": 0,
            "minReplicaCount": 1,
            "maxReplicaCount": scaling.max,
            "pollingInterval": 5,
            "cooldownPeriod": 10,
            "triggers": [{ "type": "external-push", "metadata": metadata }],
        },
    })
}

/// The older form of a route, with hosts, for an application of the same name.
pub(in crate::cases) fn http_scaled_object(
    namespace: &str,
    name: &str,
    hosts: &[&str],
    scaling: &Scaling,
) -> Value {
    json!({
        "apiVersion": HTTP_SCALED_OBJECT.0,
        "kind": HTTP_SCALED_OBJECT.1,
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "hosts": hosts,
            "scaleTargetRef": { "name": name, "kind": "Deployment", "apiVersion": "apps/v1", "service": name, "port": PORT },
            "replicas": { "min": 0, "max": scaling.max },
            "scaledownPeriod": 10,
            "scalingMetric": scaling.metric,
        },
    })
}
