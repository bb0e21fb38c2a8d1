//! What KEDA is told: a stream of the external scaler's, as KEDA opens one for each route.

use std::net::SocketAddr;

use anyhow::Context as _;
use rouse_proto::externalscaler::{
    IsActiveResponse, ScaledObjectRef, external_scaler_client::ExternalScalerClient,
};
use tokio::time::timeout;
use tonic::{Streaming, transport::Endpoint};

use super::{BOUND, clock::monotonic_ns};

/// An open `StreamIsActive` of a route that is not active.
#[derive(Debug)]
pub(super) struct Activation {
    told: Streaming<IsActiveResponse>,
}

impl Activation {
    /// Opens the stream of an HTTPScaledObject and waits for what the scaler says at once: that it is not active.
    pub(super) async fn open(scaler: SocketAddr, namespace: &str, name: &str) -> anyhow::Result<Self> {
        let reference = ScaledObjectRef {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            scaler_metadata: [("httpScaledObject".to_owned(), name.to_owned())].into(),
        };
        let open = async {
            let endpoint = Endpoint::from_shared(format!("http://{scaler}")).context("name the scaler")?;
            let channel = endpoint.tcp_nodelay(true).connect().await?;
            let mut client = ExternalScalerClient::new(channel);
            let mut told = client.stream_is_active(reference).await?.into_inner();
            let first = told.message().await?.context("the stream ended")?;
            anyhow::ensure!(!first.result, "{name} is active already");
            anyhow::Ok(Self { told })
        };
        timeout(BOUND, open)
            .await
            .context("the scaler does not answer")?
            .context("open StreamIsActive")
    }

    /// When it tells that the route is active.
    pub(super) async fn told(mut self) -> anyhow::Result<u64> {
        let active = async {
            while !self.told.message().await?.context("the stream ended")?.result {}
            anyhow::Ok(monotonic_ns())
        };
        timeout(BOUND, active)
            .await
            .context("it stays silent")?
            .context("read StreamIsActive")
    }
}
