use rouse_daemon::metrics::Metrics;

use super::*;

fn trouble(reason: Reason) -> Trouble {
    Trouble {
        reason,
        text: "it says no".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_silent_is_told_of_and_one_that_is_heard_is_not() {
    let health = Health::default();
    let kind = health.add("Service", Count(Box::new(|| 3)));
    let (one, other) = (kind.watch(), kind.watch());
    tokio::time::advance(SILENT_AFTER).await;
    one.contact();
    assert_eq!(health.remark(), None);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(
        health.remark().as_deref(),
        Some("watch of Service, no word for 46s")
    );
    other.contact();
    assert_eq!(health.remark(), None);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_of_until_the_next_success() {
    let health = Health::default();
    let kind = health.add("Service", Count(Box::new(|| 3)));
    let watch = kind.watch();
    watch.fails(trouble(Reason::Forbidden));
    assert_eq!(health.remark().as_deref(), Some("watch of Service: it says no"));
    watch.works();
    assert_eq!(health.remark(), None);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ended_is_not_told_of() {
    let health = Health::default();
    let kind = health.add("Service", Count(Box::new(|| 3)));
    let watch = kind.watch();
    watch.fails(trouble(Reason::Missing));
    kind.remove(&watch);
    assert_eq!(health.remark(), None);
    assert!(kind.told.lock().is_none(), "the log has heard of the end");
}

#[tokio::test(start_paused = true)]
async fn a_kinds_watches_are_one_series_each() {
    let health = Health::default();
    let metrics = Metrics::new();
    metrics.register(|registry| registry.register_collector(Box::new(health.clone())));
    let kind = health.add("Service", Count(Box::new(|| 3)));
    let (one, other) = (kind.watch(), kind.watch());
    one.listed();
    one.event();
    other.listed();
    other.set_unreadable(2);
    tokio::time::advance(Duration::from_secs(5)).await;
    other.fails(trouble(Reason::Unreachable));
    one.contact();
    let text = metrics.encode();
    for line in [
        "rouse_watches{kind=\"Service\"} 2\n",
        "rouse_watch_objects{kind=\"Service\"} 3\n",
        "rouse_watch_unreadable_objects{kind=\"Service\"} 2\n",
        "rouse_watch_contact_age_seconds{kind=\"Service\"} 5.0\n",
        "rouse_watch_event_age_seconds{kind=\"Service\"} 5.0\n",
        "rouse_watch_lists_total{kind=\"Service\"} 2\n",
        "rouse_watches_failing{kind=\"Service\",reason=\"unreachable\"} 1\n",
        "rouse_watch_errors_total{kind=\"Service\",reason=\"unreachable\"} 1\n",
        "rouse_watch_errors_total{kind=\"Service\",reason=\"missing\"} 0\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}
