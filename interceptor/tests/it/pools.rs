//! Idle connections to endpoints: kept, within bounds, and not for ever.

use std::time::Duration;

use rouse_interceptor::Args;

use crate::support::{Interceptor, Origin, Route, eventually};

/// Eight requests at once, of as many clients; how many connections stay open afterwards is for the caller to say.
async fn a_burst(adjust: impl FnOnce(&mut Args), origins: &[&Origin]) -> Interceptor {
    let interceptor = Interceptor::start_with(adjust).await;
    interceptor.serve(Route::to("app")).await;
    let addrs: Vec<_> = origins.iter().map(|origin| origin.addr).collect();
    let mut clients = interceptor.hold("app", 8).await;
    interceptor.endpoints("app", &addrs);
    eventually("all are at the applications", async || {
        origins.iter().map(|origin| origin.in_progress()).sum::<usize>() == 8
    })
    .await;
    for origin in origins {
        origin.answer(8);
    }
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    interceptor
}

#[tokio::test]
async fn one_endpoints_idle_connections_are_bounded() {
    let origin = Origin::slow();
    let interceptor = a_burst(|args| args.max_idle_connections_per_endpoint = 4, &[&origin]).await;
    eventually("four are left", async || origin.open_connections() == 4).await;
    interceptor.stop().await;
}

#[tokio::test]
async fn the_processs_idle_connections_are_bounded() {
    let (one, other) = (Origin::slow(), Origin::slow());
    let interceptor = a_burst(|args| args.max_idle_connections = 3, &[&one, &other]).await;
    eventually("three are left", async || {
        one.open_connections() + other.open_connections() == 3
    })
    .await;
    // The places of connections that go are free again.
    interceptor.endpoints("app", &[one.addr]);
    eventually("none to the other is left", async || {
        other.open_connections() == 0
    })
    .await;
    interceptor.stop().await;
}

#[tokio::test]
async fn none_are_kept_where_none_are_wanted() {
    let origin = Origin::slow();
    let interceptor = a_burst(|args| args.max_idle_connections_per_endpoint = 0, &[&origin]).await;
    eventually("none is left", async || origin.open_connections() == 0).await;
    interceptor.stop().await;
}

#[tokio::test]
async fn a_connection_that_was_idle_for_too_long_is_not_used_again() {
    let interceptor =
        Interceptor::start_with(|args| args.upstream_idle_timeout = Duration::from_millis(200)).await;
    interceptor.serve(Route::to("app")).await;
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    let mut client = interceptor.client().await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.bytes_within(Duration::from_millis(300)).await, "");
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(origin.connections(), 2);
    interceptor.stop().await;
}

#[tokio::test]
async fn a_post_does_not_take_a_connection_that_was_idle_for_a_second() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    let mut client = interceptor.client().await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.post("/", "body").await.status, 200);
    assert_eq!(origin.connections(), 1, "at once it does");
    assert_eq!(client.bytes_within(Duration::from_millis(1_100)).await, "");
    assert_eq!(client.post("/", "body").await.status, 200);
    assert_eq!(origin.connections(), 2);
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(origin.connections(), 2);
    interceptor.stop().await;
}

#[tokio::test]
async fn the_connections_of_an_endpoint_that_goes_are_closed() {
    let origin = Origin::slow();
    let interceptor = a_burst(|_| {}, &[&origin]).await;
    assert!(origin.open_connections() > 0);
    interceptor.endpoints("app", &[]);
    eventually("all are closed", async || origin.open_connections() == 0).await;
    interceptor.stop().await;
}
