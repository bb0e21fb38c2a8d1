use std::sync::Arc;

use rouse_routing::{RouteId, RouteKind};
use tokio::time::Instant;
use tokio_test::{assert_pending, assert_ready, task};

use super::{pace::PACE_TICK, *};
use crate::plan::{TargetConfig, TargetKey, TargetPort};

fn target() -> Arc<Target> {
    let key = TargetKey {
        namespace: "default".into(),
        service: "app".into(),
        port: TargetPort::Number(80),
    };
    // No workers, so no driver: the tests turn the wheel themselves.
    let settings = crate::target::testing::settings();
    Target::new(key, Arc::new(settings))
}

fn ready(count: u16) -> TargetConfig {
    let ready = (0..count).map(|n| ([127, 0, 0, 1], 1000 + n).into()).collect();
    TargetConfig {
        ready,
        ..TargetConfig::default()
    }
}

fn route(name: &str) -> RouteId {
    RouteId::new(RouteKind::HttpScaledObject, "default", name)
}

/// The verdict that a ticket holds now, if it holds one.
fn verdict(ticket: &mut Ticket) -> Option<Verdict> {
    let mut task = task::spawn(ticket.verdict());
    match task.poll() {
        std::task::Poll::Ready(verdict) => Some(verdict),
        std::task::Poll::Pending => None,
    }
}

fn grant(ticket: &mut Ticket) -> Option<Grant> {
    match verdict(ticket) {
        Some(Verdict::Granted(grant)) => Some(grant),
        Some(other) => panic!("expected a grant, got {other:?}"),
        None => None,
    }
}

#[tokio::test(start_paused = true)]
async fn requests_are_granted_in_order_of_arrival_when_an_endpoint_becomes_ready() {
    let target = target();
    let route = route("a");
    let mut tickets: Vec<_> = (0..10).map(|n| target.wait(&route, n, 3)).collect();
    assert!(tickets.iter_mut().all(|ticket| verdict(ticket).is_none()));

    target.update(&ready(1));
    let mut grants: Vec<_> = tickets.iter_mut().map(grant).collect();
    let granted: Vec<_> = grants.iter().map(Option::is_some).collect();
    assert_eq!(
        granted,
        [vec![true; 3], vec![false; 7]].concat(),
        "the window is 3"
    );

    // A slot that ends lets the next one through, not another.
    grants[1].take().expect("the second was granted").slot.answered();
    // Collected first: a grant that is dropped lets the next one through.
    let next: Vec<_> = tickets[3..].iter_mut().map(grant).collect();
    let next: Vec<_> = next.iter().map(Option::is_some).collect();
    assert_eq!(next, [true, false, false, false, false, false, false]);
}

#[tokio::test(start_paused = true)]
async fn the_window_doubles_each_tick_unless_an_endpoint_failed() {
    let target = target();
    let route = route("a");
    let mut tickets: Vec<_> = (0..20).map(|n| target.wait(&route, n, 1)).collect();
    target.update(&ready(1));
    let mut held: Vec<Grant> = tickets.iter_mut().filter_map(grant).collect();
    assert_eq!(held.len(), 1);
    let mut granted = 1;
    let mut tickets: Vec<_> = tickets.into_iter().skip(1).collect();
    for expected in [2, 4, 8] {
        tokio::time::advance(PACE_TICK).await;
        target.gate().tick(Instant::now());
        // A driver that is woken early grows nothing.
        target.gate().tick(Instant::now());
        target.pump(Instant::now());
        let new: Vec<_> = tickets.iter_mut().filter_map(grant).collect();
        granted += new.len();
        held.extend(new);
        tickets.drain(..granted - (20 - tickets.len()));
        assert_eq!(granted, expected);
    }
    held.pop().expect("some are held").slot.failed();
    tokio::time::advance(PACE_TICK).await;
    target.gate().tick(Instant::now());
    target.pump(Instant::now());
    let new: Vec<_> = tickets.iter_mut().filter_map(grant).collect();
    assert_eq!(new.len(), 1, "only the place of the failed one");
}

#[tokio::test(start_paused = true)]
async fn an_empty_queue_ends_pacing() {
    let target = target();
    let route = route("a");
    let mut tickets: Vec<_> = (0..3).map(|n| target.wait(&route, n, 1)).collect();
    target.update(&ready(1));
    for _ in 0..3 {
        tokio::time::advance(PACE_TICK).await;
        target.gate().tick(Instant::now());
        target.pump(Instant::now());
    }
    let held: Vec<_> = tickets.iter_mut().filter_map(grant).collect();
    assert_eq!(held.len(), 3, "the window has grown");

    target.update(&ready(0));
    let mut tickets: Vec<_> = (3..6).map(|n| target.wait(&route, n, 1)).collect();
    target.update(&ready(1));
    let held: Vec<_> = tickets.iter_mut().filter_map(grant).collect();
    assert_eq!(held.len(), 1, "the next hold begins with the first window");
}

