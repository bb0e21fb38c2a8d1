//! Every write of the reconciler to the API server: within a term of leadership, under a timeout, counted.

use std::time::Duration;

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use rouse_api::{HTTPScaledObject, InterceptorRoute};
use rouse_routing::RouteKind;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::{ReconcileMetrics, WriteResult, Written},
    observed::{Route, ScaledObject},
    resource::{Raw, RouteObject},
    scaled_object::{DEFINITION, FIELD_MANAGER, FINALIZER, ScaledObjectResource, taken_over},
};

/// How long the API server has for one write.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a write was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The API server says no, and why.
    #[error("refused: {}", .0.message)]
    Refused(Box<kube::core::Status>),
    /// There was no answer.
    #[error("no answer within {TIMEOUT:?}")]
    Timeout,
    /// The leadership ended first.
    #[error("the leadership ended")]
    Abandoned,
    /// The API server could not be reached, or its answer not understood.
    #[error("call the API server")]
    Failed(#[source] Box<kube::Error>),
}

impl WriteError {
    /// The status code of the answer.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(status) => Some(status.code),
            _ => None,
        }
    }

    /// Whether the object, or the kind of it, is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Whether it is the API server's word on what was written, rather than its trouble: worth a condition.
    pub(crate) fn is_verdict(&self) -> bool {
        // 409: somebody else has written meanwhile. 429 and above 500: too busy; a webhook that cannot be called is a 500.
        self.code()
            .is_some_and(|code| code != 409 && code != 429 && code <= 500)
    }
}

/// Writes while a term lasts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Writer {
    client: Client,
    term: CancellationToken,
    metrics: ReconcileMetrics,
}

impl Writer {
    pub(crate) fn new(client: Client, term: CancellationToken, metrics: ReconcileMetrics) -> Self {
        Self {
            client,
            term,
            metrics,
        }
    }

    /// Applies a ScaledObject. Returns it as it is now.
    pub(crate) async fn apply_scaled_object(
        &self,
        route: &Route,
        desired: &Value,
    ) -> Result<ScaledObject, WriteError> {
        let api = self.scaled_objects(route);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(desired);
        let request = api.patch(&route.id.name, &parameters, &patch);
        self.write(Written::ScaledObject, request)
            .await
            .map(|object| read(&object))
    }

    /// Makes Rouse's what the add-on's operator wrote of a ScaledObject, if it did, so that the next apply says all of it.
    pub(crate) async fn take_over(&self, route: &Route) -> Result<(), WriteError> {
        let api = self.scaled_objects(route);
        let live = self.call(api.get_opt(&route.id.name)).await?;
        let Some(live) = live else { return Ok(()) };
        let Some(managers) = taken_over(&live.metadata, &route.uid) else {
            return Ok(());
        };
        let patch = json!({
            "metadata": { "resourceVersion": live.metadata.resource_version, "managedFields": managers },
        });
        let (parameters, patch) = (manager(), Patch::Merge(&patch));
        let request = api.patch_metadata(&route.id.name, &parameters, &patch);
        self.write(Written::ScaledObject, request).await.map(drop)
    }

    /// Takes the route out of a ScaledObject's owners, so that it outlives the route. Returns it as it is now.
    pub(crate) async fn orphan(
        &self,
        route: &Route,
        scaled_object: &ScaledObject,
    ) -> Result<ScaledObject, WriteError> {
        let owners = scaled_object.content.pointer("/metadata/ownerReferences");
        let kept: Vec<&Value> = owners
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(|owner| owner.get("uid").and_then(Value::as_str) != Some(&*route.uid))
            .collect();
        let patch = json!({
            "metadata": {
                "uid": scaled_object.uid,
                "resourceVersion": scaled_object.resource_version,
                "ownerReferences": kept,
            },
        });
        let api = self.scaled_objects(route);
        let (parameters, patch) = (manager(), Patch::Merge(&patch));
        let request = api.patch(&route.id.name, &parameters, &patch);
        self.write(Written::ScaledObject, request)
            .await
            .map(|object| read(&object))
    }

