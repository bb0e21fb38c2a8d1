use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use rouse_api::HTTPScaledObject;
use rouse_fake_api_server::{FakeApiServer, Fault, Verb};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::testing::{Recorder, eventually};

mod first_list;

/// Long enough for anything that does not wait for a timer.
const SOON: Duration = Duration::from_secs(1);

struct Process {
    readiness: Readiness,
    metrics: Metrics,
    watches: Watches,
}

impl Process {
    fn start(api: &FakeApiServer, scope: &Scope) -> Self {
        let (readiness, metrics) = (Readiness::new(), Metrics::new());
        Self {
            watches: Watches::new(api.memory_client(), scope, &readiness, &metrics),
            readiness,
            metrics,
        }
    }

    fn config_maps(&mut self) -> Arc<Recorder<ConfigMap>> {
        let sink = Recorder::new(|map: &ConfigMap| {
            let data = map.data.clone().unwrap_or_default();
            data.into_values().collect::<Vec<_>>().join(",")
        });
        self.watches.feed(Feed::required("ConfigMap"), Arc::clone(&sink));
        sink
    }

    async fn synced(&self) {
        let synced = timeout(Duration::from_mins(1), self.watches.synced()).await;
        assert!(synced.is_ok(), "{}", self.report());
    }

    fn report(&self) -> String {
        self.readiness.report().to_string()
    }
}

fn apply(api: &FakeApiServer, namespace: &str, name: &str, value: &str) {
    api.apply_json(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "namespace": namespace, "name": name },
        "data": { "key": value },
    }));
}

fn label(api: &FakeApiServer, namespace: &str, tenant: &str) {
    api.apply_json(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": namespace, "labels": { "tenant": tenant } },
    }));
}

fn requests(api: &FakeApiServer, verb: Verb, plural: &str) -> usize {
    let requests = api.requests();
    let matching = requests
        .iter()
        .filter(|it| it.verb == verb && it.resource == plural);
    matching.count()
}

