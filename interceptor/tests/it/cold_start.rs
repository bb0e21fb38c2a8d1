//! From zero to answered.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Interceptor, Origin, Route, UnboundOrigin};

#[tokio::test]
async fn a_request_is_held_until_an_endpoint_is_ready_and_says_so() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let origin = Origin::hello();
    let mut client = interceptor.client().await;

    client.begin_get("/first").await;
    interceptor.has_requests("app", 1).await;
    interceptor.endpoints("app", &[origin.addr]);
    let first = client.response().await;
    assert_eq!((first.status, first.text()), (200, "hello"));
    assert_eq!(first.was_cold(), Some(true));

    let second = client.get("/second").await;
    assert_eq!((second.status, second.text()), (200, "hello"));
    assert_eq!(second.was_cold(), Some(false));

    assert_eq!(origin.targets(), ["/first", "/second"]);
    assert_eq!(origin.connections(), 1, "the connection is used again");
    interceptor.has_requests("app", 0).await;
    assert_eq!(interceptor.request_count("app").await, 2);
    interceptor.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_is_ready_before_it_listens_is_called_the_moment_it_does() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let unbound = UnboundOrigin::new();
    interceptor.endpoints("app", &[unbound.addr]);
    let mut clients = interceptor.hold("app", 20).await;

    let listening = Instant::now();
    let origin = unbound.hello();
    let response = clients[0].response().await;
    let took = listening.elapsed();
    println!("measured: {took:?} from listening to the first answer");
    assert_eq!(response.status, 200);
    assert_eq!(response.was_cold(), Some(true));
    assert!(took < Duration::from_millis(200), "{took:?}");
    for client in &mut clients[1..] {
        assert_eq!(client.response().await.status, 200);
    }
    assert_eq!(origin.request_count(), 20, "none was executed twice");
    println!("measured: {} connections for 20 requests", origin.connections());
    assert!(origin.connections() <= 22, "one each, and what was tried before");
    interceptor.stop().await;
}

#[tokio::test]
async fn requests_keep_their_order_while_the_only_endpoint_refuses() {
    // One at a time to begin with, so that the order of grants shows at the application.
    let interceptor = Interceptor::serving(Route::to("app").concurrency_target(1)).await;
    let unbound = UnboundOrigin::new();
    interceptor.endpoints("app", &[unbound.addr]);
    let mut clients = interceptor.hold("app", 12).await;

    let origin = unbound.hello();
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    let order: Vec<usize> = origin
        .targets()
        .iter()
        .map(|target| target[1..].parse().expect("a number"))
        .collect();
    assert_eq!(order[0], 0, "{order:?}");
    for (place, number) in order.iter().enumerate() {
        // On a busy machine the window has doubled before the last are answered.
        assert!(place.abs_diff(*number) <= 3, "{order:?}");
    }
    interceptor.stop().await;
}

#[tokio::test]
async fn a_request_that_comes_back_from_an_endpoint_has_its_place_even_when_the_queue_is_full() {
    let interceptor = Interceptor::start_with(|args| args.cold_start_max_pending_requests = 5).await;
    interceptor.serve(Route::to("app")).await;
    let mut clients = interceptor.hold("app", 5).await;

    // All five go out, are refused and come back, while newcomers take what room they find.
    let unbound = UnboundOrigin::new();
    interceptor.endpoints("app", &[unbound.addr]);
    let mut newcomers = Vec::new();
    for _ in 0..20 {
        let mut client = interceptor.client().await;
        client.begin_get("/new").await;
        newcomers.push(client);
    }
    let _origin = unbound.hello();
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    for client in &mut newcomers {
        let status = client.response().await.status;
        assert!(status == 200 || status == 503, "{status}");
    }
    interceptor.stop().await;
}
