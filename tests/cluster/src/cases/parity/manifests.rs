//! The objects of an application: a Deployment, its Service and, unless it is nobody's target, an HTTPScaledObject, all of
//! one name. Every pod is a podinfo, which the harness's image answers for with the demo application, and so does
//! `rouse local`.

use serde_json::{Value, json};

use crate::images::PODINFO;

const PORT: u16 = 8000;

/// An application. Its readiness is asked for every second, unless it has no probe.
#[derive(Debug, Clone)]
pub(super) struct App {
    /// The name of all its objects; it says it in `/`.
    pub(super) name: &'static str,
    /// How many replicas its Deployment is written with.
    pub(super) replicas: u32,
    probe: Option<&'static str>,
    arguments: &'static [&'static str],
    protocol: Option<&'static str>,
    route: Option<Value>,
}

impl App {
    /// An application at zero with a route, whose `spec` has these fields beside the target, one replica at most, and 10 s
    /// until it sleeps.
    pub(super) fn new(name: &'static str, route: Value) -> Self {
        Self {
            name,
            replicas: 0,
            probe: Some("/readyz"),
            arguments: &[],
            protocol: None,
            route: Some(route),
        }
    }

    /// An application that no route wakes: one replica.
    pub(super) fn always(name: &'static str) -> Self {
        Self {
            replicas: 1,
            route: None,
            ..Self::new(name, Value::Null)
        }
    }

    /// Whose Deployment is written with this many replicas.
    pub(super) fn written_with(self, replicas: u32) -> Self {
        Self { replicas, ..self }
    }

    /// With this path for its readiness.
    pub(super) fn probed_at(self, path: &'static str) -> Self {
        Self {
            probe: Some(path),
            ..self
        }
    }

    /// Without a readiness probe.
    pub(super) fn unprobed(self) -> Self {
        Self { probe: None, ..self }
    }

    /// Whose demo application has these arguments.
    pub(super) fn with_arguments(self, arguments: &'static [&'static str]) -> Self {
        Self { arguments, ..self }
    }

    /// Whose Service names this protocol.
    pub(super) fn speaking(self, protocol: &'static str) -> Self {
        Self {
            protocol: Some(protocol),
            ..self
        }
    }

    /// Whether it has a route.
    pub(super) fn is_routed(&self) -> bool {
        self.route.is_some()
    }

    /// Its objects.
    pub(super) fn objects(&self, namespace: &str) -> Vec<Value> {
        let labels = json!({ "app": self.name });
        let metadata = json!({ "name": self.name, "namespace": namespace });
        let mut objects = vec![
            json!({
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {
                    "replicas": self.replicas,
                    "selector": { "matchLabels": labels },
                    "template": {
                        "metadata": { "labels": labels },
                        "spec": {
                            "enableServiceLinks": false,
                            "terminationGracePeriodSeconds": 10,
                            "containers": [self.container()],
                        },
                    },
                },
            }),
            json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata,
                "spec": { "selector": labels, "ports": [self.port()] },
            }),
        ];
        objects.extend(self.route.as_ref().map(|fields| {
            let mut spec = json!({
                "scaleTargetRef": {
                    "name": self.name,
                    "kind": "Deployment",
                    "apiVersion": "apps/v1",
                    "service": self.name,
                    "port": PORT,
                },
                "replicas": { "min": 0, "max": 1 },
                "scaledownPeriod": 10,
                "scalingMetric": { "concurrency": { "targetValue": 100 } },
            });
            if let (Some(spec), Some(fields)) = (spec.as_object_mut(), fields.as_object()) {
                spec.extend(fields.clone());
            }
            json!({
                "apiVersion": "http.keda.sh/v1alpha1",
                "kind": "HTTPScaledObject",
                "metadata": metadata,
                "spec": spec,
            })
        }));
        objects
    }

    fn port(&self) -> Value {
        let mut port = json!({ "port": PORT, "targetPort": 9898 });
        if let (Some(port), Some(protocol)) = (port.as_object_mut(), self.protocol) {
            port.insert("appProtocol".to_owned(), json!(protocol));
        }
        port
    }

    fn container(&self) -> Value {
        let mut container = json!({
            "name": "podinfo",
            "image": PODINFO,
            "env": [{ "name": "PODINFO_UI_MESSAGE", "value": self.name }],
            "ports": [{ "containerPort": 9898 }],
        });
        let Some(fields) = container.as_object_mut() else {
            return container;
        };
        if let Some(path) = self.probe {
            let probe = json!({ "httpGet": { "path": path, "port": 9898 }, "periodSeconds": 1 });
            fields.insert("readinessProbe".to_owned(), probe);
        }
        if !self.arguments.is_empty() {
            fields.insert(
                "command".to_owned(),
                json!(["rouse", "demo-app", "--host=0.0.0.0"]),
            );
            fields.insert("args".to_owned(), json!(self.arguments));
        }
        container
    }
}
