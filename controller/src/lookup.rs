//! Looks for workloads of kinds that are not watched: anything with a scale subresource may be one, and a watch of
//! everything would be a watch too many for the few that are neither Deployments nor StatefulSets.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kube::{
    Api, Client, api::ApiResource, core::DynamicObject, core::GroupVersionKind, discovery::pinned_kind,
};
use parking_lot::Mutex;
use rouse_daemon::chain::chain;
use tokio::time::{Instant, timeout};

use crate::observed::{Existence, Workload};

/// How long the API server has for a lookup.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long it is remembered which resource a kind is, or that it is none.
const REMEMBERED: Duration = Duration::from_mins(5);

/// Kinds remembered. When they are more the memory begins anew.
const MAX_KINDS: usize = 1024;

/// Finds workloads by kind and name.
pub(crate) struct Lookup {
    client: Client,
    /// What was found, by API version and kind, and when.
    kinds: Mutex<HashMap<(String, String), (Known, Instant)>>,
}

/// What the API server says of a kind.
#[derive(Debug, Clone)]
enum Known {
    Resource(ApiResource),
    /// There is no such kind.
    Missing,
    /// It may not be asked about.
    Refused(Arc<str>),
}

impl Lookup {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            kinds: Mutex::default(),
        }
    }

    /// Whether the workload is there. The tenant's words get into the path of a request that is made with the
    /// controller's rights, so what cannot be a name is nowhere, and nobody is asked.
    pub(crate) async fn find(&self, workload: &Workload, api_version: &str) -> Existence {
        if !can_exist(api_version, &workload.kind.kind, &workload.name) {
            return Existence::Missing;
        }
        match timeout(TIMEOUT, self.look(workload, api_version)).await {
            Ok(Ok(existence)) => existence,
            Ok(Err(kube::Error::Api(status))) => Existence::Unknown(status.message.as_str().into()),
            Ok(Err(error)) => Existence::Unknown(chain(&error).to_string().into()),
            Err(_elapsed) => Existence::Unknown("the API server did not answer in time".into()),
        }
    }

    async fn look(&self, workload: &Workload, api_version: &str) -> Result<Existence, kube::Error> {
        let resource = match self.known(api_version, &workload.kind.kind).await? {
            Known::Resource(resource) => resource,
            Known::Missing => return Ok(Existence::Missing),
            Known::Refused(message) => return Ok(Existence::Unknown(message)),
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &workload.namespace, &resource);
        Ok(match api.get_metadata_opt(&workload.name).await? {
            Some(_) => Existence::Exists,
            None => Existence::Missing,
        })
    }

    /// What is known of a kind. A refusal is remembered like an answer: many routes may name the kind.
    async fn known(&self, api_version: &str, kind: &str) -> Result<Known, kube::Error> {
        let key = (api_version.to_owned(), kind.to_owned());
        let remembered = self.kinds.lock().get(&key).cloned();
        if let Some((known, found_at)) = remembered
            && found_at.elapsed() < REMEMBERED
        {
            return Ok(known);
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let known = match pinned_kind(&self.client, &gvk).await {
            Ok((resource, _)) => Known::Resource(resource),
            Err(kube::Error::Discovery(_)) => Known::Missing,
            Err(kube::Error::Api(status)) if status.code == 404 => Known::Missing,
            Err(kube::Error::Api(status)) if status.code == 403 => {
                Known::Refused(status.message.as_str().into())
            }
            Err(error) => return Err(error),
        };
        let mut kinds = self.kinds.lock();
        if kinds.len() >= MAX_KINDS {
            kinds.clear();
        }
        kinds.insert(key, (known.clone(), Instant::now()));
        Ok(known)
    }
}

/// Whether there can be an object of this kind and name: letters and digits, and in groups and names what separates them.
fn can_exist(api_version: &str, kind: &str, name: &str) -> bool {
    let is_word =
        |text: &str| (1..=63).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_name = |text: &str| {
        (1..=253).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
    };
    let (group, version) = match api_version.split_once('/') {
        Some((group, version)) => (Some(group), version),
        None => (None, api_version),
    };
    group.is_none_or(is_name) && is_word(version) && is_word(kind) && is_name(name)
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rouse_fake_api_server::FakeApiServer;

    use super::*;
    use crate::observed::WorkloadKind;

    async fn find(lookup: &Lookup, api_version: &str, kind: &str, name: &str) -> Existence {
        let kind = WorkloadKind::of(api_version, kind);
        let workload = Workload::new(&Arc::from("team"), kind, name);
        lookup.find(&workload, api_version).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_a_name_is_asked_for_nowhere() {
        let server = FakeApiServer::start().await;
        let lookup = Lookup::new(server.memory_client());
        for (api_version, kind, name) in [
            ("apps/v1/deployments?watch=true", "Deployment", "bot"),
            ("apps/v1?watch=true", "Deployment", "bot"),
            ("apps/v1#", "Deployment", "bot"),
            ("../v1", "Pod", "bot"),
            ("/v1", "Pod", "bot"),
            ("apps/", "Deployment", "bot"),
            ("apps/v1", "Deployment/scale", "bot"),
            ("apps/v1", "", "bot"),
            ("apps/v1", "Deployment", "../../kube-system/deployments/dns"),
            ("apps/v1", "Deployment", ".."),
            ("apps/v1", "Deployment", "bot?watch=true"),
        ] {
            let found = find(&lookup, api_version, kind, name).await;
            assert_eq!(found, Existence::Missing, "{api_version} {kind} {name}");
        }
        assert!(server.requests().is_empty(), "{:?}", server.requests());
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_not_there_is_remembered_for_a_while() {
        let server = FakeApiServer::start().await;
        let lookup = Lookup::new(server.memory_client());
        for name in ["one", "two", "three"] {
            let found = find(&lookup, "absent.example.com/v1", "Nothing", name).await;
            assert_eq!(found, Existence::Missing);
        }
        let asked = server.requests().len();
        assert_eq!(asked, 1, "{:?}", server.requests());
        tokio::time::advance(REMEMBERED).await;
        find(&lookup, "absent.example.com/v1", "Nothing", "one").await;
        assert_eq!(server.requests().len(), 2);
    }
}
