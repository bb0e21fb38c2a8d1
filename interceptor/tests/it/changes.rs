//! Objects that change while requests are held or in flight.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::json;

use crate::support::{Interceptor, Origin, Route, eventually};

#[tokio::test]
async fn requests_held_for_a_route_that_is_removed_are_answered_404() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let mut held = interceptor.hold("app", 3).await;
    interceptor.remove_route("app").await;
    for client in &mut held {
        let response = client.response().await;
        assert_eq!(
            (response.status, response.header("rouse-error")),
            (404, "route_removed")
        );
    }
    let later = interceptor.get("/").await;
    assert_eq!(
        (later.status, later.header("rouse-error")),
        (404, "route_not_found")
    );
    // The route comes back.
    interceptor.serve(Route::to("app")).await;
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    assert_eq!(interceptor.get("/").await.status, 200);
    interceptor.stop().await;
}

/// As `kubectl replace --force` and some installers do it.
#[tokio::test]
async fn requests_held_for_a_route_that_is_deleted_and_made_anew_go_on() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let mut held = interceptor.hold("app", 5).await;
    interceptor.remove_route("app").await;
    interceptor.serve(Route::to("app")).await;
    interceptor.has_requests("app", 5).await;
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    for client in &mut held {
        assert_eq!(client.response().await.status, 200);
    }
    assert_eq!(origin.request_count(), 5);
    interceptor.has_requests("app", 0).await;
    interceptor.stop().await;
}

/// A user who moves from the one kind to the other keeps the name.
#[tokio::test]
async fn requests_held_for_a_route_go_on_with_the_one_that_takes_its_place() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let mut held = interceptor.hold("app", 3).await;
    let spec = json!({
        "target": { "service": "app", "port": 80 },
        "rules": [{ "hosts": ["app.example.com"] }],
        "scalingMetric": { "concurrency": { "targetValue": 10 } },
    });
    interceptor.serve_interceptor_route("app", spec).await;
    interceptor.has_requests("app", 3).await;
    // And back.
    interceptor.remove_interceptor_route("app").await;
    interceptor.has_requests("app", 3).await;
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    for client in &mut held {
        assert_eq!(client.response().await.status, 200);
    }
    assert_eq!(origin.request_count(), 3);
    interceptor.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_while_its_route_is_gone_is_not_waited_for() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let mut held = interceptor.hold("app", 2).await;
    interceptor.remove_route("app").await;
    drop(held.remove(0));
    interceptor.serve(Route::to("app")).await;
    interceptor.has_requests("app", 1).await;
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    assert_eq!(held[0].response().await.status, 200);
    assert_eq!(origin.request_count(), 1);
    interceptor.stop().await;
}

#[tokio::test]
async fn requests_held_for_a_route_follow_it_to_its_new_service() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let mut held = interceptor.hold("app", 5).await;
    let (old, new) = (Origin::saying("old"), Origin::saying("new"));
    interceptor.serve(Route::to("app").service("next")).await;
    interceptor.has_requests("app", 5).await;
    interceptor.endpoints("app", &[old.addr]);
    interceptor.endpoints("next", &[new.addr]);
    for client in &mut held {
        assert_eq!(client.response().await.text(), "new");
    }
    assert_eq!(old.request_count(), 0);
    interceptor.stop().await;
}

#[tokio::test]
async fn requests_held_for_a_route_follow_it_to_a_service_that_is_ready() {
    let interceptor = Interceptor::start().await;
    interceptor.serve(Route::to("warm")).await;
    let warm = Origin::saying("warm");
    interceptor.endpoints("warm", &[warm.addr]);
    interceptor.serve(Route::to("app")).await;
    let mut held = interceptor.hold("app", 5).await;
    interceptor.serve(Route::to("app").service("warm")).await;
    for client in &mut held {
        assert_eq!(client.response().await.text(), "warm");
    }
    interceptor.stop().await;
}

