//! The external scaler's service as KEDA's operator calls it.
//!
//! KEDA sets no deadlines; here every call has one, so that a scaler that hangs costs one poll and not the loop. All
//! routes share one connection, as in KEDA.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use rouse_proto::externalscaler::external_scaler_client::ExternalScalerClient;
use rouse_proto::externalscaler::{GetMetricsRequest, ScaledObjectRef};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use super::hpa::Measurement;

/// For one answer of the scaler, which answers from memory.
const CALL_DEADLINE: Duration = Duration::from_secs(2);
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
/// Larger than any report; a route has two metrics at most.
const MAX_METRICS: usize = 8;

/// Why an answer did not come.
#[derive(Debug, thiserror::Error)]
pub enum ScalerError {
    /// The scaler, or the way to it, said no.
    #[error("the external scaler answered {:?}: {}", .0.code(), .0.message())]
    Refused(Box<tonic::Status>),
    /// It said nothing in time.
    #[error("the external scaler did not answer within {} s", CALL_DEADLINE.as_secs())]
    Late,
    /// The address is not one.
    #[error("the external scaler's address")]
    Address(#[source] tonic::transport::Error),
}

impl From<tonic::Status> for ScalerError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// What the scaling loop asks for one route.
pub trait Scaler: Send + Sync + 'static {
    /// Whether the workload should leave zero now.
    fn is_active(&self) -> impl Future<Output = Result<bool, ScalerError>> + Send;
    /// The metrics now, with their targets.
    fn measure(&self) -> impl Future<Output = Result<Vec<Measurement>, ScalerError>> + Send;
    /// Passes on what is pushed about activity until the stream ends; `Ok` when it ended cleanly.
    fn pushes(&self, activity: &mpsc::Sender<bool>) -> impl Future<Output = Result<(), ScalerError>> + Send;
}

/// The way to the external scaler. Clones share its connection.
#[derive(Debug, Clone)]
pub struct ScalerConnection {
    client: ExternalScalerClient<Channel>,
    address: SocketAddr,
}

impl ScalerConnection {
    /// Connects when it is first used, and again whenever it is lost.
    ///
    /// # Errors
    /// When the address makes no URI.
    pub fn new(address: SocketAddr) -> Result<Self, ScalerError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(ScalerError::Address)?
            .connect_timeout(CONNECT_DEADLINE);
        Ok(Self {
            client: ExternalScalerClient::new(endpoint.connect_lazy()),
            address,
        })
    }

    /// The calls for one route.
    pub fn for_route(&self, namespace: &str, name: &str) -> RouteScaler {
        let metadata = HashMap::from([
            ("scalerAddress".to_owned(), self.address.to_string()),
            ("httpScaledObject".to_owned(), name.to_owned()),
        ]);
        RouteScaler {
            client: self.client.clone(),
            scaled_object: ScaledObjectRef {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                scaler_metadata: metadata,
            },
        }
    }
}

/// The calls for one route.
#[derive(Debug, Clone)]
pub struct RouteScaler {
    client: ExternalScalerClient<Channel>,
    scaled_object: ScaledObjectRef,
}

async fn bounded<T>(
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>> + Send,
) -> Result<T, ScalerError> {
    match timeout(CALL_DEADLINE, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(ScalerError::Late),
    }
}

impl Scaler for RouteScaler {
    async fn is_active(&self) -> Result<bool, ScalerError> {
        Ok(bounded(self.client.clone().is_active(self.scaled_object.clone()))
            .await?
            .result)
    }

    async fn measure(&self) -> Result<Vec<Measurement>, ScalerError> {
        let mut client = self.client.clone();
        let specs = bounded(client.get_metric_spec(self.scaled_object.clone()))
            .await?
            .metric_specs;
        let mut measurements = Vec::new();
        for spec in specs.into_iter().take(MAX_METRICS) {
            let request = GetMetricsRequest {
                scaled_object_ref: Some(self.scaled_object.clone()),
                metric_name: spec.metric_name.clone(),
            };
            let values = bounded(client.get_metrics(request)).await?.metric_values;
            // The floating-point fields are the newer ones; a scaler may fill in either.
            let value = values
                .iter()
                .map(|value| {
                    if value.metric_value_float > 0.0 {
                        value.metric_value_float
                    } else {
                        value.metric_value as f64
                    }
                })
                .sum();
            let target = if spec.target_size_float > 0.0 {
                spec.target_size_float
            } else {
                spec.target_size as f64
            };
            measurements.push(Measurement { value, target });
        }
        Ok(measurements)
    }

    async fn pushes(&self, activity: &mpsc::Sender<bool>) -> Result<(), ScalerError> {
        let mut client = self.client.clone();
        let mut stream = bounded(client.stream_is_active(self.scaled_object.clone())).await?;
        while let Some(message) = stream.message().await? {
            if activity.send(message.result).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}