    /// Deletes the route's ScaledObject, unless it has been replaced by another one meanwhile.
    pub(crate) async fn delete_scaled_object(
        &self,
        route: &Route,
        scaled_object: &ScaledObject,
    ) -> Result<(), WriteError> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(scaled_object.uid.to_string()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let api = self.scaled_objects(route);
        let request = api.delete(&route.id.name, &parameters);
        match self.write(Written::ScaledObject, request).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(drop),
        }
    }

    /// Whether KEDA's definition is being deleted, and with it all ScaledObjects. Nothing takes that back.
    pub(crate) async fn is_engine_going(&self) -> Result<bool, WriteError> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let definition = self.call(api.get_metadata_opt(DEFINITION)).await?;
        Ok(definition.is_some_and(|definition| definition.metadata.deletion_timestamp.is_some()))
    }

    /// Takes KEDA's finalizer off a ScaledObject that is being deleted. Says whether it was there.
    pub(crate) async fn take_engines_finalizer_off(
        &self,
        scaled_object: &ScaledObject,
    ) -> Result<bool, WriteError> {
        let name = &scaled_object.name;
        let api: Api<ScaledObjectResource> = Api::namespaced(self.client.clone(), &name.namespace);
        let Some(live) = self.call(api.get_metadata_opt(&name.name)).await? else {
            return Ok(false);
        };
        let ObjectMeta {
            uid,
            resource_version,
            deletion_timestamp,
            finalizers,
            ..
        } = live.metadata;
        let finalizers = finalizers.unwrap_or_default();
        let is_the_same = uid.as_deref() == Some(&*scaled_object.uid) && deletion_timestamp.is_some();
        if !is_the_same || !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(false);
        }
        let kept: Vec<String> = finalizers
            .into_iter()
            .filter(|finalizer| finalizer != FINALIZER)
            .collect();
        let patch = json!({
            "metadata": { "uid": uid, "resourceVersion": resource_version, "finalizers": kept },
        });
        let (parameters, patch) = (manager(), Patch::Merge(&patch));
        let request = api.patch_metadata(&name.name, &parameters, &patch);
        match self.write(Written::Finalizers, request).await {
            // Without its last finalizer it is gone.
            Err(error) if error.is_not_found() => Ok(true),
            result => result.map(|_| true),
        }
    }

    /// Applies a route's status. Returns the route as it is now. Needs no spec that can be read.
    pub(crate) async fn apply_status(&self, route: &Route, status: &Value) -> Result<Route, WriteError> {
        match route.id.kind {
            RouteKind::HttpScaledObject => self.status_of::<HTTPScaledObject>(route, status).await,
            RouteKind::InterceptorRoute => self.status_of::<InterceptorRoute>(route, status).await,
        }
    }

    /// Replaces a route's finalizers. Returns the route as it is now.
    pub(crate) async fn set_finalizers(
        &self,
        route: &Route,
        finalizers: &[&String],
    ) -> Result<(), WriteError> {
        match route.id.kind {
            RouteKind::HttpScaledObject => self.finalizers_of::<HTTPScaledObject>(route, finalizers).await,
            RouteKind::InterceptorRoute => self.finalizers_of::<InterceptorRoute>(route, finalizers).await,
        }
    }

    async fn status_of<K>(&self, route: &Route, status: &Value) -> Result<Route, WriteError>
    where
        K: RouteObject<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let api: Api<Raw<K>> = Api::namespaced(self.client.clone(), &route.id.namespace);
        let body = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            // With the uid: an object that was made anew under this name gets its own.
            "metadata": { "name": &*route.id.name, "uid": &*route.uid },
            "status": status,
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&body);
        let request = api.patch_status(&route.id.name, &parameters, &patch);
        self.write(Written::Status, request)
            .await
            .map(|object| object.route())
    }

    async fn finalizers_of<K>(&self, route: &Route, finalizers: &[&String]) -> Result<(), WriteError>
    where
        K: RouteObject<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let api: Api<Raw<K>> = Api::namespaced(self.client.clone(), &route.id.namespace);
        let patch = json!({
            "metadata": {
                "uid": &*route.uid,
                "resourceVersion": &*route.resource_version,
                "finalizers": finalizers,
            },
        });
        let (parameters, patch) = (manager(), Patch::Merge(&patch));
        let request = api.patch_metadata(&route.id.name, &parameters, &patch);
        match self.write(Written::Finalizers, request).await {
            // Without its last finalizer an object that is being deleted is gone.
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(drop),
        }
    }

    fn scaled_objects(&self, route: &Route) -> Api<ScaledObjectResource> {
        Api::namespaced(self.client.clone(), &route.id.namespace)
    }

    async fn write<T>(
        &self,
        object: Written,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, WriteError> {
        let result = self.call(request).await;
        self.metrics.wrote(
            object,
            match &result {
                Ok(_) => WriteResult::Ok,
                Err(WriteError::Refused(_) | WriteError::Failed(_)) => WriteResult::Error,
                Err(WriteError::Timeout) => WriteResult::Timeout,
                Err(WriteError::Abandoned) => WriteResult::Abandoned,
            },
        );
        result
    }

    async fn call<T>(&self, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, WriteError> {
        let answer = tokio::select! {
            biased;
            () = self.term.cancelled() => return Err(WriteError::Abandoned),
            answer = timeout(TIMEOUT, request) => answer,
        };
        match answer {
            Ok(Ok(object)) => Ok(object),
            Ok(Err(kube::Error::Api(status))) => Err(WriteError::Refused(status)),
            Ok(Err(error)) => Err(WriteError::Failed(Box::new(error))),
            Err(_elapsed) => Err(WriteError::Timeout),
        }
    }
}

fn manager() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

fn read(object: &ScaledObjectResource) -> ScaledObject {
    ScaledObject::read(&object.metadata, &object.spec, &object.status)
}
