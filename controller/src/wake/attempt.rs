//! One attempt to wake a workload: look at what there is now, not at what was heard of it, and write at most once.

use std::time::Duration;

use futures_util::future::try_join_all;
use k8s_openapi::api::autoscaling::v1::Scale;
use kube::{
    Api, Client,
    api::{DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
    discovery,
};
use tokio::time::timeout;

use super::{candidate::Candidate, pause::stops_scale_out};
use crate::{
    observed::{ObjectName, Workload, WorkloadKind},
    scaled_object::{FIELD_MANAGER, ScaledObjectResource},
};

/// How long the API server has for one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a write is tried that others come before.
const WRITES: usize = 3;

/// The most that is ever written: KEDA and the autoscaler take it from there.
const WOKEN: i32 = 1;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// Written from 0 to 1.
    Scaled,
    /// It has replicas, or will have: KEDA has acted.
    Acted,
    /// A ScaledObject of it is paused.
    Paused,
    /// There is no such workload, or it cannot be scaled.
    Missing,
    /// Somebody else wrote to it at the same time, again and again.
    Conflict,
    /// The API server refused, or did not answer.
    Failed,
}

impl Outcome {
    pub(crate) const ALL: [Self; 6] = [
        Self::Scaled,
        Self::Acted,
        Self::Paused,
        Self::Missing,
        Self::Conflict,
        Self::Failed,
    ];

    /// The metric's label.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Scaled => "scaled",
            Self::Acted => "acted",
            Self::Paused => "paused",
            Self::Missing => "missing",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
        }
    }
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("{0}: no answer within {CALL_TIMEOUT:?}")]
    Timeout(&'static str),
    #[error("{0}")]
    Refused(&'static str, #[source] kube::Error),
}

impl CallError {
    fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(_, kube::Error::Api(status)) => Some(status.code),
            Self::Timeout(_) | Self::Refused(..) => None,
        }
    }
}

/// Wakes the workload if it is at zero and nobody has paused it.
///
/// # Cancel safety
///
/// Dropped while the write is under way, it is not known whether it was made; the next attempt sees it.
pub(crate) async fn wake(client: &Client, candidate: &Candidate) -> Result<Outcome, CallError> {
    let workload = &candidate.workload;
    let read = async {
        let Some(resource) = scalable(client, &workload.kind).await? else {
            return Ok(None);
        };
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &workload.namespace, &resource);
        let scale = read_scale(&api, workload).await?;
        Ok(scale.map(|scale| (api, scale)))
    };
    // At once: requests are held for as long as this takes.
    let (is_paused, read) = tokio::join!(is_any_paused(client, &candidate.scaled_objects), read);
    if is_paused? {
        return Ok(Outcome::Paused);
    }
    let Some((api, mut scale)) = read? else {
        return Ok(Outcome::Missing);
    };
    for tried in 0..WRITES {
        if tried > 0 {
            let Some(current) = read_scale(&api, workload).await? else {
                return Ok(Outcome::Missing);
            };
            scale = current;
        }
        let spec = scale.spec.get_or_insert_default();
        // The API server leaves a zero out.
        if spec.replicas.unwrap_or(0) != 0 {
            return Ok(Outcome::Acted);
        }
        spec.replicas = Some(WOKEN);
        // It carries the version that was read: whoever wrote since then has come first.
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let written = call(
            "write the scale",
            api.replace_scale(&workload.name, &params, &scale),
        );
        match written.await {
            Ok(_) => return Ok(Outcome::Scaled),
            Err(error) if error.code() == Some(409) => {}
            Err(error) if error.code() == Some(404) => return Ok(Outcome::Missing),
            Err(error) => return Err(error),
        }
    }
    Ok(Outcome::Conflict)
}

async fn read_scale(api: &Api<DynamicObject>, workload: &Workload) -> Result<Option<Scale>, CallError> {
    found(call("read the scale", api.get_scale(&workload.name)).await)
}

async fn is_any_paused(client: &Client, names: &[ObjectName]) -> Result<bool, CallError> {
    let looks = names.iter().map(|name| is_paused(client, name));
    let paused = try_join_all(looks).await?;
    Ok(paused.contains(&true))
}

/// Asked for anew: a pause that a watch has not brought yet counts too. One that is gone stops nothing.
async fn is_paused(client: &Client, name: &ObjectName) -> Result<bool, CallError> {
    let api: Api<ScaledObjectResource> = Api::namespaced(client.clone(), &name.namespace);
    let scaled_object = found(call("read the ScaledObject", api.get_metadata(&name.name)).await)?;
    let annotations = scaled_object.and_then(|scaled_object| scaled_object.metadata.annotations);
    Ok(annotations.is_some_and(|annotations| stops_scale_out(&annotations)))
}

/// What the API server calls objects of the kind; `None` if it has none.
async fn scalable(client: &Client, kind: &WorkloadKind) -> Result<Option<ApiResource>, CallError> {
    if &*kind.group == "apps" {
        let kind = GroupVersionKind::gvk("apps", "v1", &kind.kind);
        return Ok(Some(ApiResource::from_gvk(&kind)));
    }
    let group = match call("look the kind up", discovery::group(client, &kind.group)).await {
        Err(CallError::Refused(_, kube::Error::Discovery(_))) => return Ok(None),
        group => found(group)?,
    };
    let resource = group.and_then(|group| group.recommended_kind(&kind.kind));
    Ok(resource.map(|(resource, _)| resource))
}

async fn call<T>(
    what: &'static str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, CallError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(|error| CallError::Refused(what, error)),
        Err(_elapsed) => Err(CallError::Timeout(what)),
    }
}

/// `None` for what is not there.
fn found<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
