//! What is published, when, and in which order.

use k8s_openapi::api::discovery::v1::Endpoint;
use serde_json::json;

use super::*;
use crate::{
    index::tests::{addresses, endpoint, http_scaled_object, id, key, service, slice},
    plan::RouteConfig,
};
use rouse_routing::RouteKind;

/// What a publisher was told, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Target(TargetKey, usize),
    TargetRemoved(TargetKey),
    Route(RouteId, TargetKey),
    Table(Vec<RouteId>),
    Synced,
}

/// Writes down what it is told. A route's live state is its id.
#[derive(Debug, Clone, Default)]
struct Recorder {
    told: Arc<Mutex<Vec<Told>>>,
    table: Arc<Mutex<Arc<RouteTable<RouteId>>>>,
}

impl Publisher for Recorder {
    type Route = RouteId;

    fn targets(&self, upserted: &[(TargetKey, TargetConfig)], removed: &[TargetKey]) {
        let mut told = self.told.lock();
        told.extend(
            upserted
                .iter()
                .map(|(key, config)| Told::Target(key.clone(), config.ready.len())),
        );
        told.extend(removed.iter().cloned().map(Told::TargetRemoved));
    }

    fn route(&self, config: &RouteConfig) -> RouteId {
        self.told
            .lock()
            .push(Told::Route(config.id.clone(), config.target.clone()));
        config.id.clone()
    }

    fn routes(&self, table: Arc<RouteTable<RouteId>>, removed: &[RouteId]) {
        self.told.lock().push(Told::Table(removed.to_vec()));
        *self.table.lock() = table;
    }

    fn synced(&self) {
        self.told.lock().push(Told::Synced);
    }
}

impl Recorder {
    fn take(&self) -> Vec<Told> {
        mem::take(&mut self.told.lock())
    }

    fn tables(&self) -> usize {
        self.told
            .lock()
            .iter()
            .filter(|told| matches!(told, Told::Table(_)))
            .count()
    }

    fn serves(&self, host: &str) -> bool {
        self.table
            .lock()
            .lookup(host, "/", &http::HeaderMap::new())
            .is_some()
    }
}

fn start() -> (IndexHandle, Recorder, impl Drop) {
    let recorder = Recorder::default();
    let (handle, publisher) = IndexHandle::new(recorder.clone(), HostOwnership::default());
    let stop = CancellationToken::new();
    tokio::spawn(publisher.run(stop.clone()));
    (handle, recorder, stop.drop_guard())
}

/// Lets everything happen that needs no time.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

fn route_id(name: &str) -> RouteId {
    id(RouteKind::HttpScaledObject, name)
}

const PORTS: &[(Option<&str>, i32)] = &[(None, 80)];

