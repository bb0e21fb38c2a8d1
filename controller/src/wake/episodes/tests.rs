use std::sync::Arc;

use rouse_routing::RouteKind;

use super::*;
use crate::observed::WorkloadKind;

const PATIENCE: Duration = Duration::from_secs(5);

fn id(name: &str) -> RouteId {
    RouteId::new(RouteKind::HttpScaledObject, "team", name)
}

fn waiting(names: &[&str], since: Instant) -> HashMap<RouteId, Instant> {
    names.iter().map(|name| (id(name), since)).collect()
}

fn workload(name: &str) -> Workload {
    Workload::new(
        &Arc::from("team"),
        WorkloadKind::of("apps/v1", "Deployment"),
        name,
    )
}

#[test]
fn a_route_is_due_once_it_has_waited_long_enough_without_a_break() {
    let start = Instant::now();
    let at = |millis: u64| start + Duration::from_millis(millis);
    let mut episodes = Episodes::new(PATIENCE);
    episodes.follow(&waiting(&["app"], start), start);
    assert_eq!(episodes.next_due(), Some(at(5_000)));
    assert_eq!(episodes.take_due(at(4_999)), None);
    // An endpoint was ready for a moment.
    episodes.follow(&waiting(&[], at(4_999)), at(4_999));
    episodes.follow(&waiting(&["app"], at(5_000)), at(5_000));
    assert_eq!(episodes.take_due(at(9_999)), None);
    assert_eq!(episodes.take_due(at(10_000)), Some((id("app"), at(5_000))));
    assert_eq!(episodes.take_due(at(60_000)), None, "somebody is looking");
    assert_eq!(episodes.next_due(), None);
}

#[test]
fn those_that_wait_longest_come_first() {
    let start = Instant::now();
    let mut episodes = Episodes::new(PATIENCE);
    episodes.follow(&waiting(&["first"], start), start);
    episodes.follow(
        &waiting(&["first", "second"], start + Duration::from_secs(1)),
        start + Duration::from_secs(1),
    );
    let late = start + Duration::from_mins(1);
    let taken = [episodes.take_due(late), episodes.take_due(late)];
    let names: Vec<_> = taken
        .iter()
        .flatten()
        .map(|(id, _)| id.name.to_string())
        .collect();
    assert_eq!(names, ["first", "second"]);
}

#[test]
fn looks_without_a_result_are_repeated_as_often_as_keda_is_given_time() {
    let mut now = Instant::now();
    let mut episodes = Episodes::new(PATIENCE);
    episodes.follow(&waiting(&["app"], now), now);
    let mut gaps = Vec::new();
    for _ in 0..6 {
        let due = episodes.next_due().expect("due");
        gaps.push((due - now).as_secs());
        now = due;
        assert!(episodes.take_due(now).is_some());
        episodes.looked(&id("app"), Vec::new(), Again::Later, now);
    }
    assert_eq!(gaps, [5, 1, 2, 4, 5, 5]);
    let due = episodes.next_due().expect("due");
    assert!(episodes.take_due(due).is_some());
    episodes.looked(&id("app"), Vec::new(), Again::Soon, due);
    assert_eq!(episodes.next_due(), Some(due));
}

#[test]
fn one_wake_scales_once() {
    let start = Instant::now();
    let late = start + Duration::from_mins(10);
    let mut episodes = Episodes::new(PATIENCE);
    episodes.follow(&waiting(&["app", "same"], start), start);
    assert!(episodes.take_due(late).is_some());
    episodes.looked(&id("app"), vec![workload("app")], Again::Never, late);
    // The other route's look at the same workload.
    assert!(episodes.is_woken(&workload("app")));
    assert!(!episodes.is_woken(&workload("other")));
    episodes.follow(&waiting(&["same"], late), late);
    assert!(!episodes.is_woken(&workload("app")), "the wake is over");
    episodes.looked(&id("app"), vec![workload("app")], Again::Never, late);
    assert!(
        !episodes.is_woken(&workload("app")),
        "nothing is kept of an episode that is over"
    );
}

#[test]
fn a_first_look_comes_before_repeated_ones() {
    let start = Instant::now();
    let mut episodes = Episodes::new(PATIENCE);
    episodes.follow(&waiting(&["stuck"], start), start);
    let now = start + PATIENCE;
    assert!(episodes.take_due(now).is_some());
    assert!(episodes.is_news(&id("stuck"), "acted"));
    assert!(!episodes.is_news(&id("stuck"), "acted"), "told once");
    episodes.looked(&id("stuck"), Vec::new(), Again::Later, now);
    episodes.follow(
        &waiting(&["stuck", "new"], now + Duration::from_millis(500)),
        now + Duration::from_millis(500),
    );
    let later = now + PATIENCE * 2;
    assert_eq!(
        episodes.take_due(later),
        Some((id("new"), now + Duration::from_millis(500)))
    );
    assert_eq!(episodes.take_due(later), Some((id("stuck"), start)));
}

#[test]
fn the_time_before_the_endpoints_were_gone_counts() {
    let start = Instant::now();
    let at = |millis: u64| start + Duration::from_millis(millis);
    for (heard, due) in [(3_000, 5_000), (4_500, 5_500), (60_000, 61_000)] {
        let mut episodes = Episodes::new(PATIENCE);
        episodes.follow(&waiting(&["app"], start), at(heard));
        assert_eq!(episodes.next_due(), Some(at(due)));
        assert_eq!(episodes.take_due(at(due)), Some((id("app"), start)));
    }
}
