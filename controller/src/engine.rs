//! Whether KEDA is there, looked at again while it is not.
//!
//! The watch of ScaledObjects tells of it in most cases, but one that was interrupted goes on from where it was, without a
//! word, when the definition comes back. So while KEDA is missing somebody has to ask; discovery costs the API server
//! nothing, and every account may use it.

use std::time::Duration;

use kube::Client;
use rouse_daemon::chain::chain;
use tokio::time::{sleep, timeout};

use crate::{
    observed::{Engine, SharedObserved},
    scaled_object::{API_VERSION, RESOURCE},
};

/// How often it is looked for.
const PERIOD: Duration = Duration::from_secs(5);

/// How long the API server has for the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Looks for KEDA whenever it is missing. Never ends by itself.
pub(crate) async fn watch(client: Client, observed: SharedObserved) {
    loop {
        sleep(PERIOD).await;
        let is_missing = observed.read(|observed| observed.engine() == Engine::Missing);
        if !is_missing {
            continue;
        }
        match timeout(TIMEOUT, client.list_api_group_resources(API_VERSION)).await {
            Ok(Ok(found)) if found.resources.iter().any(|kind| kind.name == RESOURCE) => {
                tracing::info!("KEDA is there: ScaledObjects are written from now on");
                observed.update(|observed| observed.set_engine(Engine::Present));
            }
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {}
            Ok(Err(error)) => tracing::debug!(error = %chain(&error), "KEDA not looked for"),
        }
    }
}