#[tokio::test(start_paused = true)]
async fn ready_when_every_kind_is_known_and_then_follows_changes() {
    let api = FakeApiServer::start().await;
    apply(&api, "shop", "a", "1");
    let mut process = Process::start(&api, &Scope::All);
    let sink = process.config_maps();
    assert_eq!(process.report(), "waiting for ConfigMap");
    process.synced().await;
    assert_eq!(process.report(), "ready");
    assert_eq!(sink.seen(), ["shop/a=1"]);

    apply(&api, "shop", "a", "2");
    apply(&api, "shop", "b", "1");
    eventually("both are known", SOON, || sink.seen() == ["shop/a=2", "shop/b=1"]).await;
    api.delete::<ConfigMap>("shop", "a");
    eventually("it is gone", SOON, || sink.seen() == ["shop/b=1"]).await;
    process.watches.stop().await;
    api.eventually("its watch is closed", |api| api.open_watches("configmaps") == 0)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_list_after_a_gap_deletes_what_went_in_it() {
    let api = FakeApiServer::start().await;
    apply(&api, "shop", "a", "1");
    apply(&api, "shop", "b", "1");
    let mut process = Process::start(&api, &Scope::All);
    let sink = process.config_maps();
    process.synced().await;

    api.refuse_connections();
    api.delete::<ConfigMap>("shop", "a");
    apply(&api, "shop", "c", "1");
    api.compact();
    api.accept_connections().await;
    let seen = || sink.seen() == ["shop/b=1", "shop/c=1"];
    eventually("the list is taken over", Duration::from_secs(15), seen).await;
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_leaves_everything_as_it_is() {
    let api = FakeApiServer::start().await;
    apply(&api, "shop", "a", "1");
    let mut process = Process::start(&api, &Scope::All);
    let sink = process.config_maps();
    process.synced().await;

    api.refuse_connections();
    sleep(Duration::from_mins(1)).await;
    assert!(process.readiness.is_ready(), "{}", process.report());
    assert_eq!(sink.seen(), ["shop/a=1"]);
    let report = process.report();
    assert!(
        report.starts_with("ready; degraded: watch of ConfigMap: no answer from the API server: ")
            && report.ends_with("no word for 60s"),
        "{report}"
    );
    let metrics = process.metrics.encode();
    assert!(
        metrics.contains("rouse_watches_failing{kind=\"ConfigMap\",reason=\"unreachable\"} 1\n"),
        "{metrics}"
    );

    api.accept_connections().await;
    apply(&api, "shop", "a", "2");
    let back = eventually("the news arrive", Duration::from_secs(15), || {
        sink.seen() == ["shop/a=2"]
    });
    let took = back.await;
    assert!(took <= Duration::from_secs(11), "{took:?}");
    assert_eq!(process.report(), "ready");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_without_the_api_server_waits_for_it() {
    let api = FakeApiServer::start().await;
    api.refuse_connections();
    let mut process = Process::start(&api, &Scope::All);
    let _sink = process.config_maps();
    sleep(Duration::from_secs(30)).await;
    let report = process.report();
    assert!(
        report.starts_with("waiting for ConfigMap; degraded: "),
        "{report}"
    );
    api.accept_connections().await;
    eventually("it is ready", Duration::from_secs(11), || {
        process.readiness.is_ready()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_hangs_is_noticed_and_found_again() {
    let api = FakeApiServer::start().await;
    let mut process = Process::start(&api, &Scope::All);
    let sink = process.config_maps();
    process.synced().await;
    api.stop_answering();
    sleep(Duration::from_secs(50)).await;
    assert_eq!(
        process.report(),
        "ready; degraded: watch of ConfigMap, no word for 50s"
    );
    sleep(Duration::from_secs(20)).await;
    let report = process.report();
    assert!(report.contains("silent for 30s"), "{report}");
    api.resume();
    apply(&api, "shop", "a", "1");
    eventually("the news arrive", Duration::from_secs(41), || sink.count() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_taken_and_ended_at_once_is_not_repeated_without_pause() {
    let api = FakeApiServer::start().await;
    api.inject(Fault::end_at_once().on("configmaps").always());
    let mut process = Process::start(&api, &Scope::All);
    let sink = process.config_maps();
    process.synced().await;
    api.clear_requests();
    sleep(Duration::from_mins(2)).await;
    let asked = requests(&api, Verb::Watch, "configmaps");
    assert!((10..=30).contains(&asked), "{asked} watches in two minutes");

    api.clear_faults();
    apply(&api, "shop", "a", "1");
    eventually("it goes on", Duration::from_secs(11), || {
        sink.seen() == ["shop/a=1"]
    })
    .await;
    // One that lasts is followed by the next at once.
    sleep(Duration::from_secs(2)).await;
    api.close_watches();
    apply(&api, "shop", "a", "2");
    eventually("it goes on at once", SOON, || sink.seen() == ["shop/a=2"]).await;
}

/// The greatest age that is seen within a time.
async fn oldest(freshness: &Freshness, within: Duration) -> Duration {
    let until = Instant::now() + within;
    let mut oldest = Duration::ZERO;
    while Instant::now() < until {
        oldest = oldest.max(freshness.age());
        sleep(Duration::from_millis(500)).await;
    }
    oldest
}

#[tokio::test(start_paused = true)]
async fn what_is_known_ages_only_while_nothing_confirms_it() {
    let api = FakeApiServer::start().await;
    apply(&api, "shop", "a", "1");
    let mut process = Process::start(&api, &Scope::All);
    let sink = Recorder::new(|_: &ConfigMap| String::new());
    let freshness = process.watches.feed(Feed::required("ConfigMap"), sink);
    process.synced().await;
    let minutes = |count| Duration::from_mins(count);
    let idle = oldest(&freshness, minutes(5)).await;
    assert!(
        idle < Duration::from_secs(45),
        "nothing happens, all is well: {idle:?}"
    );

    // Each of these is a word from the API server, and none of them is one on the objects.
    for fault in [
        Fault::status(500).on("configmaps").always(),
        Fault::status(403).on("configmaps").always(),
        Fault::hang().on("configmaps").always(),
    ] {
        api.inject(fault.clone());
        let refused = oldest(&freshness, minutes(3)).await;
        assert!(refused > minutes(2), "{fault:?}: {refused:?}");
        api.clear_faults();
        eventually("it is confirmed again", minutes(1), || {
            freshness.age() < Duration::from_secs(5)
        })
        .await;
    }
    // Taken, and then nothing.
    api.stall_watches();
    let stalled = oldest(&freshness, minutes(3)).await;
    assert!(stalled > minutes(2), "{stalled:?}");
    api.resume();
    eventually("it is confirmed again", minutes(1), || {
        freshness.age() < Duration::from_secs(5)
    })
    .await;
    process.watches.stop().await;
    assert_eq!(freshness.age(), Duration::MAX);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_stalls_without_closing_is_noticed() {
    let api = FakeApiServer::start().await;
    let mut process = Process::start(&api, &Scope::All);
    let sink = process.config_maps();
    process.synced().await;
    api.wait_for_watches("configmaps", 1).await;

    // Nothing more comes, its end neither.
    api.stall_watches();
    let stalled = Instant::now();
    apply(&api, "shop", "a", "1");
    let noticed = || requests(&api, Verb::Watch, "configmaps") == 2;
    eventually("the watch is begun anew", Duration::from_mins(1), noticed).await;
    let took = stalled.elapsed();
    assert!(took <= Duration::from_secs(40), "{took:?}");
    assert_eq!(sink.count(), 0, "it was the stall that was noticed");
    api.resume();
    eventually("what was withheld follows", SOON, || sink.count() == 1).await;
    let lists = requests(&api, Verb::List, "configmaps");
    assert_eq!(lists, 1, "it goes on where it was");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_is_begun_anew_without_a_list_and_is_not_called_silent() {
    let api = FakeApiServer::start().await;
    let mut process = Process::start(&api, &Scope::All);
    let _sink = process.config_maps();
    process.synced().await;
    for _ in 0..300 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(process.report(), "ready");
    }
    let metrics = process.metrics.encode();
    assert!(
        metrics.contains("rouse_watch_lists_total{kind=\"ConfigMap\"} 1\n"),
        "{metrics}"
    );
    assert!(requests(&api, Verb::Watch, "configmaps") >= 10);
}

#[tokio::test(start_paused = true)]
async fn a_missing_kind_blocks_readiness_where_it_is_required_and_is_served_once_it_is_there() {
    let api = FakeApiServer::start().await;
    api.remove_kind("httpscaledobjects");
    let mut process = Process::start(&api, &Scope::All);
    let routes = Recorder::new(|route: &HTTPScaledObject| route.spec.hosts.join(","));
    process
        .watches
        .feed(Feed::required("HTTPScaledObject"), Arc::clone(&routes));
    sleep(Duration::from_mins(1)).await;
    let report = process.report();
    assert!(
        report.starts_with("waiting for HTTPScaledObject; degraded: ")
            && report.contains("the cluster has no httpscaledobjects.http.keda.sh/v1alpha1"),
        "{report}"
    );
    let tries = requests(&api, Verb::List, "httpscaledobjects");
    assert!((6..=14).contains(&tries), "{tries} in a minute");

    api.add_group("http.keda.sh");
    api.apply_json(json!({
        "apiVersion": "http.keda.sh/v1alpha1",
        "kind": "HTTPScaledObject",
        "metadata": { "namespace": "shop", "name": "a" },
        "spec": { "hosts": ["a.test"], "scaleTargetRef": { "name": "a", "service": "a", "port": 80 } },
    }));
    eventually("it is served", Duration::from_secs(11), || {
        routes.seen() == ["shop/a=a.test"]
    })
    .await;
    assert_eq!(process.report(), "ready");
}

#[tokio::test(start_paused = true)]
async fn a_missing_optional_kind_does_not_block_readiness() {
    let api = FakeApiServer::start().await;
    api.remove_kind("httpscaledobjects");
    let mut process = Process::start(&api, &Scope::All);
    let routes = Recorder::new(|_: &HTTPScaledObject| String::new());
    process
        .watches
        .feed(Feed::optional("HTTPScaledObject"), Arc::clone(&routes));
    process.synced().await;
    assert!(
        process.report().starts_with("ready; degraded: "),
        "{}",
        process.report()
    );
    let metrics = process.metrics.encode();
    assert!(
        metrics.contains("rouse_watches_failing{kind=\"HTTPScaledObject\",reason=\"missing\"} 1\n"),
        "{metrics}"
    );
}

#[tokio::test(start_paused = true)]
async fn listed_namespaces_are_watched_and_no_others() {
    let api = FakeApiServer::start().await;
    for namespace in ["a", "b", "c"] {
        apply(&api, namespace, "x", "1");
    }
    let scope = Scope::Namespaces(vec!["a".to_owned(), "c".to_owned()]);
    let mut process = Process::start(&api, &scope);
    let sink = process.config_maps();
    process.synced().await;
    assert_eq!(sink.seen(), ["a/x=1", "c/x=1"]);
    let lists = requests(&api, Verb::List, "configmaps");
    assert_eq!(lists, 2, "one in each");
}

#[tokio::test(start_paused = true)]
async fn namespaces_by_labels_come_and_go() {
    let api = FakeApiServer::start().await;
    for namespace in ["a", "b"] {
        apply(&api, namespace, "x", "1");
    }
    label(&api, "a", "yes");
    let mut process = Process::start(&api, &Scope::Selector("tenant=yes".to_owned()));
    let sink = process.config_maps();
    process.synced().await;
    assert_eq!(sink.seen(), ["a/x=1"]);
    api.wait_for_watches("configmaps", 1).await;

    label(&api, "b", "yes");
    eventually("the other is served", SOON, || sink.seen() == ["a/x=1", "b/x=1"]).await;
    api.wait_for_watches("configmaps", 2).await;

    // Its objects are still there, and are none of ours.
    label(&api, "a", "no");
    eventually("it is no longer served", SOON, || sink.seen() == ["b/x=1"]).await;
    api.eventually("its watch is closed", |api| api.open_watches("configmaps") == 1)
        .await;
    apply(&api, "a", "x", "2");
    apply(&api, "b", "x", "2");
    eventually("only the other's news arrive", SOON, || sink.seen() == ["b/x=2"]).await;
    let metrics = process.metrics.encode();
    assert!(
        metrics.contains("rouse_watches{kind=\"ConfigMap\"} 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("rouse_watch_objects{kind=\"Namespace\"} 1\n"),
        "{metrics}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_relist_of_one_namespace_deletes_nothing_of_another() {
    let api = FakeApiServer::start().await;
    for namespace in ["a", "b"] {
        apply(&api, namespace, "x", "1");
    }
    let scope = Scope::Namespaces(vec!["a".to_owned(), "b".to_owned()]);
    let mut process = Process::start(&api, &scope);
    let sink = process.config_maps();
    process.synced().await;
    api.delete::<ConfigMap>("a", "x");
    api.compact();
    let seen = || sink.seen() == ["b/x=1"];
    eventually("the lists are taken over", Duration::from_secs(15), seen).await;
}

#[tokio::test(start_paused = true)]
async fn one_bad_object_in_a_list_does_not_hide_the_others() {
    let api = FakeApiServer::start().await;
    let service = |name: &str, port: Value| {
        api.apply_json(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "namespace": "shop", "name": name },
            "spec": { "ports": [{ "port": port }] },
        }));
    };
    service("bad", json!("eighty"));
    service("good", json!(80));
    let mut process = Process::start(&api, &Scope::All);
    let sink = Recorder::new(|_: &Service| "it".to_owned());
    process.watches.feed(Feed::required("Service"), Arc::clone(&sink));
    process.synced().await;
    assert_eq!(sink.seen(), ["shop/good=it"]);
    service("bad", json!(81));
    eventually("the repaired one is known", SOON, || sink.count() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_role_that_forbids_is_told_of_and_served_once_mended() {
    let api = FakeApiServer::start().await;
    apply(&api, "shop", "a", "1");
    api.inject(Fault::status(403).on("configmaps").always());
    let mut process = Process::start(&api, &Scope::All);
    let sink = process.config_maps();
    sleep(Duration::from_secs(20)).await;
    let report = process.report();
    assert!(report.contains("not allowed to watch configmaps/v1"), "{report}");
    api.clear_faults();
    eventually("it is served", Duration::from_secs(11), || sink.count() == 1).await;
    assert_eq!(process.report(), "ready");
}
