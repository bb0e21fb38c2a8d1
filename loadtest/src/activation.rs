//! What KEDA would see: a client of the external scaler that notes when `StreamIsActive: true` arrives.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use rouse_demo_app::monotonic_ns;
use rouse_proto::externalscaler::{ScaledObjectRef, external_scaler_client::ExternalScalerClient};
use tokio::{sync::watch, time::timeout};
use tonic::transport::{Channel, Endpoint};

const CONNECT_BOUND: Duration = Duration::from_secs(5);

/// One connection to the external scaler, as KEDA has one, for the streams of all tenants.
#[derive(Debug, Clone)]
pub(crate) struct Scaler {
    client: ExternalScalerClient<Channel>,
}

/// An open `StreamIsActive` of one tenant. Dropping it closes the stream.
#[derive(Debug)]
pub(crate) struct Activations {
    /// When the latest `true` arrived, in nanoseconds of the monotonic clock; 0 before the first.
    latest_ns: watch::Receiver<u64>,
}

impl Scaler {
    pub(crate) async fn connect(addr: SocketAddr) -> anyhow::Result<Self> {
        let endpoint =
            Endpoint::from_shared(format!("http://{addr}")).context("name the scaler's address")?;
        let endpoint = endpoint.connect_timeout(CONNECT_BOUND).tcp_nodelay(true);
        let channel = endpoint
            .connect()
            .await
            .context("connect to the external scaler")?;
        Ok(Self {
            client: ExternalScalerClient::new(channel),
        })
    }

    /// Opens the stream, and opens it again whenever the scaler ends it.
    pub(crate) fn subscribe(&self, namespace: &str, name: &str) -> Activations {
        let (latest, latest_ns) = watch::channel(0);
        let mut client = self.client.clone();
        let reference = reference(namespace, name);
        tokio::spawn(async move {
            while !latest.is_closed() {
                if let Ok(stream) = client.stream_is_active(reference.clone()).await {
                    let mut stream = stream.into_inner();
                    let receive = async {
                        while let Ok(Some(message)) = stream.message().await {
                            if message.result {
                                latest.send_replace(monotonic_ns());
                            }
                        }
                    };
                    tokio::select! {
                        () = receive => {}
                        () = latest.closed() => return,
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Activations { latest_ns }
    }

    /// KEDA's poll.
    pub(crate) async fn is_active(&mut self, namespace: &str, name: &str) -> anyhow::Result<bool> {
        let answer = self.client.is_active(reference(namespace, name)).await;
        Ok(answer
            .context("ask whether the target is active")?
            .into_inner()
            .result)
    }
}

impl Activations {
    /// When the first `true` after `since_ns` arrived.
    pub(crate) async fn first_since(&mut self, since_ns: u64, bound: Duration) -> anyhow::Result<u64> {
        let arrival = timeout(bound, self.latest_ns.wait_for(|ns| *ns > since_ns)).await;
        let arrival = arrival
            .context("StreamIsActive stayed silent")?
            .context("StreamIsActive was given up")?;
        Ok(*arrival)
    }
}

fn reference(namespace: &str, name: &str) -> ScaledObjectRef {
    ScaledObjectRef {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        scaler_metadata: [("httpScaledObject".to_owned(), name.to_owned())].into(),
    }
}
