use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, api::DeleteParams};
use rouse_daemon::metrics::Metrics;
use rouse_fake_api_server::FakeApiServer;
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    metrics::ReconcileMetrics,
    queue::Requeue,
    scaled_object::{DEFINITION, FIELD_MANAGER, FINALIZER, ScaledObjectResource},
};

struct World {
    server: FakeApiServer,
    observed: SharedObserved,
    writer: Writer,
}

impl World {
    /// A cluster with KEDA's definition, which has the finalizer that the API server itself gives it.
    async fn new() -> Self {
        let server = FakeApiServer::start().await;
        server.apply_json(json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": DEFINITION, "finalizers": ["customresourcecleanup.apiextensions.k8s.io"] },
            "spec": {
                "group": "keda.sh", "scope": "Namespaced",
                "names": { "kind": "ScaledObject", "plural": "scaledobjects" },
                "versions": [{ "name": "v1alpha1", "served": true, "storage": true, "subresources": { "status": {} } }],
            },
        }));
        let requeue = Requeue::default();
        let observed = SharedObserved::new(requeue.clone());
        let metrics = ReconcileMetrics::new(&Metrics::new(), observed.clone(), requeue);
        let writer = Writer::new(server.memory_client(), CancellationToken::new(), metrics);
        Self {
            server,
            observed,
            writer,
        }
    }

    /// A ScaledObject with KEDA's finalizer and another, which is being deleted.
    async fn going(&self, namespace: &str, name: &str, manager: &str, trigger: &str) {
        self.server.apply_json(json!({
            "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
            "metadata": {
                "namespace": namespace, "name": name, "finalizers": [FINALIZER, "example.com/another"],
                "managedFields": [{
                    "manager": manager, "operation": "Apply", "apiVersion": "keda.sh/v1alpha1",
                    "fieldsType": "FieldsV1", "fieldsV1": {},
                }],
            },
            "spec": { "triggers": [{ "type": "external", "metadata": { trigger: "1" } }] },
        }));
        let api = self.scaled_objects(namespace);
        api.delete(name, &DeleteParams::default()).await.unwrap();
        let object = api.get(name).await.unwrap();
        let object = ScaledObject::read(&object.metadata, &object.spec, &object.status);
        assert!(object.is_deleting);
        self.observed
            .update(|observed| observed.apply_scaled_object(object));
    }

    async fn delete_definition(&self) {
        let api: Api<CustomResourceDefinition> = Api::all(self.server.memory_client());
        api.delete(DEFINITION, &DeleteParams::default()).await.unwrap();
    }

    async fn finalizers(&self, namespace: &str, name: &str) -> Vec<String> {
        let object = self.scaled_objects(namespace).get(name).await.unwrap();
        object.metadata.finalizers.unwrap_or_default()
    }

    fn scaled_objects(&self, namespace: &str) -> Api<ScaledObjectResource> {
        Api::namespaced(self.server.memory_client(), namespace)
    }

    async fn watch_for(&self, duration: Duration) {
        let watched = timeout(duration, watch(&self.observed, "keda", &self.writer)).await;
        assert!(watched.is_err(), "it never ends by itself");
    }
}

#[tokio::test(start_paused = true)]
async fn keda_has_a_while_and_then_its_finalizer_is_taken_off_rouses_own() {
    let world = World::new().await;
    world
        .going("team", "app", FIELD_MANAGER, "httpScaledObject")
        .await;
    world
        .going("keda", "interceptors", "helm", INTERCEPTORS_TRIGGER)
        .await;
    world
        .going("team", "users-own", "kubectl", "httpScaledObject")
        .await;
    world
        .going("team", "named-alike", "kubectl", INTERCEPTORS_TRIGGER)
        .await;
    world.delete_definition().await;

    world.watch_for(PATIENCE).await;
    assert_eq!(world.finalizers("team", "app").await.len(), 2, "KEDA has a while");
    world.watch_for(PATIENCE + 3 * PERIOD).await;
    for (namespace, name) in [("team", "app"), ("keda", "interceptors")] {
        let left = world.finalizers(namespace, name).await;
        assert_eq!(left, ["example.com/another"], "{namespace}/{name}");
    }
    for name in ["users-own", "named-alike"] {
        assert_eq!(
            world.finalizers("team", name).await.len(),
            2,
            "{name} is not Rouse's"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_definition_stays_the_finalizer_is_kedas() {
    let world = World::new().await;
    world
        .going("team", "app", FIELD_MANAGER, "httpScaledObject")
        .await;
    world.watch_for(PATIENCE * 4).await;
    assert_eq!(world.finalizers("team", "app").await.len(), 2);
}
