//! Watches, seen through kube's own watcher.

use std::{pin::pin, time::Duration};

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, ResourceExt,
    api::{WatchEvent, WatchParams},
    runtime::watcher::{self, Event},
};
use serde_json::json;

use super::{page, server_and_client};
use crate::FakeApiServer;

/// The events up to `count`, shortened.
async fn events(
    stream: &mut (impl StreamExt<Item = watcher::Result<Event<ConfigMap>>> + Unpin),
    count: usize,
) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < count {
        match stream.next().await.expect("a watcher does not end") {
            Ok(Event::Init) => seen.push("init".to_owned()),
            Ok(Event::InitApply(object)) => seen.push(format!("={}", object.name_any())),
            Ok(Event::InitDone) => seen.push("done".to_owned()),
            Ok(Event::Apply(object)) => seen.push(format!("+{}", object.name_any())),
            Ok(Event::Delete(object)) => seen.push(format!("-{}", object.name_any())),
            // The watcher comes back by itself.
            Err(_) => {}
        }
    }
    seen
}

async fn follows(config: watcher::Config) {
    let (server, client) = server_and_client().await;
    server.apply(&page("a", ""));
    let mut stream = pin!(watcher::watcher(Api::<ConfigMap>::all(client), config));
    assert_eq!(events(&mut stream, 3).await, ["init", "=a", "done"]);
    server.apply(&page("b", "1"));
    server.apply(&page("b", "2"));
    server.apply(&page("b", "2"));
    server.delete::<ConfigMap>("team", "a");
    assert_eq!(events(&mut stream, 3).await, ["+b", "+b", "-a"]);
    // A watch that ends is taken up where it was.
    server.close_watches();
    server.apply(&page("c", ""));
    assert_eq!(events(&mut stream, 1).await, ["+c"]);
}

#[tokio::test]
async fn a_watcher_lists_and_follows() {
    follows(watcher::Config::default().page_size(1)).await;
}

#[tokio::test]
async fn a_watcher_follows_a_streaming_list() {
    follows(watcher::Config::default().streaming_lists()).await;
}

#[tokio::test]
async fn a_version_that_is_too_old_makes_a_watcher_list_again() {
    let (server, client) = server_and_client().await;
    server.apply(&page("a", ""));
    let mut stream = pin!(watcher::watcher(
        Api::<ConfigMap>::all(client),
        watcher::Config::default()
    ));
    assert_eq!(events(&mut stream, 3).await, ["init", "=a", "done"]);
    server.apply(&page("a", "1"));
    assert_eq!(events(&mut stream, 1).await, ["+a"]);
    server.refuse_connections();
    server.delete::<ConfigMap>("team", "a");
    server.apply(&page("b", ""));
    server.compact();
    server.accept_connections().await;
    assert_eq!(events(&mut stream, 3).await, ["init", "=b", "done"]);
}

#[tokio::test]
async fn a_bookmark_carries_the_version() {
    let (server, client) = server_and_client().await;
    let api: Api<ConfigMap> = Api::all(client);
    let mut stream = pin!(
        api.watch(&WatchParams::default(), "0")
            .await
            .expect("a watch")
            .boxed()
    );
    server.wait_for_watches("configmaps", 1).await;
    server.compact();
    server.send_bookmarks();
    let event = stream.next().await.expect("goes on").expect("an event");
    let WatchEvent::Bookmark(bookmark) = event else {
        panic!("not a bookmark: {event:?}")
    };
    let list = api.list(&kube::api::ListParams::default()).await.expect("a list");
    assert_eq!(
        Some(bookmark.metadata.resource_version),
        list.metadata.resource_version
    );
}

#[tokio::test]
async fn an_object_comes_and_goes_with_what_a_selector_asks() {
    let (server, client) = server_and_client().await;
    let pod = |phase: &str| {
        server.apply_json(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "team", "name": "pod"}, "status": {"phase": phase},
        }));
    };
    pod("Running");
    let api: Api<Pod> = Api::all(client);
    let params = WatchParams::default().fields("status.phase=Pending");
    let mut stream = pin!(api.watch(&params, "0").await.expect("a watch").boxed());
    pod("Pending");
    let event = stream.next().await.expect("goes on").expect("an event");
    assert!(matches!(event, WatchEvent::Added(_)), "{event:?}");
    pod("Running");
    let event = stream.next().await.expect("goes on").expect("an event");
    assert!(matches!(event, WatchEvent::Deleted(_)), "{event:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_at_its_timeout_unless_it_is_stalled() {
    let server = FakeApiServer::start().await;
    let api: Api<ConfigMap> = Api::all(server.memory_client());
    let params = WatchParams::default().timeout(10);
    let started = tokio::time::Instant::now();
    let mut stream = pin!(api.watch(&params, "0").await.expect("a watch").boxed());
    assert!(stream.next().await.is_none());
    assert_eq!(started.elapsed().as_secs(), 10);

    let mut stream = pin!(api.watch(&params, "0").await.expect("a watch").boxed());
    server.stall_watches();
    server.apply(&page("a", ""));
    let silence = tokio::time::timeout(Duration::from_mins(5), stream.next()).await;
    assert!(silence.is_err(), "said something: {silence:?}");
    server.resume();
}
