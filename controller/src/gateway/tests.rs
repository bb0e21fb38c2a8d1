//! The gateway part at work, against an API server in memory and under paused time.

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

use super::{GatewayConditions, GatewaySettings, ScopeWatch, resource::Kind, start};
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
    server: FakeApiServer,
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
            server: server.clone(),
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

// === tests ===

#[tokio::test(start_paused = true)]
async fn a_users_route_is_permitted_and_not_cut_off() {
    let server = server().await;
    let controller = Controller::leading(&server, settings(), &[scaled_object("team", "bot", "bot.test")]);
    server.apply_json(http_route("team", "bot", "bot.test"));
    until_written(&server, "team", "bot").await;
    let policy = policy(&server, "team", "bot").unwrap();
    assert_eq!(policy["spec"]["timeout"]["http"]["requestTimeout"], "0s");
    let grant = grant(&server, "team").unwrap();
    assert_eq!(grant["apiVersion"], "gateway.networking.k8s.io/v1");
    assert_eq!(
        grant["metadata"]["labels"]["app.kubernetes.io/managed-by"],
        "rouse"
    );
    for record in server.changes() {
        assert_eq!(record.field_manager, "rouse-controller", "{record:?}");
    }
    controller.until_condition(Status::Unknown, "Pending").await;
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "True"));
    controller.until_condition(Status::True, "Routed").await;
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "False"));
    controller
        .until_condition(Status::False, "RouteNotAccepted")
        .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_where_nothing_changed() {
    let server = server().await;
    let _controller = Controller::leading(&server, settings(), &[]);
    server.apply_json(http_route("team", "bot", "bot.test"));
    until_written(&server, "team", "bot").await;
    server.clear_requests();
    // Every round looks at everything: this one finds the first namespace as it should be.
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "True"));
    server.apply_json(http_route("other", "bot", "other.test"));
    until_written(&server, "other", "bot").await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let mut writes = gateway_writes(&server);
    writes.sort();
    assert_eq!(
        writes,
        [
            "Patch backendtrafficpolicies other/rouse-timeout-bot",
            "Patch referencegrants keda/rouse-httproutes-other"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_permission_goes_with_the_last_route_and_the_policy_with_its_own() {
    let server = server().await;
    let _controller = Controller::leading(&server, settings(), &[]);
    server.apply_json(http_route("team", "one", "one.test"));
    server.apply_json(http_route("team", "two", "two.test"));
    until_written(&server, "team", "one").await;
    until_written(&server, "team", "two").await;
    delete(&server, Kind::HttpRoute, "team", "one").await;
    server
        .eventually("the policy is gone", |server| {
            policy(server, "team", "one").is_none()
        })
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(grant(&server, "team").is_some());
    delete(&server, Kind::HttpRoute, "team", "two").await;
    server
        .eventually("the grant is gone", |server| grant(server, "team").is_none())
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_wanted_goes_after_a_restart() {
    let server = server().await;
    let first = Controller::leading(&server, settings(), &[]);
    server.apply_json(http_route("team", "bot", "bot.test"));
    until_written(&server, "team", "bot").await;
    drop(first);
    delete(&server, Kind::HttpRoute, "team", "bot").await;
    let _second = Controller::leading(&server, settings(), &[]);
    server
        .eventually("the grant is gone", |server| grant(server, "team").is_none())
        .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_before_every_route_is_known() {
    let server = server().await;
    let first = Controller::leading(&server, settings(), &[]);
    server.apply_json(http_route("team", "bot", "bot.test"));
    until_written(&server, "team", "bot").await;
    drop(first);
    server.clear_requests();
    server.inject(Fault::hang().on("httproutes").always());
    let _second = Controller::leading(&server, settings(), &[]);
    server.wait_for_watches("referencegrants", 1).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(gateway_writes(&server), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_the_gateway_api_is_looked_at_now_and_then() {
    let server = server().await;
    server.remove_group(GATEWAY_API);
    let controller = Controller::leading(&server, settings(), &[scaled_object("team", "bot", "bot.test")]);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(controller.condition("team", "bot"), None);
    // Four kinds in two versions each, every ten seconds.
    let asked = server
        .requests()
        .iter()
        .filter(|record| record.path.starts_with("/apis/gateway.networking.k8s.io"))
        .count();
    assert!((10..=100).contains(&asked), "{asked} requests in 100 s");
    server.add_group(GATEWAY_API);
    add_gateway(&server);
    server.apply_json(http_route("team", "bot", "bot.test"));
    until_written(&server, "team", "bot").await;
}

#[tokio::test(start_paused = true)]
async fn without_envoy_gateways_kinds_there_is_a_permission_alone() {
    let server = server().await;
    server.remove_group("gateway.envoyproxy.io");
    let _controller = Controller::leading(&server, settings(), &[]);
    server.apply_json(http_route("team", "bot", "bot.test"));
    server
        .eventually("a grant is there", |server| grant(server, "team").is_some())
        .await;
    server.add_group("gateway.envoyproxy.io");
    until_written(&server, "team", "bot").await;
}

#[tokio::test(start_paused = true)]
async fn an_older_gateway_api_gets_its_own_version() {
    let server = server().await;
    server.remove_kind("referencegrants");
    server.add_kind(rouse_fake_api_server::Kind::new(
        "gateway.networking.k8s.io/v1beta1",
        "ReferenceGrant",
        "referencegrants",
    ));
    let _controller = Controller::leading(&server, settings(), &[]);
    server.apply_json(http_route("team", "bot", "bot.test"));
    until_written(&server, "team", "bot").await;
    let versions: Vec<String> = server
        .writes()
        .into_iter()
        .filter(|record| record.resource == "referencegrants")
        .map(|record| record.path)
        .collect();
    assert!(
        versions.iter().all(|path| path.contains("/v1beta1/")),
        "{versions:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_not_be_read_is_done_without() {
    let server = server().await;
    for kind in ["gateways", "gatewayclasses"] {
        server.inject(Fault::status(403).on(kind).always());
    }
    let _controller = Controller::leading(&server, settings(), &[]);
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "True"));
    until_written(&server, "team", "bot").await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_is_told_and_tried_again() {
    let server = server().await;
    server.inject(Fault::status(403).on("referencegrants").on_writes().always());
    let controller = Controller::leading(&server, settings(), &[scaled_object("team", "bot", "bot.test")]);
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "True"));
    controller
        .until_condition(Status::False, "ReferenceGrantMissing")
        .await;
    server.clear_requests();
    tokio::time::sleep(Duration::from_mins(1)).await;
    let tries = gateway_writes(&server).len();
    assert!((3..=13).contains(&tries), "{tries} tries in 60 s");
    server.clear_faults();
    controller.until_condition(Status::True, "Routed").await;
    assert!(grant(&server, "team").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_is_given_up_and_the_others_go_on() {
    let server = server().await;
    server.inject(
        Fault::hang()
            .on("referencegrants")
            .of("rouse-httproutes-a")
            .always(),
    );
    let _controller = Controller::leading(&server, settings(), &[]);
    server.apply_json(http_route("a", "bot", "a.test"));
    server.apply_json(http_route("b", "bot", "b.test"));
    until_written(&server, "b", "bot").await;
    server.apply_json(http_route("c", "bot", "c.test"));
    until_written(&server, "c", "bot").await;
    assert!(grant(&server, "a").is_none());
    server.clear_faults();
    until_written(&server, "a", "bot").await;
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_writes() {
    let server = server().await;
    let route = scaled_object("team", "bot", "bot.test");
    let controller = Controller::start(&server, settings(), ScopeWatch::All, &[route], false);
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "True"));
    controller.until_condition(Status::True, "Routed").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(gateway_writes(&server), Vec::<String>::new());
    // Its term ends while a write is under way.
    server.inject(Fault::hang().verb(Verb::Patch).always());
    let term = CancellationToken::new();
    controller
        .leadership
        .send_replace(Leadership::Leader(term.clone()));
    server.wait_for_requests(Verb::Patch, "referencegrants", 1).await;
    term.cancel();
    server.clear_faults();
    server.clear_requests();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(gateway_writes(&server), Vec::<String>::new());
    controller
        .leadership
        .send_replace(Leadership::Leader(CancellationToken::new()));
    until_written(&server, "team", "bot").await;
}

#[tokio::test(start_paused = true)]
async fn what_others_do_to_our_objects_is_undone_in_measure() {
    let server = server().await;
    let _controller = Controller::leading(&server, settings(), &[]);
    server.apply_json(http_route("team", "bot", "bot.test"));
    until_written(&server, "team", "bot").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    delete(&server, Kind::ReferenceGrant, "keda", "rouse-httproutes-team").await;
    server
        .eventually("the grant is back", |server| grant(server, "team").is_some())
        .await;
    server.clear_requests();
    // Somebody who insists: once in five seconds it is put right, not at once each time.
    for _ in 0..100 {
        let mut changed = policy(&server, "team", "bot").unwrap();
        changed["spec"]["timeout"]["http"]["requestTimeout"] = json!("1s");
        server.apply_json(changed);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let writes = gateway_writes(&server).len();
    assert!((3..=6).contains(&writes), "{writes} writes in 20 s");
    server
        .eventually("the policy is as it should be", |server| {
            let policy = policy(server, "team", "bot").unwrap();
            policy["spec"]["timeout"]["http"]["requestTimeout"] == "0s"
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_told_once_as_an_event() {
    let server = server().await;
    let controller = Controller::leading(&server, settings(), &[scaled_object("team", "bot", "bot.test")]);
    server.apply_json(json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "BackendTrafficPolicy",
        "metadata": {"namespace": "team", "name": "mine"},
        "spec": {
            "targetRefs": [{"group": GATEWAY_API, "kind": "HTTPRoute", "name": "bot"}],
            "timeout": {"http": {"requestTimeout": "30s"}},
        },
    }));
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "True"));
    controller.until_condition(Status::False, "PolicyConflict").await;
    server
        .eventually("an event is there", |server| !server.events().is_empty())
        .await;
    server.apply_json(http_route("other", "bot", "other.test"));
    until_written(&server, "other", "bot").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let events = server.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        (events[0].0.as_str(), events[0].2.as_str()),
        ("PolicyConflict", "HTTPRoute/team/bot")
    );
    assert!(policy(&server, "team", "bot").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_host_without_a_route_gets_one_on_the_default_gateway() {
    let server = server().await;
    let settings = GatewaySettings {
        default_gateway: Some(ObjectName::new("infra", "main")),
        ..settings()
    };
    server.create_namespace("team");
    let controller = Controller::leading(&server, settings, &[scaled_object("team", "bot", "bot.test")]);
    let policies = |server: &FakeApiServer| {
        ["safe", "other"].map(|rule| {
            let name = format!("rouse-retry-{rule}-rouse-httpscaledobject-bot");
            server.get_json("backendtrafficpolicies", "team", &name)
        })
    };
    server
        .eventually("the route has its policies", |server| {
            policies(server).iter().all(Option::is_some)
        })
        .await;
    controller.until_condition(Status::Unknown, "Pending").await;
    controller.delete_route("team", "bot");
    server
        .eventually("all is gone", |server| {
            policies(server).iter().all(Option::is_none)
                && grant(server, "team").is_none()
                && server
                    .get_json("httproutes", "team", "rouse-httpscaledobject-bot")
                    .is_none()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_leaves_the_scope_loses_its_permission() {
    let server = server().await;
    let set = |names: &[&str]| {
        let names: BTreeSet<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
        Some(Arc::new(names))
    };
    let (scope, namespaces) = watch::channel(None);
    server.apply_json(http_route("a", "bot", "a.test"));
    server.apply_json(http_route("b", "bot", "b.test"));
    let scoped = ScopeWatch::new(Some(namespaces));
    let _controller = Controller::start(&server, settings(), scoped, &[], true);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(gateway_writes(&server), Vec::<String>::new());
    scope.send_replace(set(&["a"]));
    until_written(&server, "a", "bot").await;
    assert!(grant(&server, "b").is_none());
    scope.send_replace(set(&["a", "b"]));
    until_written(&server, "b", "bot").await;
    scope.send_replace(set(&["b"]));
    server
        .eventually("the grant is gone", |server| grant(server, "a").is_none())
        .await;
    assert!(grant(&server, "b").is_some());
    scope.send_replace(set(&[]));
    server
        .eventually("the grant is gone", |server| grant(server, "b").is_none())
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_controller_says_in_a_routes_status_what_the_gateway_says() {
    let server = server().await;
    let mut object = scaled_object("team", "bot", "bot.test");
    object["apiVersion"] = json!("http.keda.sh/v1alpha1");
    object["kind"] = json!("HTTPScaledObject");
    server.apply_json(object);
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "False"));
    let command = crate::Args::augment_args(clap::Command::new("controller").no_binary_name(true));
    let arguments = ["--port=0", "--bind-address=127.0.0.1", "--namespace=keda"];
    let matches = command.try_get_matches_from(arguments).unwrap();
    let args = crate::Args::from_arg_matches(&matches).unwrap();
    let config = crate::Config::new(args, "default").unwrap();
    let app = crate::App::start(config, server.memory_client()).await.unwrap();
    let reason = |server: &FakeApiServer| {
        let object = server.get_json("httpscaledobjects", "team", "bot").unwrap();
        let conditions = object["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ready = conditions
            .into_iter()
            .find(|condition| condition["type"] == "GatewayReady")?;
        Some(ready["reason"].as_str()?.to_owned())
    };
    server
        .eventually("the gateway's refusal is in the status", |server| {
            reason(server).as_deref() == Some("RouteNotAccepted")
        })
        .await;
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "True"));
    server
        .eventually("the route is served", |server| {
            reason(server).as_deref() == Some("Routed")
        })
        .await;
    until_written(&server, "team", "bot").await;
    app.stop().await;
}