fn ready(endpoints: &[Endpoint]) -> EndpointSlice {
    slice("chat-1", "chat", PORTS, endpoints)
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_published_before_the_call_returns() {
    let (handle, recorder, _running) = start();
    handle.apply_http_scaled_object(http_scaled_object("chat", json!({})));
    handle.apply_service(service("chat", PORTS));
    settle().await;
    recorder.take();

    handle.apply_endpoint_slice(ready(&[endpoint("10.0.0.1")]));

    assert_eq!(recorder.take(), [Told::Target(key("chat", 80), 1)]);
    settle().await;
    assert_eq!(recorder.take(), [], "no table for endpoints");
    assert_eq!(addresses(&["10.0.0.1:80"]).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_after_a_quiet_time_is_published_at_once() {
    let (handle, recorder, _running) = start();
    let before = Instant::now();

    handle.apply_http_scaled_object(http_scaled_object("chat", json!({})));
    settle().await;

    assert_eq!(before.elapsed(), Duration::ZERO);
    assert!(recorder.serves("chat.example.com"));
    assert_eq!(
        recorder.take(),
        [
            Told::Target(key("chat", 80), 0),
            Told::Route(route_id("chat"), key("chat", 80)),
            Told::Table(vec![]),
        ],
        "the target, the route's state, the table"
    );
}

#[tokio::test(start_paused = true)]
async fn further_changes_are_gathered_and_visible_within_twenty_milliseconds() {
    let (handle, recorder, _running) = start();
    handle.apply_http_scaled_object(http_scaled_object("first", json!({})));
    settle().await;
    assert_eq!(recorder.tables(), 1);

    for nth in 0..100 {
        handle.apply_http_scaled_object(http_scaled_object(&format!("route-{nth}"), json!({})));
        settle().await;
    }
    assert_eq!(recorder.tables(), 1, "not before its time");
    assert!(!recorder.serves("route-99.example.com"));

    tokio::time::advance(COALESCE).await;
    settle().await;

    assert_eq!(recorder.tables(), 2, "a hundred changes, one table");
    assert!(recorder.serves("route-0.example.com"));
    assert!(recorder.serves("route-99.example.com"));
}

#[tokio::test(start_paused = true)]
async fn an_unending_stream_of_changes_does_not_put_the_table_off() {
    let (handle, recorder, _running) = start();

    for nth in 0..100 {
        handle.apply_http_scaled_object(http_scaled_object(&format!("route-{nth}"), json!({})));
        tokio::time::advance(Duration::from_millis(1)).await;
        settle().await;
    }

    let tables = recorder.tables();
    assert!((5..=6).contains(&tables), "{tables} tables in 100 ms");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_when_nothing_changed() {
    let (handle, recorder, _running) = start();
    handle.apply_http_scaled_object(http_scaled_object("chat", json!({})));
    settle().await;
    recorder.take();

    handle.apply_http_scaled_object(http_scaled_object("chat", json!({})));
    tokio::time::sleep(Duration::from_secs(1)).await;

    assert_eq!(recorder.take(), []);
}

#[tokio::test(start_paused = true)]
async fn a_target_is_withdrawn_after_the_table_that_no_longer_uses_it() {
    let (handle, recorder, _running) = start();
    handle.apply_http_scaled_object(http_scaled_object("chat", json!({})));
    settle().await;
    recorder.take();

    handle.delete_http_scaled_object("shop", "chat");
    assert_eq!(recorder.take(), [], "the old table still uses it");
    tokio::time::advance(COALESCE).await;
    settle().await;

    assert_eq!(
        recorder.take(),
        [
            Told::Table(vec![route_id("chat")]),
            Told::TargetRemoved(key("chat", 80)),
        ]
    );
    assert!(!recorder.serves("chat.example.com"));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_wanted_again_in_time_is_not_withdrawn() {
    let (handle, recorder, _running) = start();
    handle.apply_http_scaled_object(http_scaled_object("chat", json!({})));
    settle().await;
    recorder.take();

    handle.delete_http_scaled_object("shop", "chat");
    handle.apply_http_scaled_object(http_scaled_object("chat", json!({})));
    tokio::time::advance(COALESCE).await;
    settle().await;

    let told = recorder.take();
    assert!(!told.contains(&Told::TargetRemoved(key("chat", 80))), "{told:?}");
    assert!(!told.contains(&Told::Table(vec![route_id("chat")])), "{told:?}");
    assert!(recorder.serves("chat.example.com"));
}

#[tokio::test(start_paused = true)]
async fn a_route_that_changes_keeps_its_place_and_gets_its_new_target() {
    let (handle, recorder, _running) = start();
    handle.apply_http_scaled_object(http_scaled_object("chat", json!({})));
    settle().await;
    recorder.take();

    let to_other = json!({ "scaleTargetRef": { "service": "other", "port": 80 } });
    handle.apply_http_scaled_object(http_scaled_object("chat", to_other));
    tokio::time::advance(COALESCE).await;
    settle().await;

    assert_eq!(
        recorder.take(),
        [
            Told::Target(key("other", 80), 0),
            Told::Route(route_id("chat"), key("other", 80)),
            Told::Table(vec![]),
            Told::TargetRemoved(key("chat", 80)),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn synced_is_told_once_and_after_everything_told_before_it() {
    let (handle, recorder, _running) = start();
    handle.apply_http_scaled_object(http_scaled_object("chat", json!({})));
    handle.synced();
    handle.synced();
    settle().await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let told = recorder.take();
    assert_eq!(told.last(), Some(&Told::Synced), "{told:?}");
    assert_eq!(told.iter().filter(|told| **told == Told::Synced).count(), 1);
    assert!(recorder.serves("chat.example.com"));
}

#[tokio::test(start_paused = true)]
async fn an_empty_feed_is_synced_too() {
    let (handle, recorder, _running) = start();

    handle.synced();
    settle().await;

    assert_eq!(recorder.take(), [Told::Table(vec![]), Told::Synced]);
}

#[tokio::test(start_paused = true)]
async fn problems_and_conflicts_are_counted() {
    let (handle, _recorder, _running) = start();
    let same_host = || json!({ "hosts": ["chat.example.com"] });
    handle.apply_http_scaled_object(http_scaled_object("one", same_host()));
    handle.apply_http_scaled_object(http_scaled_object("two", same_host()));
    handle.apply_http_scaled_object(http_scaled_object("bad", json!({ "hosts": ["a b"] })));
    settle().await;

    let stats = handle.stats();
    assert_eq!((stats.routes, stats.targets), (2, 2));
    assert_eq!((stats.conflicts, stats.problems), (1, 1));
    assert_eq!(&*handle.problems()[0].name, "bad");
    assert!(stats.tables >= 1 && stats.last_input.is_some());
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_routes_need_few_tables_and_are_all_served() {
    let (handle, recorder, _running) = start();

    for nth in 0..10_000 {
        handle.apply_http_scaled_object(http_scaled_object(&format!("route-{nth}"), json!({})));
    }
    handle.synced();
    settle().await;

    assert_eq!(recorder.tables(), 1);
    assert!(recorder.serves("route-0.example.com") && recorder.serves("route-9999.example.com"));
    assert_eq!(handle.stats().routes, 10_000);
}
