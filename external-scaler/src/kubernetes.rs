//! The external scaler in a Kubernetes cluster: watches tell it which objects there are, and which interceptors.
//!
//! ```text
//! HTTPScaledObject (required), InterceptorRoute ──▶ RouteSink ─▶ CatalogHandle
//! EndpointSlices of the interceptors' admin Service ───────────▶ PeersHandle
//! ```
//!
//! It is ready when all of them have been listed and the interceptors have been heard (or are late).

mod args;
mod run;
mod sink;

use kube::Client;
use rouse_api::{HTTPScaledObject, InterceptorRoute};
use rouse_kubernetes::{
    Feed, Scope, Watches,
    peers::{self, Addresses, PeerService},
};
use tokio::task::JoinHandle;

use self::sink::RouteSink;
pub use self::{args::ClusterArgs, run::run};
use crate::{App, PeersHandle};

/// The watches that feed a scaler. Dropped, they end, and the scaler answers from what it knows.
#[derive(Debug)]
pub struct Source {
    watches: Watches,
    /// Hands the interceptors' addresses on.
    peers: Option<JoinHandle<()>>,
}

impl Source {
    /// Feeds `app` with the objects of the namespaces in `scope` and, unless they were listed, with the interceptors behind
    /// `service`. Call it on the runtime that runs the scaler.
    pub fn start(app: &App, client: Client, scope: &Scope, service: Option<&PeerService>) -> Self {
        let mut watches = Watches::new(client, scope, &app.readiness(), &app.metrics());
        watches.feed(
            Feed::required("HTTPScaledObject"),
            RouteSink::<HTTPScaledObject>::new(app.catalog()),
        );
        // Releases of the add-on before 0.12 do not have it.
        watches.feed(
            Feed::optional("InterceptorRoute"),
            RouteSink::<InterceptorRoute>::new(app.catalog()),
        );
        let peers = service.map(|service| {
            let addresses = peers::follow(&mut watches, service);
            tokio::spawn(hand_on(addresses, app.peers()))
        });
        Self { watches, peers }
    }

    /// Ends the watches.
    pub async fn stop(self) {
        self.watches.stop().await;
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(peers) = self.peers.take() {
            peers.abort();
        }
    }
}

/// Sets the list whenever it changes, until the watch ends.
async fn hand_on(mut addresses: Addresses, peers: PeersHandle) {
    loop {
        let now = addresses.borrow_and_update().clone();
        if let Some(now) = now {
            peers.set(now.iter().copied());
        }
        if addresses.changed().await.is_err() {
            return;
        }
    }
}
