//! The interceptor in a Kubernetes cluster: watches tell its index what there is.
//!
//! ```text
//! HTTPScaledObject (required), InterceptorRoute ──▶ RouteSink ──┬─▶ IndexHandle
//!                                                               └─▶ WaitingForNode ─▶ IndexHandle
//! Service, EndpointSlice ─────────────────────────▶ sinks ────────▶ IndexHandle
//! ```
//!
//! It is ready when all four kinds have been listed: a route without its endpoints would hold requests that could go. Of
//! Services and EndpointSlices all those of the watched namespaces come by, and the index keeps of each what it needs.

mod args;
mod run;
mod sinks;
mod waiting;

use std::sync::Arc;

use kube::Client;
use rouse_kubernetes::{Feed, Scope, Watches};
use tokio::task::JoinHandle;

pub use self::{args::ClusterArgs, run::run};
use self::{
    sinks::{EndpointSliceSink, RouteSink, ServiceSink},
    waiting::WaitingForNode,
};
use crate::App;

/// Slices without a Service belong to somebody else.
const OF_A_SERVICE: &str = "kubernetes.io/service-name";

/// The watches that feed an interceptor. Dropped, they end, and the interceptor serves what it knows.
#[derive(Debug)]
pub struct Source {
    watches: Arc<Watches>,
    /// Tells the index when all is known.
    synced: JoinHandle<()>,
}

impl Source {
    /// Feeds `app` with the objects of the namespaces in `scope`. Call it on the control runtime.
    pub fn start(app: &App, client: Client, scope: &Scope) -> Self {
        let index = app.index();
        let mut watches = Watches::new(client, scope, &app.readiness(), &app.metrics());
        let waiting = Arc::new(WaitingForNode::new(index.clone()));
        watches.feed(
            Feed::required("HTTPScaledObject"),
            RouteSink::<rouse_api::HTTPScaledObject>::new(index.clone(), Arc::clone(&waiting)),
        );
        // Releases of the add-on before 0.12 do not have it.
        watches.feed(
            Feed::optional("InterceptorRoute"),
            RouteSink::<rouse_api::InterceptorRoute>::new(index.clone(), waiting),
        );
        watches.feed(Feed::required("Service"), ServiceSink(index.clone()));
        watches.feed(
            Feed::required("EndpointSlice").labelled(OF_A_SERVICE),
            EndpointSliceSink(index.clone()),
        );
        let watches = Arc::new(watches);
        let known = Arc::clone(&watches);
        let synced = tokio::spawn(async move {
            known.synced().await;
            index.synced();
        });
        Self { watches, synced }
    }

    /// Ends the watches.
    pub async fn stop(self) {
        self.synced.abort();
        self.watches.stop().await;
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.synced.abort();
    }
}
