//! What keeps a route active, and for how long.

use super::*;

#[tokio::test(start_paused = true)]
async fn activity_lingers_for_one_polling_interval_after_the_last_byte() {
    let (world, mut interceptor) = World::with_cold_app().await;
    interceptor
        .partial(vec![busy("app", 1)], vec![ready("app", 1)])
        .await;
    advance(secs(300)).await;
    assert_eq!(world.is_active(app()).await, Ok(true), "in flight");
    interceptor
        .partial(
            vec![RouteLoad {
                requests_total: 1,
                ..idle("app")
            }],
            vec![],
        )
        .await;
    advance(millis(15_499)).await;
    assert_eq!(world.is_active(app()).await, Ok(true));
    advance(millis(1)).await;
    assert_eq!(world.is_active(app()).await, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_came_and_went_between_two_reports_is_seen() {
    let (world, mut interceptor) = World::with_cold_app().await;
    interceptor
        .partial(
            vec![RouteLoad {
                requests_total: 1,
                ..idle("app")
            }],
            vec![ready("app", 1)],
        )
        .await;
    assert_eq!(world.is_active(app()).await, Ok(true));
    assert_eq!(
        world.values(app()).await,
        Ok(vec![("http-team_002Fapp".to_owned(), 0.0)])
    );
}

#[tokio::test(start_paused = true)]
async fn a_rate_window_does_not_keep_a_route_active_and_a_held_request_does() {
    let (world, mut interceptor) = World::with_cold_app().await;
    world
        .catalog
        .apply_http_scaled_object(&httpso("app", r#"{"requestRate": {"window": "1h"}}"#));
    interceptor.partial(vec![busy("app", 1)], vec![]).await;
    advance(secs(7300)).await;
    assert_eq!(
        world.values(app()).await,
        Ok(vec![("http-team_002Fapp".to_owned(), 0.0)])
    );
    assert_eq!(
        world.is_active(app()).await,
        Ok(true),
        "held for longer than the window"
    );
    interceptor
        .partial(
            vec![RouteLoad {
                requests_total: 11,
                ..idle("app")
            }],
            vec![],
        )
        .await;
    advance(LINGER).await;
    assert_eq!(
        world.values(app()).await,
        Ok(vec![("http-team_002Fapp".to_owned(), 1.0)]),
        "rounded up"
    );
    assert_eq!(world.is_active(app()).await, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn the_polling_interval_of_an_interceptor_route_is_learned() {
    let world = World::new();
    world
        .catalog
        .apply_interceptor_route(&interceptor_route("r", r#"{"concurrency": {"targetValue": 5}}"#));
    let mut interceptor = world.interceptor(1);
    let route = |requests_total| RouteLoad {
        kind: RouteKind::InterceptorRoute.into(),
        requests_total,
        ..idle("r")
    };
    let object = || trigger("interceptorRoute", "r");
    interceptor.full(vec![route(0)], vec![ready("r", 0)]).await;
    interceptor.partial(vec![route(1)], vec![]).await;
    advance(secs(29)).await;
    assert_eq!(world.is_active(object()).await, Ok(true), "30 s to begin with");
    for _ in 0..4 {
        advance(secs(5)).await;
        assert_eq!(world.is_active(object()).await, Ok(false));
    }
    interceptor.partial(vec![route(2)], vec![]).await;
    advance(secs(5)).await;
    assert_eq!(world.is_active(object()).await, Ok(true));
    advance(millis(300)).await;
    assert_eq!(world.is_active(object()).await, Ok(false), "polled every 5 s");
}
