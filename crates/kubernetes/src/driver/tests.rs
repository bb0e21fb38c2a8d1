use std::sync::Arc;

use futures_util::stream;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::Status;
use rouse_api::HTTPScaledObject;
use serde_json::{Value, json};

use super::*;
use crate::{
    health::{Count, Health},
    testing::Recorder,
};

fn route(name: &str, host: &Value, timeout: &Value) -> Guarded<HTTPScaledObject> {
    serde_json::from_value(json!({
        "metadata": { "namespace": "shop", "name": name, "resourceVersion": "1" },
        "spec": {
            "hosts": [host],
            "scaleTargetRef": { "name": "web", "service": "web", "port": 80 },
            "timeouts": { "conditionWait": timeout },
        },
    }))
    .unwrap()
}

fn good(name: &str, host: &str) -> Guarded<HTTPScaledObject> {
    let route = route(name, &json!(host), &json!("5s"));
    assert!(route.0.is_ok(), "{:?}", route.0);
    route
}

/// The definition lets any text stand for a duration.
fn bad(name: &str) -> Guarded<HTTPScaledObject> {
    let route = route(name, &json!("b.test"), &json!("soon"));
    assert!(route.0.is_err());
    route
}

fn gone() -> watcher::Error {
    watcher::Error::WatchError(Box::new(Status {
        code: 410,
        ..Status::default()
    }))
}

fn missing() -> watcher::Error {
    watcher::Error::InitialListFailed(kube::Error::Api(Box::new(Status {
        code: 404,
        ..Status::default()
    })))
}

type Events = Vec<watcher::Result<Event<Guarded<HTTPScaledObject>>>>;

/// What the sink has after these events, the steps, and the metrics.
async fn drive(events: Events) -> (Vec<String>, Vec<Step>, String) {
    drive_stream(stream::iter(events)).await
}

async fn drive_stream(
    events: impl Stream<Item = watcher::Result<Event<Guarded<HTTPScaledObject>>>>,
) -> (Vec<String>, Vec<Step>, String) {
    let sink = Recorder::new(|route: &HTTPScaledObject| route.spec.hosts.join(","));
    let health = Health::default();
    let kind = health.add("HTTPScaledObject", Count(Box::new(|| 0)));
    let watch = kind.watch();
    let driver = Driver {
        sink: &*sink,
        health: &watch,
        within: None,
        kind: "HTTPScaledObject",
        resource: "httpscaledobjects.http.keda.sh/v1alpha1".to_owned(),
    };
    let mut steps = Vec::new();
    driver.run(events, |step| steps.push(step)).await;
    let metrics = rouse_daemon::metrics::Metrics::new();
    metrics.register(|registry| registry.register_collector(Box::new(health)));
    (sink.seen(), steps, metrics.encode())
}

