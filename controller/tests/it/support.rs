//! A cluster with routes, and controllers to run against it.

use std::time::Duration;

use clap::Parser;
use rouse_api::{HTTPScaledObject, InterceptorRoute, condition::Condition};
use rouse_controller::{App, Args, Config};
use rouse_fake_api_server::{FakeApiServer, RequestRecord};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How long a metric is waited for.
const PATIENCE: Duration = Duration::from_mins(5);

/// An API server with the release's namespace.
pub(crate) async fn cluster() -> FakeApiServer {
    let server = FakeApiServer::start().await;
    server.create_namespace("keda");
    server
}

/// The settings of a replica, as they are by default but for the wake, which needs interceptors. Short terms, so that a lost
/// one is soon seen.
pub(crate) fn config() -> Config {
    let options = [
        "controller",
        "--bind-address=127.0.0.1",
        "--port=0",
        "--lease-duration=8s",
        "--renew-deadline=5s",
        "--retry-period=200ms",
        "--wake-fallback=false",
    ];
    let cli = Cli::try_parse_from(options).expect("options");
    Config::new(cli.args, "keda").expect("settings")
}

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// A replica of the controller.
pub(crate) async fn start(server: &FakeApiServer) -> App {
    App::start(config(), server.client())
        .await
        .expect("the controller")
}

/// A replica that leads.
pub(crate) async fn start_leader(server: &FakeApiServer) -> App {
    let app = start(server).await;
    leads(&app).await;
    app
}

pub(crate) async fn leads(app: &App) {
    let mut leadership = app.leadership();
    let leading = leadership.wait_for(rouse_kubernetes::lease::Leadership::is_leader);
    drop(
        tokio::time::timeout(PATIENCE, leading)
            .await
            .expect("it leads")
            .unwrap(),
    );
}

/// A Deployment and a Service of this name.
pub(crate) fn add_target(server: &FakeApiServer, namespace: &str, name: &str) {
    server.apply_json(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "namespace": namespace, "name": name },
        "spec": { "replicas": 0 },
    }));
    server.apply_json(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "namespace": namespace, "name": name },
        "spec": { "ports": [{ "port": 8000 }] },
    }));
}

/// An HTTPScaledObject for the target of its name, with `changes` over the whole object.
pub(crate) fn add_route(server: &FakeApiServer, namespace: &str, name: &str, changes: &Value) {
    let mut object = json!({
        "apiVersion": "http.keda.sh/v1alpha1", "kind": "HTTPScaledObject",
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "hosts": [format!("{name}.{namespace}.test")],
            "scaleTargetRef": { "name": name, "service": name, "port": 8000 },
            "replicas": { "min": 0, "max": 5 },
            "scaledownPeriod": 60,
        },
    });
    merge(&mut object, changes);
    server.apply_json(object);
}

/// Both.
pub(crate) fn add_tenant(server: &FakeApiServer, namespace: &str, name: &str) {
    add_target(server, namespace, name);
    add_route(server, namespace, name, &json!({}));
}

/// A JSON merge patch (RFC 7396).
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    target.remove(name);
                } else {
                    merge(target.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// Changes an object as somebody else would.
pub(crate) fn edit(server: &FakeApiServer, plural: &str, namespace: &str, name: &str, changes: &Value) {
    let mut object = server.get_json(plural, namespace, name).expect("the object");
    merge(&mut object, changes);
    server.apply_json(object);
}

pub(crate) fn scaled_object(server: &FakeApiServer, namespace: &str, name: &str) -> Option<Value> {
    server.get_json("scaledobjects", namespace, name)
}

/// A condition of an HTTPScaledObject as `status reason`, and empty while there is none.
pub(crate) fn condition(server: &FakeApiServer, namespace: &str, name: &str, kind: &str) -> String {
    let object: Option<HTTPScaledObject> = server.get(namespace, name);
    let conditions = object
        .and_then(|object| object.status)
        .map(|status| status.conditions);
    find(&conditions.unwrap_or_default(), kind)
}

/// As [`condition`], of an InterceptorRoute.
pub(crate) fn route_condition(server: &FakeApiServer, namespace: &str, name: &str, kind: &str) -> String {
    let object: Option<InterceptorRoute> = server.get(namespace, name);
    let conditions = object
        .and_then(|object| object.status)
        .map(|status| status.conditions);
    find(&conditions.unwrap_or_default(), kind)
}

fn find(conditions: &[Condition], kind: &str) -> String {
    conditions
        .iter()
        .find(|condition| condition.type_ == kind)
        .map(|condition| format!("{} {}", condition.status, condition.reason))
        .unwrap_or_default()
}

/// Waits until an HTTPScaledObject's condition is `expected`.
pub(crate) async fn until(server: &FakeApiServer, namespace: &str, name: &str, kind: &str, expected: &str) {
    let what = format!("{kind} of {namespace}/{name} is {expected:?}");
    server
        .eventually(&what, |server| {
            condition(server, namespace, name, kind) == expected
        })
        .await;
}

/// The writes to anything but the Lease and events.
pub(crate) fn writes(server: &FakeApiServer) -> Vec<RequestRecord> {
    let mut writes = server.writes();
    writes.retain(|write| write.resource != "leases" && write.resource != "events");
    writes
}

/// Writes as `resource/name[/subresource]`.
pub(crate) fn short(writes: &[RequestRecord]) -> Vec<String> {
    let mut texts: Vec<String> = writes
        .iter()
        .map(|write| {
            let subresource = match write.subresource.as_str() {
                "" => String::new(),
                subresource => format!("/{subresource}"),
            };
            format!("{}/{}{subresource}", write.resource, write.name)
        })
        .collect();
    texts.sort();
    texts
}

/// The sum over all series of a metric, in whole numbers.
pub(crate) fn metric(app: &App, name: &str) -> usize {
    let text = app.metrics().encode();
    text.lines()
        .filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok())
        .sum()
}

/// Waits until the app has reconciled `count` times since its start and has nothing left to do.
pub(crate) async fn reconciled(app: &App, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let done = metric(app, "rouse_controller_reconciles_total");
        let queued = metric(app, "rouse_controller_queued_routes");
        if done >= count && queued == 0 {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{done} reconciles of {count}, {queued} queued"
        );
        // A metric wakes nobody.
        sleep(Duration::from_millis(10)).await;
    }
}
