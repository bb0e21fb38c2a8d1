//! Takes routes from the queue while this process leads.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use kube::Client;
use rouse_kubernetes::lease::Leadership;
use rouse_routing::RouteId;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::Reconciler;
use crate::{
    left_behind,
    queue::{Outcome, Requeue},
    writer::Writer,
};

/// Routes reconciled at the same time. Each waits for the API server most of its time; more would only queue there, in
/// front of everybody else's requests.
const CONCURRENCY: usize = 16;

/// Reconciles whenever this process leads, until `shutdown`. When a term ends, so has everything that it was writing, before
/// this goes on.
pub(crate) async fn run_while_leading(
    reconciler: Arc<Reconciler>,
    requeue: Requeue,
    client: Client,
    mut leadership: watch::Receiver<Leadership>,
    shutdown: CancellationToken,
) {
    loop {
        let term = {
            let leading = leadership.wait_for(Leadership::is_leader);
            let leading = tokio::select! {
                () = shutdown.cancelled() => return,
                leading = leading => leading,
            };
            match leading.as_deref() {
                Ok(Leadership::Leader(term)) => term.clone(),
                // Nobody holds elections any more.
                Ok(Leadership::Standby) | Err(_) => return,
            }
        };
        reconciler.metrics.set_leader(true);
        // What happened before was seen by another leader, or by none.
        for id in reconciler.observed.route_ids() {
            requeue.route(id);
        }
        let writer = Writer::new(client.clone(), term.clone(), reconciler.metrics.clone());
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = term.cancelled() => {}
            () = work(&reconciler, &requeue, &writer) => {}
            () = left_behind::watch(&reconciler.observed, &reconciler.scaler.namespace, &writer) => {}
        }
        requeue.abandon();
        reconciler.metrics.set_leader(false);
    }
}

/// Never ends by itself; what is at work ends with the future.
async fn work(reconciler: &Arc<Reconciler>, requeue: &Requeue, writer: &Writer) {
    let mut running: JoinSet<(RouteId, Outcome)> = JoinSet::new();
    loop {
        tokio::select! {
            Some(ended) = running.join_next() => match ended {
                Ok((id, outcome)) => requeue.done(&id, outcome),
                // Cannot be: a panic is an outcome, and nothing cancels one task alone.
                Err(error) => tracing::error!(%error, "a reconcile failed"),
            },
            id = requeue.next(), if running.len() < CONCURRENCY => {
                let (reconciler, writer) = (Arc::clone(reconciler), writer.clone());
                running.spawn(async move {
                    let reconcile = AssertUnwindSafe(reconciler.reconcile(&id, &writer));
                    // A panic, which the hook has logged, is tried again as any failure: else the route would count as
                    // being at work until the next term.
                    let outcome = reconcile.catch_unwind().await.unwrap_or(Outcome::Failed);
                    (id, outcome)
                });
            }
        }
    }
}
