//! What interceptors say, and KEDA's side of the contract.

use std::{net::SocketAddr, time::Duration};

use rouse_api::HTTPScaledObject;
use rouse_external_scaler::{App, Config};
pub(crate) use rouse_load::testing::FakeInterceptor;
use rouse_proto::{
    externalscaler::{ScaledObjectRef, external_scaler_client::ExternalScalerClient},
    load::{RouteKind, RouteLoad, TargetRef, TargetState},
};
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A scaler on a port of the system's choice that leaves KEDA's streams alone.
pub(crate) async fn start_scaler() -> App {
    App::start(config()).await.expect("started")
}

pub(crate) fn config() -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        clean_end_after: None,
        ..Config::default()
    }
}

/// One connection, as KEDA has one for all its ScaledObjects.
pub(crate) async fn keda(app: &App) -> ExternalScalerClient<Channel> {
    // h2 takes many small frames that nobody has read yet for an attack, and counts them against half of the window; a
    // test that reads thousands of streams from one task needs the room.
    let endpoint = Endpoint::from_shared(format!("http://{}", app.addr()))
        .unwrap()
        .initial_connection_window_size(64 << 20);
    ExternalScalerClient::new(endpoint.connect().await.expect("connected"))
}

/// Waits until `condition` holds, looking every few milliseconds.
#[track_caller]
pub(crate) fn eventually<F: Future<Output = bool>>(
    what: &'static str,
    mut condition: impl FnMut() -> F,
) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let holds = async {
            while !condition().await {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(
            timeout(PATIENCE, holds).await.is_ok(),
            "{what} not within {PATIENCE:?}, waited for at {caller}"
        );
    }
}

pub(crate) fn idle(name: &str) -> RouteLoad {
    RouteLoad {
        kind: RouteKind::HttpScaledObject.into(),
        namespace: "team".to_owned(),
        name: name.to_owned(),
        target: Some(target(name)),
        ..RouteLoad::default()
    }
}

pub(crate) fn held(name: &str, count: u64) -> RouteLoad {
    RouteLoad {
        concurrency: count,
        pending: count,
        requests_total: count,
        ..idle(name)
    }
}

fn target(name: &str) -> TargetRef {
    TargetRef {
        namespace: "team".to_owned(),
        service: name.to_owned(),
        port: "80".to_owned(),
    }
}

pub(crate) fn ready(name: &str, count: u32) -> TargetState {
    TargetState {
        target: Some(target(name)),
        removed: false,
        ready_endpoints: count,
    }
}

pub(crate) fn httpso(name: &str) -> HTTPScaledObject {
    let json = format!(
        r#"{{"apiVersion": "http.keda.sh/v1alpha1", "kind": "HTTPScaledObject",
            "metadata": {{"namespace": "team", "name": "{name}"}},
            "spec": {{"scaleTargetRef": {{"name": "app", "service": "app", "port": 80}}}}}}"#
    );
    serde_json::from_str(&json).expect("an HTTPScaledObject")
}

pub(crate) fn scaled_object(name: &str) -> ScaledObjectRef {
    ScaledObjectRef {
        name: name.to_owned(),
        namespace: "team".to_owned(),
        scaler_metadata: [("httpScaledObject".to_owned(), name.to_owned())].into(),
    }
}
