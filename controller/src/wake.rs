//! The wake as seen from the controller: what is done where KEDA does not act on a held request, and what is said of pods
//! that wait for a node.
//!
//! ```text
//! interceptors ──load stream──▶ demand ─▶ episodes ──5 s──▶ attempt ─▶ /scale 0→1, event
//! Pods that are pending, what Karpenter says of them ─▶ unschedulable ─▶ the condition WaitingForNode
//! ```
//!
//! Every replica listens, so that the next leader knows since when a request is held; only the leader writes.
//!
//! Bounded by the routes with held requests, and by the pods that no node takes.

mod args;
mod attempt;
mod candidate;
mod demand;
mod episodes;
mod fallback;
mod feeds;
mod listener;
mod metrics;
mod pause;
mod unschedulable;
mod waiting_for_node;

#[cfg(test)]
mod tests;

use std::time::Duration;

use rouse_kubernetes::peers::Addresses;

pub use self::args::{WakeArgs, WakeConfig};
use self::{demand::SharedDemand, fallback::Fallback, metrics::WakeMetrics};
pub(crate) use self::{feeds::watch as watch_pods, waiting_for_node::WaitingForNode};
use crate::parts::Parts;

/// How long KEDA has to act on a held request. Its own retry of a broken stream takes 2 s.
pub(crate) const ENGINE_PATIENCE: Duration = Duration::from_secs(5);

/// Writes `/scale` from 0 to 1 where requests are held for `patience` and nothing else does, until the parts' shutdown. Not
/// called where the user has turned it off.
pub(crate) async fn run_fallback(parts: Parts, interceptors: Addresses, patience: Duration) {
    let demand = SharedDemand::default();
    let metrics = WakeMetrics::register(&parts.metrics, &demand);
    let shutdown = parts.shutdown.clone();
    let listening = listener::listen_to_all(interceptors, demand.clone());
    let fallback = Fallback::new(parts, demand, metrics, patience).run();
    // Whether they were cancelled makes no difference: what is begun is safe to be begun again.
    shutdown
        .run_until_cancelled(async { tokio::join!(listening, fallback) })
        .await;
}
