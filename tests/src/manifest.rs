//! Manifests as the user writes them, with the parts that a test changes.

use std::fmt::Write as _;

/// One tenant: a Deployment, a Service and an HTTPScaledObject of one name.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// The name of all three, and the host `NAME.test`.
    pub name: String,
    /// The image, which `--run` maps to a command.
    pub image: String,
    /// More of the container, indented as YAML under it wants.
    pub container: String,
    /// The scaling metric and whatever else belongs under `spec` of the HTTPScaledObject.
    pub scaling: String,
    /// The most replicas.
    pub max: u32,
    /// Seconds of no traffic before it goes to zero.
    pub scaledown_period: u32,
}

impl Tenant {
    /// A tenant that runs the demo app, scales on 100 requests at a time and goes to zero after a second.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            image: "ghcr.io/stefanprodan/podinfo:6.7.1".to_owned(),
            container: String::new(),
            scaling: "scalingMetric: { concurrency: { targetValue: 100 } }".to_owned(),
            max: 5,
            scaledown_period: 1,
        }
    }

    /// The host that its requests name.
    pub fn host(&self) -> String {
        format!("{}.test", self.name)
    }

    /// Its three documents.
    pub fn yaml(&self) -> String {
        let Self {
            name,
            image,
            container,
            scaling,
            max,
            scaledown_period,
        } = self;
        let host = self.host();
        let mut yaml = format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{ name: {name} }}
spec:
  replicas: 0
  selector: {{ matchLabels: {{ app: {name} }} }}
  template:
    metadata: {{ labels: {{ app: {name} }} }}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: app
          image: {image}
"
        );
        for line in container.lines() {
            let _infallible = writeln!(yaml, "          {line}");
        }
        let _infallible = write!(
            yaml,
            "---
apiVersion: v1
kind: Service
metadata: {{ name: {name} }}
spec:
  selector: {{ app: {name} }}
  ports: [{{ port: 8000, targetPort: 9898 }}]
---
apiVersion: http.keda.sh/v1alpha1
kind: HTTPScaledObject
metadata: {{ name: {name} }}
spec:
  hosts: [{host}]
  scaleTargetRef: {{ name: {name}, kind: Deployment, apiVersion: apps/v1, service: {name}, port: 8000 }}
  replicas: {{ min: 0, max: {max} }}
  scaledownPeriod: {scaledown_period}
  {scaling}
---
"
        );
        yaml
    }
}
