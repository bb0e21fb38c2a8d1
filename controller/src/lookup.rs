//! Looks for workloads of kinds that are not watched: anything with a scale subresource may be one, and a watch of
//! everything would be a watch too many for the few that are neither Deployments nor StatefulSets.

use std::{collections::HashMap, time::Duration};

use kube::{
    Api, Client, api::ApiResource, core::DynamicObject, core::GroupVersionKind, discovery::pinned_kind,
};
use parking_lot::Mutex;
use rouse_daemon::chain::chain;
use tokio::time::{Instant, timeout};

use crate::observed::{Existence, Workload};

/// How long the API server has for a lookup.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long it is remembered which resource a kind is.
const REMEMBERED: Duration = Duration::from_mins(5);

/// Kinds remembered. When they are more the memory begins anew.
const MAX_KINDS: usize = 64;

/// Finds workloads by kind and name.
pub(crate) struct Lookup {
    client: Client,
    /// Resources by API version and kind, with when they were found.
    resources: Mutex<HashMap<(String, String), (ApiResource, Instant)>>,
}

impl Lookup {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            resources: Mutex::default(),
        }
    }

    /// Whether the workload is there.
    pub(crate) async fn find(&self, workload: &Workload, api_version: &str) -> Existence {
        match timeout(TIMEOUT, self.look(workload, api_version)).await {
            Ok(Ok(true)) => Existence::Exists,
            Ok(Ok(false)) => Existence::Missing,
            Ok(Err(kube::Error::Api(status))) => Existence::Unknown(status.message.as_str().into()),
            Ok(Err(error)) => Existence::Unknown(chain(&error).to_string().into()),
            Err(_elapsed) => Existence::Unknown("the API server did not answer in time".into()),
        }
    }

    async fn look(&self, workload: &Workload, api_version: &str) -> Result<bool, kube::Error> {
        let Some(resource) = self.resource(api_version, &workload.kind.kind).await? else {
            return Ok(false);
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &workload.namespace, &resource);
        let found = api.get_metadata_opt(&workload.name).await?;
        Ok(found.is_some())
    }

    /// The resource of a kind; none where the API server does not know the kind.
    async fn resource(&self, api_version: &str, kind: &str) -> Result<Option<ApiResource>, kube::Error> {
        let key = (api_version.to_owned(), kind.to_owned());
        let known = self.resources.lock().get(&key).cloned();
        if let Some((resource, found_at)) = known
            && found_at.elapsed() < REMEMBERED
        {
            return Ok(Some(resource));
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        match pinned_kind(&self.client, &gvk).await {
            Ok((resource, _)) => {
                let mut resources = self.resources.lock();
                if resources.len() >= MAX_KINDS {
                    resources.clear();
                }
                resources.insert(key, (resource.clone(), Instant::now()));
                Ok(Some(resource))
            }
            Err(kube::Error::Discovery(_)) => Ok(None),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}
