//! One external scaler, past its Service: KEDA asks whichever it is connected to, a test asks each.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use rouse_proto::externalscaler::{
    GetMetricsRequest, MetricValue, ScaledObjectRef, external_scaler_client::ExternalScalerClient,
};
use tokio::time::timeout;
use tonic::transport::Endpoint;

use crate::{
    cases::addon::interceptors,
    cluster::{Cluster, Reach},
    keda,
};

const PORT: u16 = 9090;
/// For one answer: it comes from memory, and the machine is busy.
const BOUND: Duration = Duration::from_secs(5);

/// A scaler's pod and the way to it.
#[derive(Debug)]
pub(super) struct ScalerClient {
    pod: String,
    reach: Reach,
}

impl ScalerClient {
    /// One for every ready pod.
    pub(super) async fn all(cluster: &Cluster) -> anyhow::Result<Vec<Self>> {
        let pods = interceptors::ready_pods(cluster, "scaler").await?;
        try_join_all(pods.into_iter().map(async |pod| {
            let reach = cluster.reach_pod(keda::NAMESPACE, &pod, PORT).await?;
            anyhow::Ok(Self { pod, reach })
        }))
        .await
    }

    /// The pod's name.
    pub(super) fn pod(&self) -> &str {
        &self.pod
    }

    /// What it says of an InterceptorRoute's concurrency. Each question has a connection of its own: a scaler that was killed
    /// and is back is another process.
    pub(super) async fn concurrency(&self, namespace: &str, route: &str) -> anyhow::Result<MetricValue> {
        timeout(BOUND, self.ask(namespace, route))
            .await
            .with_context(|| format!("{} says nothing", self.pod))?
            .with_context(|| format!("ask {}", self.pod))
    }

    async fn ask(&self, namespace: &str, route: &str) -> anyhow::Result<MetricValue> {
        let endpoint = Endpoint::try_from(format!("http://{}", self.reach.addr()))?;
        let mut client = ExternalScalerClient::new(endpoint.connect().await?);
        let scaled_object = ScaledObjectRef {
            name: route.to_owned(),
            namespace: namespace.to_owned(),
            scaler_metadata: [("interceptorRoute".to_owned(), route.to_owned())].into(),
        };
        let specs = client.get_metric_spec(scaled_object.clone()).await?.into_inner();
        let [spec] = specs.metric_specs.as_slice() else {
            anyhow::bail!("it was to have one metric: {specs:?}");
        };
        let request = GetMetricsRequest {
            scaled_object_ref: Some(scaled_object),
            metric_name: spec.metric_name.clone(),
        };
        let values = client.get_metrics(request).await?.into_inner().metric_values;
        let [value] = values.as_slice() else {
            anyhow::bail!("it was to have one value: {values:?}");
        };
        Ok(value.clone())
    }
}