#[tokio::test(start_paused = true)]
async fn a_slot_ends_after_five_seconds_at_the_latest() {
    let target = target();
    let route = route("a");
    let mut first = target.wait(&route, 1, 1);
    let mut second = target.wait(&route, 2, 1);
    target.update(&ready(1));
    let _held = grant(&mut first).expect("the first is granted");
    for _ in 0..49 {
        tokio::time::advance(PACE_TICK).await;
    }
    // Without a tick the window has not grown; the slot is still taken.
    target.pump(Instant::now());
    assert!(grant(&mut second).is_none());
    tokio::time::advance(PACE_TICK).await;
    target.gate().tick(Instant::now());
    target.pump(Instant::now());
    assert!(grant(&mut second).is_some());
}

#[tokio::test(start_paused = true)]
async fn routes_with_one_target_take_turns() {
    let target = target();
    let (a, b) = (route("a"), route("b"));
    let mut of_a: Vec<_> = (0..6).map(|n| target.wait(&a, n, 4)).collect();
    let mut of_b: Vec<_> = (6..8).map(|n| target.wait(&b, n, 4)).collect();
    target.update(&ready(1));
    let count = |tickets: &mut Vec<Ticket>| {
        let grants: Vec<_> = tickets.iter_mut().filter_map(grant).collect();
        let granted = grants.len();
        // Kept, so that no slot ends.
        std::mem::forget(grants);
        granted
    };
    assert_eq!(
        (count(&mut of_a), count(&mut of_b)),
        (2, 2),
        "a route with a long queue takes no more than its turn"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_back_stands_where_it_stood() {
    let target = target();
    let route = route("a");
    let mut first = target.wait(&route, 1, 1);
    let mut second = target.wait(&route, 2, 1);
    let mut third = target.wait(&route, 3, 1);
    target.update(&ready(1));
    let refused = grant(&mut first).expect("the first is granted");
    // Its endpoint refuses it: quarantined, so that nobody else is let through meanwhile.
    let endpoint = Arc::clone(refused.endpoint.endpoint());
    endpoint.failed(Instant::now());
    refused.slot.failed();
    assert!(grant(&mut second).is_none());
    drop(first);
    let mut first = target.wait(&route, 1, 1);
    endpoint.succeeded();
    target.pump(Instant::now());
    assert!(grant(&mut third).is_none());
    assert!(grant(&mut first).is_some());
    assert!(
        grant(&mut second).is_some(),
        "the first one's slot ended when it was dropped"
    );
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_left_goes_to_those_behind() {
    let target = target();
    let route = route("a");
    let first = target.wait(&route, 1, 1);
    let mut second = target.wait(&route, 2, 1);
    drop(first);
    assert_eq!(target.gate().len(), 1);
    target.update(&ready(1));
    assert!(grant(&mut second).is_some());
    assert!(target.gate().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_nobody_takes_goes_to_the_next() {
    let target = target();
    let route = route("a");
    let first = target.wait(&route, 1, 1);
    let mut second = target.wait(&route, 2, 1);
    target.update(&ready(1));
    assert!(grant(&mut second).is_none());
    // Granted, and gone before it looked.
    drop(first);
    let grant = grant(&mut second).expect("the slot came free");
    assert_eq!(
        grant.endpoint.endpoint().in_flight(),
        1,
        "the first one's place at the endpoint came free with it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dismissed_route_leaves_the_others_alone() {
    let target = target();
    let (a, b) = (route("a"), route("b"));
    let mut of_a = target.wait(&a, 1, 1);
    let mut of_b = target.wait(&b, 2, 1);
    target.gate().dismiss(&a, || Verdict::RouteRemoved);
    assert!(matches!(verdict(&mut of_a), Some(Verdict::RouteRemoved)));
    assert!(verdict(&mut of_b).is_none());
    drop(of_a);
    assert_eq!(target.gate().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn new_arrivals_queue_behind_held_ones() {
    let target = target();
    let route = route("a");
    let _waiting: Vec<_> = (0..3).map(|n| target.wait(&route, n, 1)).collect();
    assert!(target.pick(Instant::now()).is_none());
    target.update(&ready(1));
    assert!(
        target.pick(Instant::now()).is_none(),
        "two are still waiting for the pace"
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_is_woken_not_polled() {
    let target = target();
    let route = route("a");
    let mut ticket = target.wait(&route, 1, 1);
    let mut waiting = task::spawn(ticket.verdict());
    assert_pending!(waiting.poll());
    target.update(&ready(1));
    assert!(waiting.is_woken());
    assert!(matches!(assert_ready!(waiting.poll()), Verdict::Granted(_)));
}
