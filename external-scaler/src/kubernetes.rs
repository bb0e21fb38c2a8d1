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

use std::time::Duration;

use kube::Client;
use rouse_api::{HTTPScaledObject, InterceptorRoute};
use rouse_kubernetes::{
    Feed, Scope, Watches,
    peers::{self, PeerService, Peers},
};
use tokio::{task::JoinHandle, time::interval};

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
            let followed = peers::follow(&mut watches, service);
            tokio::spawn(hand_on(followed, app.peers()))
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

/// How often it is told how far the list can be relied on. Well below the time for which it is.
const CONFIRM_EVERY: Duration = Duration::from_secs(5);

/// Sets the list whenever it changes, and says how old it is, until the watch ends. Should this end, the list grows old.
async fn hand_on(followed: Peers, peers: PeersHandle) {
    let Peers {
        mut addresses,
        freshness,
    } = followed;
    addresses.mark_changed();
    let mut ticks = interval(CONFIRM_EVERY);
    loop {
        tokio::select! {
            biased;
            changed = addresses.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = addresses.borrow_and_update().clone();
                if let Some(now) = now {
                    peers.set(now.iter().copied());
                }
            }
            _ = ticks.tick() => {}
        }
        peers.confirm(freshness.age());
    }
}
