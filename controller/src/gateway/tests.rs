//! The gateway part at work, against an API server in memory and under paused time.

mod objects;
mod trouble;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use clap::{Args as _, FromArgMatches as _};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject},
};
use rouse_daemon::metrics::Metrics;
use rouse_fake_api_server::{FakeApiServer, Fault, Verb};
use rouse_kubernetes::lease::Leadership;
use rouse_routing::{RouteId, RouteKind};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{GatewaySettings, ScopeWatch, resource::Kind, run::GatewayConditions, start};
use crate::{
    condition::{ConditionSource, Finding, Status},
    event,
    observed::{ObjectName, Route, SharedObserved},
    parts::Parts,
    queue::Requeue,
};

const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// A controller of which only the gateway part runs.
struct Controller {
    parts: Parts,
    leadership: watch::Sender<Leadership>,
    conditions: GatewayConditions,
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.parts.shutdown.cancel();
    }
}

fn settings() -> GatewaySettings {
    GatewaySettings {
        interceptor: ObjectName::new("keda", "keda-add-ons-http-interceptor-proxy"),
        interceptor_port: 8080,
        default_gateway: None,
        hold: Duration::from_mins(6),
        request_timeout: None,
    }
}

impl Controller {
    fn leading(server: &FakeApiServer, settings: GatewaySettings, routes: &[Value]) -> Self {
        Self::start(server, settings, ScopeWatch::All, routes, true)
    }

    fn start(
        server: &FakeApiServer,
        settings: GatewaySettings,
        scope: ScopeWatch,
        routes: &[Value],
        is_leader: bool,
    ) -> Self {
        let (leadership, is_leading) = watch::channel(Leadership::Standby);
        if is_leader {
            leadership.send_replace(Leadership::Leader(CancellationToken::new()));
        }
        let metrics = Metrics::new();
        let (events, publisher) = event::channel(&metrics);
        let requeue = Requeue::default();
        let parts = Parts {
            client: server.memory_client(),
            observed: SharedObserved::new(requeue.clone()),
            requeue,
            leadership: is_leading,
            events,
            metrics,
            shutdown: CancellationToken::new(),
        };
        tokio::spawn(publisher.run(server.memory_client(), "test".to_owned(), parts.shutdown.clone()));
        let controller = Self {
            conditions: start(&parts, settings, scope),
            parts,
            leadership,
        };
        for route in routes {
            controller.apply_route(route);
        }
        controller
    }

    fn apply_route(&self, object: &Value) {
        let mut metadata = object["metadata"].clone();
        metadata["uid"] = json!(format!("uid-{}", metadata["name"]));
        metadata["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        let metadata = serde_json::from_value(metadata).unwrap();
        let route = Route::read(
            RouteKind::HttpScaledObject,
            &metadata,
            &object["spec"],
            &Value::Null,
        );
        self.parts.observed.update(|observed| observed.apply_route(route));
    }

    fn delete_route(&self, namespace: &str, name: &str) {
        let id = RouteId::new(RouteKind::HttpScaledObject, namespace, name);
        self.parts.observed.update(|observed| observed.delete_route(&id));
    }

    fn condition(&self, namespace: &str, name: &str) -> Option<Finding> {
        let id = RouteId::new(RouteKind::HttpScaledObject, namespace, name);
        self.conditions.condition(&id)
    }

    async fn until_condition(&self, status: Status, reason: &str) {
        let what = format!("the condition is {status} {reason}");
        let requeued = async {
            loop {
                let finding = self.condition("team", "bot");
                if finding.is_some_and(|finding| finding.status == status && finding.reason == reason) {
                    return;
                }
                // Whoever writes conditions is told of each change.
                let id = self.parts.requeue.next().await;
                self.parts.requeue.done(&id, crate::queue::Outcome::Settled);
            }
        };
        let requeued = tokio::time::timeout(Duration::from_secs(30), requeued);
        assert!(
            requeued.await.is_ok(),
            "{what}: {:?}",
            self.condition("team", "bot")
        );
    }
}

// === objects ===

async fn server() -> FakeApiServer {
    let server = FakeApiServer::start().await;
    server.apply_json(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "keda", "name": "keda-add-ons-http-interceptor-proxy"},
    }));
    add_gateway(&server);
    server
}

fn add_gateway(server: &FakeApiServer) {
    server.apply_json(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
        "metadata": {"name": "eg"},
        "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
    }));
    server.apply_json(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"namespace": "infra", "name": "main"},
        "spec": {"gatewayClassName": "eg"},
    }));
}

fn http_route(namespace: &str, name: &str, host: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "parentRefs": [{"namespace": "infra", "name": "main"}],
            "hostnames": [host],
            "rules": [{"backendRefs": [
                {"namespace": "keda", "name": "keda-add-ons-http-interceptor-proxy", "port": 8080},
            ]}],
        },
    })
}

fn with_status(mut route: Value, accepted: &str) -> Value {
    route["status"] = json!({"parents": [{
        "controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
        "parentRef": {"namespace": "infra", "name": "main"},
        "conditions": [{"type": "Accepted", "status": accepted, "reason": "Because", "message": "so"}],
    }]});
    route
}

fn scaled_object(namespace: &str, name: &str, host: &str) -> Value {
    json!({
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"hosts": [host], "scaleTargetRef": {"name": name, "service": name, "port": 80}},
    })
}

fn grant(server: &FakeApiServer, namespace: &str) -> Option<Value> {
    server.get_json(
        "referencegrants",
        "keda",
        &format!("rouse-httproutes-{namespace}"),
    )
}

fn policy(server: &FakeApiServer, namespace: &str, route: &str) -> Option<Value> {
    server.get_json(
        "backendtrafficpolicies",
        namespace,
        &format!("rouse-timeout-{route}"),
    )
}

async fn until_written(server: &FakeApiServer, namespace: &str, route: &str) {
    server
        .eventually("a grant and a policy are there", |server| {
            grant(server, namespace).is_some() && policy(server, namespace, route).is_some()
        })
        .await;
}

async fn delete(server: &FakeApiServer, kind: Kind, namespace: &str, name: &str) {
    let resource = kind.api_resource(kind.versions().first().unwrap());
    let api: Api<DynamicObject> = Api::namespaced_with(server.memory_client(), namespace, &resource);
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

/// Writes of gateway objects, as `Verb plural namespace/name`.
fn gateway_writes(server: &FakeApiServer) -> Vec<String> {
    let kinds = ["httproutes", "referencegrants", "backendtrafficpolicies"];
    server
        .writes()
        .iter()
        .filter(|record| kinds.contains(&record.resource.as_str()))
        .map(|record| {
            format!(
                "{:?} {} {}/{}",
                record.verb, record.resource, record.namespace, record.name
            )
        })
        .collect()
}