#[tokio::test]
async fn a_bad_object_among_good_ones_is_skipped() {
    let (seen, steps, metrics) = drive(vec![
        Ok(Event::Init),
        Ok(Event::InitApply(good("a", "a.test"))),
        Ok(Event::InitApply(bad("b"))),
        Ok(Event::InitApply(good("c", "c.test"))),
        Ok(Event::InitDone),
    ])
    .await;
    assert_eq!(seen, ["shop/a=a.test", "shop/c=c.test"]);
    assert_eq!(steps, [Step::Listed]);
    assert!(
        metrics.contains("rouse_watch_unreadable_objects{kind=\"HTTPScaledObject\"} 1\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_good_object_that_turns_bad_keeps_its_last_good_version_also_across_a_list() {
    let (seen, _, _) = drive(vec![
        Ok(Event::Init),
        Ok(Event::InitApply(good("a", "a.test"))),
        Ok(Event::InitDone),
        Ok(Event::Apply(bad("a"))),
        Ok(Event::Init),
        Ok(Event::InitApply(bad("a"))),
        Ok(Event::InitDone),
    ])
    .await;
    assert_eq!(seen, ["shop/a=a.test"]);
}

#[tokio::test]
async fn a_bad_object_is_served_once_repaired_and_is_no_longer_counted() {
    let (seen, _, metrics) = drive(vec![
        Ok(Event::Init),
        Ok(Event::InitApply(bad("a"))),
        Ok(Event::InitDone),
        Ok(Event::Apply(good("a", "repaired.test"))),
    ])
    .await;
    assert_eq!(seen, ["shop/a=repaired.test"]);
    assert!(
        metrics.contains("unreadable_objects{kind=\"HTTPScaledObject\"} 0\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_bad_object_that_is_deleted_is_gone() {
    let (seen, _, metrics) = drive(vec![
        Ok(Event::Init),
        Ok(Event::InitApply(good("a", "a.test"))),
        Ok(Event::InitDone),
        Ok(Event::Apply(bad("a"))),
        Ok(Event::Delete(bad("a"))),
    ])
    .await;
    assert_eq!(seen, [""; 0]);
    assert!(
        metrics.contains("unreadable_objects{kind=\"HTTPScaledObject\"} 0\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_bad_object_that_a_list_no_longer_has_is_no_longer_counted() {
    let (_, _, metrics) = drive(vec![
        Ok(Event::Init),
        Ok(Event::InitApply(bad("a"))),
        Ok(Event::InitDone),
        Ok(Event::Init),
        Ok(Event::InitDone),
    ])
    .await;
    assert!(
        metrics.contains("unreadable_objects{kind=\"HTTPScaledObject\"} 0\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn what_a_new_list_does_not_have_is_deleted() {
    let (seen, steps, _) = drive(vec![
        Ok(Event::Init),
        Ok(Event::InitApply(good("a", "a.test"))),
        Ok(Event::InitApply(good("b", "b.test"))),
        Ok(Event::InitDone),
        Ok(Event::Init),
        Ok(Event::InitApply(good("b", "new.test"))),
        Ok(Event::InitDone),
    ])
    .await;
    assert_eq!(seen, ["shop/b=new.test"]);
    assert_eq!(steps, [Step::Listed, Step::Listed]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_deletes_nothing() {
    let (seen, steps, _) = drive(vec![
        Ok(Event::Init),
        Ok(Event::InitApply(good("a", "a.test"))),
        Ok(Event::InitApply(good("b", "b.test"))),
        Ok(Event::InitDone),
        Ok(Event::Init),
        Ok(Event::InitApply(good("b", "b.test"))),
        Err(gone()),
        Ok(Event::Init),
        Ok(Event::InitApply(good("a", "a.test"))),
    ])
    .await;
    assert_eq!(seen, ["shop/a=a.test", "shop/b=b.test"]);
    assert_eq!(steps, [Step::Listed]);
}

#[tokio::test(start_paused = true)]
async fn missing_is_told_and_tried_again_within_ten_seconds() {
    let began = Instant::now();
    let attempts: Events = (0..20).flat_map(|_| [Ok(Event::Init), Err(missing())]).collect();
    let (_, steps, metrics) = drive(attempts).await;
    assert_eq!(steps, [Step::Missing; 20]);
    let took = began.elapsed();
    assert!(took <= Duration::from_secs(200), "{took:?}");
    assert!(took >= Duration::from_secs(100), "it does not hammer: {took:?}");
    assert!(
        metrics.contains("rouse_watch_errors_total{kind=\"HTTPScaledObject\",reason=\"missing\"} 20\n"),
        "{metrics}"
    );
}

#[test]
fn the_same_mistake_is_told_once() {
    let mut objects = UnreadableObjects::default();
    let Guarded(Err(mistake)) = bad("a") else {
        panic!("it is bad")
    };
    objects.tell("HTTPScaledObject", &mistake);
    let told = objects.objects.clone();
    objects.tell("HTTPScaledObject", &mistake);
    assert_eq!(objects.objects, told);
    assert!(objects.forget("shop", "a"));
    assert!(!objects.forget("shop", "a"));
}

#[test]
fn a_sink_may_be_shared() {
    let sink: Arc<Recorder<ConfigMap>> = Recorder::new(|_| String::new());
    Sink::<ConfigMap>::delete(&sink, "shop", "a");
    assert_eq!(Sink::<ConfigMap>::count(&sink), 0);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_has_lost_its_place_ends_so_that_it_begins_with_a_list() {
    let lost = watcher::Error::WatchStartFailed(kube::Error::Api(Box::new(Status {
        code: 410,
        ..Status::default()
    })));
    let (seen, steps, _) = drive(vec![
        Ok(Event::Init),
        Ok(Event::InitDone),
        Err(lost),
        Ok(Event::Apply(good("a", "never-asked-for.test"))),
    ])
    .await;
    assert_eq!(seen, [""; 0]);
    assert_eq!(steps, [Step::Listed]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_due_after_an_outage_is_not_kept_waiting() {
    let refused = || {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        watcher::Error::WatchStartFailed(kube::Error::Service(refused.into()))
    };
    let mut events: Events = vec![Ok(Event::Init), Ok(Event::InitDone)];
    events.extend((0..10).map(|_| Err(refused())));
    events.extend([Err(gone()), Ok(Event::Init)]);
    let mut asked = Vec::new();
    drive_stream(stream::iter(events).inspect(|_| asked.push(Instant::now()))).await;
    let [.., refused, gone, next] = asked[..] else {
        panic!("{asked:?}")
    };
    let (outage, pause) = (gone - refused, next - gone);
    assert!(
        outage > Duration::from_secs(9),
        "the pauses have grown: {outage:?}"
    );
    assert!(pause < Duration::from_secs(2), "{pause:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told() {
    let refused = watcher::Error::InitialListFailed(kube::Error::Api(Box::new(Status {
        code: 403,
        ..Status::default()
    })));
    let (_, steps, _) = drive(vec![Ok(Event::Init), Err(refused)]).await;
    assert_eq!(steps, [Step::Forbidden]);
}
