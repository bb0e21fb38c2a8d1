//! How long the first list of a kind is waited for.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::Listed;

fn two_namespaces() -> Scope {
    Scope::Namespaces(vec!["a".to_owned(), "gone".to_owned()])
}

#[tokio::test(start_paused = true)]
async fn one_refused_namespace_does_not_keep_the_others_from_being_served() {
    let api = FakeApiServer::start().await;
    apply(&api, "a", "x", "1");
    apply(&api, "gone", "x", "1");
    api.inject(Fault::status(403).on("configmaps").within("gone").always());
    let mut process = Process::start(&api, &two_namespaces());
    let sink = process.config_maps();
    sleep(Duration::from_secs(25)).await;
    let report = process.report();
    assert!(report.starts_with("waiting for ConfigMap"), "{report}");
    process.synced().await;
    let report = process.report();
    assert!(
        report.starts_with("ready; degraded: watch of ConfigMap: not allowed to watch"),
        "{report}"
    );
    assert_eq!(sink.seen(), ["a/x=1"]);

    api.clear_faults();
    eventually("it is served once allowed", Duration::from_secs(11), || {
        sink.seen() == ["a/x=1", "gone/x=1"]
    })
    .await;
    assert_eq!(process.report(), "ready");
}

#[tokio::test(start_paused = true)]
async fn a_required_kind_that_is_refused_everywhere_is_waited_for() {
    let api = FakeApiServer::start().await;
    api.inject(Fault::status(403).on("configmaps").always());
    for scope in [Scope::All, two_namespaces()] {
        let mut process = Process::start(&api, &scope);
        process.config_maps();
        sleep(Duration::from_mins(3)).await;
        let report = process.report();
        assert!(report.starts_with("waiting for ConfigMap"), "{scope}: {report}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_optional_kind_that_is_refused_is_waited_for_half_a_minute() {
    let api = FakeApiServer::start().await;
    api.inject(Fault::status(403).on("configmaps").always());
    let mut process = Process::start(&api, &Scope::All);
    let sink = Recorder::new(|_: &ConfigMap| String::new());
    process.watches.feed(Feed::optional("ConfigMap"), sink);
    let began = Instant::now();
    process.synced().await;
    let took = began.elapsed();
    assert!(
        (Duration::from_secs(30)..Duration::from_secs(41)).contains(&took),
        "{took:?}"
    );
    assert!(
        process.report().starts_with("ready; degraded: "),
        "{}",
        process.report()
    );
}

/// Panics at the first object.
struct Clumsy {
    has_panicked: AtomicBool,
    sink: Arc<Recorder<ConfigMap>>,
}

impl Sink<ConfigMap> for Clumsy {
    fn apply(&self, object: ConfigMap) {
        assert!(self.has_panicked.swap(true, Ordering::Relaxed), "on purpose");
        self.sink.apply(object);
    }

    fn delete(&self, namespace: &str, name: &str) {
        Sink::<ConfigMap>::delete(&self.sink, namespace, name);
    }

    fn reset(&self, within: Option<&str>, listed: &Listed) {
        Sink::<ConfigMap>::reset(&self.sink, within, listed);
    }

    fn count(&self) -> usize {
        Sink::<ConfigMap>::count(&self.sink)
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_is_told_of_everything_anew_and_waited_for() {
    for scope in [Scope::All, Scope::Namespaces(vec!["a".to_owned()])] {
        let api = FakeApiServer::start().await;
        apply(&api, "a", "x", "1");
        let mut process = Process::start(&api, &scope);
        let sink = Recorder::new(|_: &ConfigMap| String::new());
        let clumsy = Clumsy {
            has_panicked: AtomicBool::new(false),
            sink: Arc::clone(&sink),
        };
        process.watches.feed(Feed::required("ConfigMap"), clumsy);
        sleep(SOON).await;
        let report = process.report();
        assert!(
            report.starts_with("waiting for ConfigMap; degraded: watch of ConfigMap: a panic"),
            "{scope}: {report}"
        );
        process.synced().await;
        assert_eq!(process.report(), "ready");
        assert_eq!(sink.seen(), ["a/x="]);
        apply(&api, "a", "y", "1");
        eventually("it goes on", SOON, || sink.count() == 2).await;
    }
}

/// Panics when a namespace leaves.
struct Forgetless(Arc<Recorder<ConfigMap>>);

impl Sink<ConfigMap> for Forgetless {
    fn apply(&self, object: ConfigMap) {
        self.0.apply(object);
    }

    fn delete(&self, namespace: &str, name: &str) {
        Sink::<ConfigMap>::delete(&self.0, namespace, name);
    }

    fn reset(&self, within: Option<&str>, listed: &Listed) {
        assert_ne!(listed, &Listed::default(), "on purpose");
        Sink::<ConfigMap>::reset(&self.0, within, listed);
    }

    fn count(&self) -> usize {
        Sink::<ConfigMap>::count(&self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_when_a_namespace_leaves_is_told_of_others_that_come() {
    let api = FakeApiServer::start().await;
    for namespace in ["a", "b"] {
        apply(&api, namespace, "x", "1");
    }
    label(&api, "a", "yes");
    let mut process = Process::start(&api, &Scope::Selector("tenant=yes".to_owned()));
    let sink = Recorder::new(|_: &ConfigMap| String::new());
    process
        .watches
        .feed(Feed::required("ConfigMap"), Forgetless(Arc::clone(&sink)));
    process.synced().await;
    label(&api, "a", "no");
    api.eventually("its watch is closed", |api| api.open_watches("configmaps") == 0)
        .await;
    label(&api, "b", "yes");
    eventually("the other is served", SOON, || {
        sink.seen().contains(&"b/x=".to_owned())
    })
    .await;
}
