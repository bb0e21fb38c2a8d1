//! The manifests that the benchmarks give to `rouse local`: tenants as the users write them.

/// One tenant: a Deployment, its Service on port 8000, and the HTTPScaledObject that routes to it.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    /// What `--run IMAGE=COMMAND` names, or a podinfo image, which is the demo app.
    pub(crate) image: String,
    /// Whether the container has an httpGet readiness probe on `/readyz`; without one a replica is Ready at once.
    pub(crate) is_probed: bool,
    pub(crate) min: u32,
    pub(crate) max: u32,
}

impl Tenant {
    /// Scales between zero and one replica of the demo app.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        let image = "ghcr.io/stefanprodan/podinfo:6.7.1".to_owned();
        Self {
            name: name.into(),
            image,
            is_probed: false,
            min: 0,
            max: 1,
        }
    }

    pub(crate) fn host(&self) -> String {
        format!("{}.example.com", self.name)
    }
}

/// A multi-document file for all `tenants`.
pub(crate) fn yaml(tenants: &[Tenant]) -> String {
    tenants.iter().map(documents).collect()
}

fn documents(tenant: &Tenant) -> String {
    let Tenant {
        name,
        image,
        is_probed,
        min,
        max,
    } = tenant;
    let host = tenant.host();
    let probe = if *is_probed {
        "\n          readinessProbe:\n            httpGet:\n              path: /readyz\n              port: 9898"
    } else {
        ""
    };
    format!(
        "\
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  namespace: default
spec:
  replicas: {min}
  selector:
    matchLabels:
      app: {name}
  template:
    metadata:
      labels:
        app: {name}
    spec:
      containers:
        - name: app
          image: {image}{probe}
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: default
spec:
  selector:
    app: {name}
  ports:
    - port: 8000
      protocol: TCP
      targetPort: 9898
---
apiVersion: http.keda.sh/v1alpha1
kind: HTTPScaledObject
metadata:
  name: {name}
  namespace: default
spec:
  hosts:
    - {host}
  scaleTargetRef:
    name: {name}
    kind: Deployment
    apiVersion: apps/v1
    service: {name}
    port: 8000
  replicas:
    min: {min}
    max: {max}
  scaledownPeriod: 1
  scalingMetric:
    requestRate:
      granularity: 1s
      targetValue: 100
      window: 1s
"
    )
}
