//! Carries a plan out: server-side apply, and deletes of what was seen. Called by the leader alone.

use std::{collections::HashMap, time::Duration};

use futures_util::{StreamExt, stream};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
};
use tokio::time::{Instant, timeout};

use super::{
    CALL_TIMEOUT, FIELD_MANAGER,
    desired::Desired,
    observed::WrittenObject,
    ownership::Ownership,
    plan::{Plan, Stale},
    resource::Kind,
};

/// Writes at the same time: the API server's share of one controller among others.
const PARALLEL: usize = 8;

/// The same write of an object is not repeated within this time: its echo is still on the way, or somebody else undoes it.
pub(super) const REST: Duration = Duration::from_secs(5);

/// What has been written, and what could not be.
pub(super) struct Applier {
    client: Client,
    ownership: Ownership,
    /// The last write of each object: when, and what.
    last: HashMap<WrittenObject, (Instant, String)>,
    /// What the API server says of objects that could not be written.
    refused: HashMap<WrittenObject, String>,
}

/// One write.
enum Write {
    Apply(Desired),
    Delete(Stale),
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Round {
    /// Whether something failed, or was put off.
    pub(super) is_unfinished: bool,
    /// Whether another set of objects is refused than before.
    pub(super) has_news: bool,
}

// === impl Applier ===

impl Applier {
    pub(super) fn new(client: Client, ownership: Ownership) -> Self {
        Self {
            client,
            ownership,
            last: HashMap::new(),
            refused: HashMap::new(),
        }
    }

    pub(super) fn refused(&self) -> &HashMap<WrittenObject, String> {
        &self.refused
    }

    /// Carries out what of the plan is not at rest. `version` gives the version of a kind that the cluster serves.
    pub(super) async fn carry_out(&mut self, plan: &Plan, version: impl Fn(Kind) -> &'static str) -> Round {
        let now = Instant::now();
        self.last.retain(|_, (at, _)| now - *at < REST);
        let applies = plan.apply.iter().cloned().map(Write::Apply);
        let deletes = plan.delete.iter().cloned().map(Write::Delete);
        let wanted = plan.apply.len() + plan.delete.len();
        let due: Vec<Write> = applies
            .chain(deletes)
            .filter(|write| {
                let last = self.last.get(write.object());
                last.is_none_or(|(_, what)| *what != write.fingerprint())
            })
            .collect();
        let mut is_unfinished = due.len() < wanted;
        let refused_before = std::mem::take(&mut self.refused);
        // What is still wanted and at rest stays refused.
        for desired in &plan.apply {
            if let Some(error) = refused_before.get(&desired.object) {
                self.refused.insert(desired.object.clone(), error.clone());
            }
        }
        let outcomes: Vec<(WrittenObject, String, Result<(), String>)> = stream::iter(due)
            .map(|write| {
                let version = version(write.object().kind);
                let (client, ownership) = (self.client.clone(), self.ownership.clone());
                async move {
                    let outcome = write.carry_out(client, &ownership, version).await;
                    (write.object().clone(), write.fingerprint(), outcome)
                }
            })
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        for (object, fingerprint, outcome) in outcomes {
            self.last.insert(object.clone(), (Instant::now(), fingerprint));
            match outcome {
                Ok(()) => {
                    self.refused.remove(&object);
                }
                Err(error) => {
                    is_unfinished = true;
                    if refused_before.get(&object) != Some(&error) {
                        tracing::warn!(%object, error, "gateway object could not be written");
                    }
                    self.refused.insert(object, error);
                }
            }
        }
        Round {
            is_unfinished,
            has_news: self.refused != refused_before,
        }
    }
}

// === impl Write ===

impl Write {
    fn object(&self) -> &WrittenObject {
        match self {
            Self::Apply(desired) => &desired.object,
            Self::Delete(stale) => &stale.object,
        }
    }

    /// What is done to the object.
    fn fingerprint(&self) -> String {
        match self {
            Self::Apply(desired) => desired.fingerprint(),
            Self::Delete(stale) => format!("delete {:?}", stale.uid),
        }
    }

    async fn carry_out(&self, client: Client, ownership: &Ownership, version: &str) -> Result<(), String> {
        let object = self.object();
        let resource = object.kind.api_resource(version);
        let api: Api<DynamicObject> = Api::namespaced_with(client, &object.name.namespace, &resource);
        let written = timeout(CALL_TIMEOUT, async {
            match self {
                Self::Apply(desired) => {
                    // What somebody else has made since under this name is not taken over.
                    let params = PatchParams {
                        force: desired.is_update,
                        ..PatchParams::apply(FIELD_MANAGER)
                    };
                    let manifest = desired.manifest(version, ownership);
                    api.patch(&object.name.name, &params, &Patch::Apply(manifest))
                        .await
                        .map(drop)
                }
                Self::Delete(stale) => {
                    let params = DeleteParams {
                        preconditions: Some(Preconditions {
                            uid: stale.uid.clone(),
                            resource_version: stale.resource_version.clone(),
                        }),
                        ..DeleteParams::default()
                    };
                    api.delete(&object.name.name, &params).await.map(drop)
                }
            }
        })
        .await;
        match (written, self) {
            (Ok(Ok(())), Self::Apply(_)) => tracing::info!(%object, "gateway object applied"),
            (Ok(Ok(())), Self::Delete(_)) => tracing::info!(%object, "gateway object deleted"),
            // Gone, or changed since: the watch will tell.
            (Ok(Err(kube::Error::Api(status))), Self::Delete(_)) if matches!(status.code, 404 | 409) => {}
            (Ok(Err(kube::Error::Api(status))), _) => return Err(status.message.clone()),
            (Ok(Err(error)), _) => return Err(rouse_daemon::chain::chain(&error).to_string()),
            (Err(_), _) => return Err(format!("no answer within {CALL_TIMEOUT:?}")),
        }
        Ok(())
    }
}
