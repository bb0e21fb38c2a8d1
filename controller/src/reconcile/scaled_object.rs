//! The ScaledObject of an HTTPScaledObject: made, kept as it should be, left to itself, or taken away.

use super::{Reconciler, report};
use crate::{
    condition::scaler_ready,
    observed::{Engine, ObjectName, Route},
    scaled_object::{desired, is_applied},
    writer::{WriteError, Writer},
};

/// The ScaledObject is not as it should be.
#[derive(Debug)]
pub(super) struct Refused {
    /// The API server's word on it, for the status; none where it gave none.
    pub(super) text: Option<String>,
}

impl Reconciler {
    /// Makes the ScaledObject what the route says. An invalid route's is left as it is: what it was made of was valid.
    pub(super) async fn reconcile_scaled_object(
        &self,
        route: &Route,
        writer: &Writer,
    ) -> Result<(), Refused> {
        let name = ObjectName::new(route.id.namespace.clone(), route.id.name.clone());
        let (engine, live, has_conflict) = self.observed.read(|observed| {
            (
                observed.engine(),
                observed.scaled_object(&name).cloned(),
                scaler_ready::conflict(observed, route).is_some(),
            )
        });
        if engine != Engine::Present {
            return Ok(());
        }
        let owned = live.as_ref().filter(|live| live.is_owned_by(&route.uid));
        if route.orphans_scaled_object() {
            let Some(owned) = owned else { return Ok(()) };
            let orphaned = writer.orphan(route, owned).await;
            let orphaned =
                orphaned.map_err(|error| refused(route, "leave the ScaledObject to itself", &error))?;
            self.observed
                .update_for(&route.id, |observed| observed.apply_scaled_object(orphaned));
            return Ok(());
        }
        if route.skips_scaled_object() {
            // The watch tells when it is gone.
            let Some(owned) = owned.filter(|owned| !owned.is_deleting) else {
                return Ok(());
            };
            let deleted = writer.delete_scaled_object(route, owned).await;
            return deleted.map_err(|error| refused(route, "delete the ScaledObject", &error));
        }
        if !route.wants_scaled_object() {
            return Ok(());
        }
        let Some(desired) = desired(route, &self.scaler) else {
            return Ok(());
        };
        match &live {
            Some(live) if is_applied(&desired, live) => return Ok(()),
            Some(live) if live.applied.is_none() && owned.is_some() => {
                let taken_over = writer.take_over(route).await;
                taken_over.map_err(|error| refused(route, "take the ScaledObject over", &error))?;
            }
            // The condition says who has the workload.
            None if has_conflict => return Ok(()),
            _ => {}
        }
        match writer.apply_scaled_object(route, &desired).await {
            Ok(applied) => {
                tracing::debug!(route = %route.id, "ScaledObject applied");
                self.observed
                    .update_for(&route.id, |observed| observed.apply_scaled_object(applied));
                Ok(())
            }
            Err(error) if is_kind_missing(&error) => {
                let mut was_present = false;
                self.observed.update(|observed| {
                    was_present = observed.engine() == Engine::Present;
                    observed.set_engine(Engine::Missing);
                });
                if was_present {
                    tracing::error!(
                        "KEDA is gone: the cluster has no scaledobjects.keda.sh/v1alpha1; nothing is scaled until it has"
                    );
                }
                Err(Refused { text: None })
            }
            Err(error) => Err(refused(route, "apply the ScaledObject", &error)),
        }
    }
}

fn refused(route: &Route, what: &'static str, error: &WriteError) -> Refused {
    report(route, what, error);
    let text = match error {
        WriteError::Refused(status) if error.is_verdict() => Some(status.message.clone()),
        _ => None,
    };
    Refused { text }
}

/// An apply creates what is not there, so what was not found is the kind, or the namespace.
fn is_kind_missing(error: &WriteError) -> bool {
    let WriteError::Refused(status) = error else {
        return false;
    };
    let is_namespace = status
        .details
        .as_ref()
        .is_some_and(|details| details.kind == "namespaces");
    error.is_not_found() && !is_namespace
}