#[tokio::test]
async fn a_change_of_deadline_concerns_later_requests() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let mut held = interceptor.hold("app", 1).await;
    interceptor
        .serve(Route::to("app").readiness_timeout("100ms"))
        .await;
    assert_eq!(interceptor.get("/").await.status, 504);
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    assert_eq!(held[0].response().await.status, 200);
    interceptor.stop().await;
}

#[tokio::test]
async fn routes_of_one_target_are_served_in_turn() {
    let interceptor = Interceptor::serving(Route::to("app").concurrency_target(1)).await;
    interceptor
        .serve(Route::to("twin").service("app").concurrency_target(1))
        .await;
    let mut many = interceptor.hold("app", 10).await;
    let mut few = interceptor.hold("twin", 2).await;
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    for client in many.iter_mut().chain(&mut few) {
        assert_eq!(client.response().await.status, 200);
    }
    let hosts: Vec<_> = origin
        .seen()
        .iter()
        .map(|seen| seen.headers["host"].clone())
        .collect();
    let last_of_few = hosts.iter().rposition(|host| host == "twin.example.com");
    assert!(last_of_few.is_some_and(|place| place < 8), "{hosts:?}");
    interceptor.stop().await;
}

#[tokio::test]
async fn a_request_in_flight_finishes_when_its_endpoint_is_removed() {
    for route in [Route::to("app"), Route::to("app").over_h2c()] {
        let interceptor = Interceptor::serving(route).await;
        let (leaving, staying) = (Origin::slow(), Origin::hello());
        interceptor.endpoints("app", &[leaving.addr]);
        let mut client = interceptor.client().await;
        client.begin_get("/").await;
        eventually("the request is at the application", async || {
            leaving.in_progress() == 1
        })
        .await;
        interceptor.endpoints("app", &[staying.addr]);
        assert_eq!(interceptor.get("/").await.status, 200);
        leaving.answer(1);
        let response = client.response().await;
        assert_eq!((response.status, response.text()), (200, "hello"));
        assert_eq!(client.get("/next").await.status, 200);
        assert_eq!((leaving.request_count(), staying.request_count()), (1, 2));
        interceptor.has_requests("app", 0).await;
        interceptor.stop().await;
    }
}

#[tokio::test]
async fn endpoints_come_and_go_under_load_without_errors() {
    let interceptor = Arc::new(Interceptor::serving(Route::to("app")).await);
    let origins: Vec<Origin> = (0..4).map(|_| Origin::hello()).collect();
    let addrs: Vec<_> = origins.iter().map(|origin| origin.addr).collect();
    interceptor.endpoints("app", &addrs);
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let (interceptor, done) = (Arc::clone(&interceptor), Arc::clone(&done));
            tokio::spawn(async move {
                let mut client = interceptor.client().await;
                let mut count = 0_usize;
                while !done.load(Ordering::Relaxed) {
                    let response = if number % 2 == 0 {
                        client.get("/").await
                    } else {
                        client.post("/", "body").await
                    };
                    assert_eq!(response.status, 200, "{response:?}");
                    count += 1;
                }
                count
            })
        })
        .collect();
    // Every subset once, none of them empty but one.
    for round in (1..16_usize).chain([0, 15]) {
        let subset: Vec<_> = (0..4)
            .filter(|bit| round >> bit & 1 == 1)
            .map(|bit| addrs[bit])
            .collect();
        let before: usize = origins.iter().map(Origin::request_count).sum();
        interceptor.endpoints("app", &subset);
        if !subset.is_empty() {
            eventually("requests go on", async || {
                origins.iter().map(Origin::request_count).sum::<usize>() > before + 50
            })
            .await;
        }
    }
    done.store(true, Ordering::Relaxed);
    let mut answered = 0;
    for client in clients {
        answered += client.await.expect("no error");
    }
    let executed: usize = origins.iter().map(Origin::request_count).sum();
    assert_eq!(executed, answered, "none lost, none executed twice");
    println!("measured: {answered} requests over 17 changes of endpoints");
}
