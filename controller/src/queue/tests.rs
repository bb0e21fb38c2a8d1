use rouse_routing::RouteKind;
use tokio::time::{advance, timeout};

use super::*;

fn id(name: &str) -> RouteId {
    RouteId::new(RouteKind::HttpScaledObject, "a", name)
}

/// The next route, if one comes within `patience` of the paused clock.
async fn next(requeue: &Requeue, patience: Duration) -> Option<RouteId> {
    timeout(patience, requeue.next()).await.ok()
}

#[tokio::test(start_paused = true)]
async fn a_route_that_is_queued_many_times_comes_once_and_not_at_once() {
    let requeue = Requeue::default();
    for _ in 0..5 {
        requeue.route(id("one"));
    }
    assert_eq!(requeue.len(), 1);
    assert_eq!(next(&requeue, DEBOUNCE / 2).await, None);
    assert_eq!(next(&requeue, DEBOUNCE).await, Some(id("one")));
    assert_eq!(next(&requeue, Duration::from_hours(1)).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_route_at_work_waits_for_its_own_end_and_holds_up_no_other() {
    let requeue = Requeue::default();
    requeue.route(id("one"));
    assert_eq!(next(&requeue, DEBOUNCE * 2).await, Some(id("one")));
    requeue.route(id("one"));
    requeue.route(id("two"));
    assert_eq!(next(&requeue, DEBOUNCE * 2).await, Some(id("two")));
    assert_eq!(next(&requeue, Duration::from_hours(1)).await, None);
    requeue.done(&id("one"), Outcome::Settled);
    assert_eq!(next(&requeue, DEBOUNCE).await, Some(id("one")));
}

#[tokio::test(start_paused = true)]
async fn failures_wait_longer_each_time_up_to_a_limit() {
    let requeue = Requeue::default();
    requeue.route(id("one"));
    assert!(next(&requeue, DEBOUNCE * 2).await.is_some());
    let mut waits = Vec::new();
    for _ in 0..12 {
        requeue.done(&id("one"), Outcome::Failed);
        let begun = Instant::now();
        assert!(next(&requeue, LONGEST_BACK_OFF * 2).await.is_some());
        waits.push(begun.elapsed().as_secs());
    }
    assert_eq!(waits[..4], [1, 2, 4, 8]);
    assert_eq!(waits[11], LONGEST_BACK_OFF.as_secs());

    requeue.done(&id("one"), Outcome::Settled);
    requeue.route(id("one"));
    assert!(next(&requeue, DEBOUNCE * 2).await.is_some());
    requeue.done(&id("one"), Outcome::Failed);
    assert!(
        next(&requeue, FIRST_BACK_OFF + DEBOUNCE).await.is_some(),
        "a success forgets the failures"
    );
}

#[tokio::test(start_paused = true)]
async fn news_end_the_wait_after_a_failure() {
    let requeue = Requeue::default();
    requeue.route(id("one"));
    assert!(next(&requeue, DEBOUNCE * 2).await.is_some());
    for _ in 0..6 {
        requeue.done(&id("one"), Outcome::Failed);
        assert!(next(&requeue, LONGEST_BACK_OFF).await.is_some());
    }
    requeue.done(&id("one"), Outcome::Failed);
    requeue.route(id("one"));
    assert_eq!(next(&requeue, DEBOUNCE * 2).await, Some(id("one")));
}

#[tokio::test(start_paused = true)]
async fn a_route_that_is_to_be_looked_at_again_comes_when_it_asked_to() {
    let requeue = Requeue::default();
    requeue.route(id("one"));
    assert!(next(&requeue, DEBOUNCE * 2).await.is_some());
    requeue.done(&id("one"), Outcome::Again(Duration::from_mins(1)));
    assert_eq!(next(&requeue, Duration::from_secs(59)).await, None);
    assert_eq!(next(&requeue, Duration::from_secs(2)).await, Some(id("one")));
}

#[tokio::test(start_paused = true)]
async fn abandoned_turns_can_be_taken_again() {
    let requeue = Requeue::default();
    requeue.route(id("one"));
    assert!(next(&requeue, DEBOUNCE * 2).await.is_some());
    requeue.abandon();
    requeue.route(id("one"));
    advance(DEBOUNCE).await;
    assert_eq!(next(&requeue, DEBOUNCE).await, Some(id("one")));
    requeue.done(&id("one"), Outcome::Settled);
    assert!(requeue.queue.state.lock().entries.is_empty(), "nothing is kept");
}
