//! How held requests are let go: as endpoints have room, in order of arrival.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use crate::support::{Interceptor, Origin, Route, eventually};

const TICK: Duration = Duration::from_millis(100);

/// At no time may more requests have come than the windows allow: `window`, doubling every 100 ms from `begin` on.
fn assert_paced(origin: &Origin, begin: Instant, window: usize) {
    let arrivals: Vec<Duration> = origin
        .seen()
        .iter()
        .map(|seen| seen.at.saturating_duration_since(begin))
        .collect();
    for doublings in 0..6_u32 {
        let end = TICK * (doublings + 1);
        let came = arrivals.iter().filter(|at| **at < end).count();
        let allowed = window << doublings;
        println!("measured: {came} requests within {end:?}, {allowed} allowed");
        assert!(
            came <= allowed,
            "{came} requests within {end:?}, {allowed} allowed"
        );
    }
}

#[tokio::test]
async fn three_hundred_held_requests_go_out_in_windows_that_double() {
    let interceptor = Interceptor::serving(Route::to("app").concurrency_target(10)).await;
    let mut clients = interceptor.hold("app", 300).await;
    let origin = Origin::slow();

    let begin = Instant::now();
    interceptor.endpoints("app", &[origin.addr]);
    eventually("all requests are at the application", async || {
        origin.in_progress() == 300
    })
    .await;
    assert_paced(&origin, begin, 10);
    println!("measured: {:?} until all had gone out", begin.elapsed());

    let first: BTreeSet<String> = origin.targets().into_iter().take(10).collect();
    let oldest: BTreeSet<String> = (0..10).map(|number| format!("/{number}")).collect();
    assert_eq!(first, oldest, "the first window is the ten oldest");

    origin.answer(300);
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    let distinct: BTreeSet<String> = origin.targets().into_iter().collect();
    assert_eq!((origin.request_count(), distinct.len()), (300, 300), "each once");
    interceptor.stop().await;
}

#[tokio::test]
async fn an_answer_makes_room_for_the_next_request() {
    let interceptor = Interceptor::serving(Route::to("app").concurrency_target(10)).await;
    let mut clients = interceptor.hold("app", 100).await;
    let origin = Origin::hello();
    let begin = Instant::now();
    interceptor.endpoints("app", &[origin.addr]);
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    println!(
        "measured: {:?} for 100 requests of a fast application with a window of 10, at most {} at once",
        begin.elapsed(),
        origin.peak()
    );
    assert_eq!(origin.request_count(), 100);
    interceptor.stop().await;
}

#[tokio::test]
async fn pacing_begins_anew_with_the_next_hold() {
    let interceptor = Interceptor::serving(Route::to("app").concurrency_target(5)).await;
    let origin = Origin::slow();
    for round in 0..2 {
        let mut clients = interceptor.hold("app", 40).await;
        let before = origin.request_count();
        let begin = Instant::now();
        interceptor.endpoints("app", &[origin.addr]);
        eventually("all requests are at the application", async || {
            origin.in_progress() == 40
        })
        .await;
        let within_a_tick = origin.seen()[before..]
            .iter()
            .filter(|seen| seen.at < begin + TICK)
            .count();
        assert!(within_a_tick <= 5, "{within_a_tick} in round {round}");
        origin.answer(40);
        for client in &mut clients {
            assert_eq!(client.response().await.status, 200);
        }
        interceptor.endpoints("app", &[]);
    }
    interceptor.stop().await;
}

#[tokio::test]
async fn two_endpoints_share_what_was_held() {
    let interceptor = Interceptor::serving(Route::to("app").concurrency_target(5)).await;
    let mut clients = interceptor.hold("app", 20).await;
    let (one, other) = (Origin::slow(), Origin::slow());
    interceptor.endpoints("app", &[one.addr, other.addr]);
    eventually("all requests are at the applications", async || {
        one.in_progress() + other.in_progress() == 20
    })
    .await;
    assert!(one.in_progress() >= 5 && other.in_progress() >= 5);
    one.answer(20);
    other.answer(20);
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    interceptor.stop().await;
}
