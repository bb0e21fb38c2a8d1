//! Rouse's ScaledObjects that KEDA leaves behind when it is uninstalled before them.
//!
//! KEDA has a finalizer on every ScaledObject. `helm uninstall` of KEDA ends its operator first and then deletes its
//! definitions, and with those every ScaledObject: nobody is left to take the finalizer off, and the objects, the definition
//! and the namespaces around them stay Terminating for ever. So Rouse takes it off its own, while it leads and after
//! [`PATIENCE`], in which an operator that is still there does it better.
//!
//! Only where the definition itself is being deleted: nothing takes that back, so no KEDA will ever scale by these objects
//! again. An operator that is away while the definition stays may come back, and the finalizer is its own.

use std::{collections::HashMap, sync::Arc, time::Duration};

use rouse_daemon::chain::chain;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    observed::{ObjectName, ScaledObject, SharedObserved},
    writer::Writer,
};

/// How often is looked. Looking costs the API server nothing while no ScaledObject is being deleted.
const PERIOD: Duration = Duration::from_secs(5);

/// How long KEDA has. With its operator there it is a matter of milliseconds; one that is being restarted takes a while.
const PATIENCE: Duration = Duration::from_secs(30);

/// The trigger of the interceptors' own ScaledObject, which the chart makes.
const INTERCEPTORS_TRIGGER: &str = "interceptorTargetPendingRequests";

/// Looks for them. Never ends by itself. `namespace` is Rouse's own.
pub(crate) async fn watch(observed: &SharedObserved, namespace: &str, writer: &Writer) {
    // Bounded by the objects that exist: what is not being deleted any longer is forgotten.
    let mut since: HashMap<ObjectName, Instant> = HashMap::new();
    loop {
        sleep(PERIOD).await;
        let now = Instant::now();
        let going: Vec<Arc<ScaledObject>> = observed.read(|observed| {
            let going = observed
                .scaled_objects()
                .filter(|object| object.is_deleting && is_ours(object, namespace));
            going.cloned().collect()
        });
        since.retain(|name, _| going.iter().any(|object| object.name == *name));
        let due: Vec<&Arc<ScaledObject>> = going
            .iter()
            .filter(|object| {
                let since = since.entry(object.name.clone()).or_insert(now);
                now - *since >= PATIENCE
            })
            .collect();
        if !due.is_empty() {
            let_go(&due, writer).await;
        }
    }
}

async fn let_go(due: &[&Arc<ScaledObject>], writer: &Writer) {
    match writer.is_engine_going().await {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => {
            tracing::debug!(error = %chain(&error), "KEDA's definition not looked at");
            return;
        }
    }
    for object in due {
        match writer.take_engines_finalizer_off(object).await {
            Ok(true) => tracing::warn!(
                scaled_object = %object.name,
                "KEDA is being uninstalled and has left its finalizer behind: taken off"
            ),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(scaled_object = %object.name, error = %chain(&error), "KEDA's finalizer not taken off");
            }
        }
    }
}

/// Whether Rouse has applied it, or Rouse's chart has for the interceptors.
fn is_ours(object: &ScaledObject, namespace: &str) -> bool {
    let scales_interceptors = || {
        let triggers = object.content.pointer("/spec/triggers").and_then(Value::as_array);
        let mut metadata = triggers
            .into_iter()
            .flatten()
            .filter_map(|trigger| trigger.get("metadata"));
        metadata.any(|metadata| metadata.get(INTERCEPTORS_TRIGGER).is_some())
    };
    object.applied.is_some() || (*object.name.namespace == *namespace && scales_interceptors())
}

#[cfg(test)]
mod tests;
