//! When a wake is pushed, and when not.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_edge_is_pushed_at_once_and_repeated_until_an_endpoint_is_ready() {
    let (world, mut interceptor) = World::with_cold_app().await;
    let mut pushes = world.open(app()).await;
    assert_eq!(
        pushes.next().await,
        Some((false, Duration::ZERO)),
        "the opening value"
    );
    assert_eq!(pushes.next().await, None, "an idle route pushes nothing");

    interceptor
        .partial(
            vec![RouteLoad {
                pending: 1,
                waking: true,
                ..busy("app", 1)
            }],
            vec![],
        )
        .await;
    for expected in [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000] {
        assert_eq!(pushes.next().await, Some((true, millis(expected))));
    }

    interceptor
        .partial(vec![busy("app", 1)], vec![ready("app", 1)])
        .await;
    assert_eq!(pushes.next().await, None, "the endpoint is ready");
}

#[tokio::test(start_paused = true)]
async fn pushes_begin_again_when_the_last_endpoint_goes_while_requests_are_there() {
    let (world, mut interceptor) = World::with_cold_app().await;
    interceptor
        .partial(vec![busy("app", 1)], vec![ready("app", 1)])
        .await;
    let mut pushes = world.open(app()).await;
    assert_eq!(
        pushes.next().await,
        Some((true, Duration::ZERO)),
        "the opening value"
    );
    assert_eq!(pushes.next().await, None);

    interceptor.partial(vec![], vec![ready("app", 0)]).await;
    assert_eq!(pushes.next().await, Some((true, Duration::ZERO)));
    assert_eq!(pushes.next().await, Some((true, millis(100))));
}

#[tokio::test(start_paused = true)]
async fn warm_traffic_pushes_nothing() {
    let (world, mut interceptor) = World::with_cold_app().await;
    interceptor.partial(vec![], vec![ready("app", 2)]).await;
    let mut pushes = world.open(app()).await;
    assert_eq!(pushes.next().await, Some((false, Duration::ZERO)));
    for round in 0..200 {
        interceptor
            .partial(
                vec![RouteLoad {
                    requests_total: round,
                    ..busy("app", round % 2)
                }],
                vec![],
            )
            .await;
        advance(millis(100)).await;
    }
    assert_eq!(pushes.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_cold_target_is_pushed_at_once_in_the_middle_of_long_repeats() {
    let (world, mut interceptor) = World::with_cold_app().await;
    interceptor.partial(vec![busy("app", 1)], vec![]).await;
    let mut pushes = world.open(app()).await;
    for _ in 0..7 {
        pushes.next().await;
    }
    interceptor
        .partial(
            vec![RouteLoad {
                requests_total: 1,
                ..idle("app")
            }],
            vec![],
        )
        .await;
    assert_eq!(
        pushes.next().await,
        Some((true, secs(5))),
        "it lingers, and so do the repeats"
    );
    advance(secs(1)).await;
    interceptor
        .partial(
            vec![RouteLoad {
                requests_total: 2,
                ..busy("app", 1)
            }],
            vec![],
        )
        .await;
    assert_eq!(pushes.next().await, Some((true, Duration::ZERO)));
}

#[tokio::test(start_paused = true)]
async fn an_interceptor_that_flaps_cannot_cause_a_flood() {
    let (world, mut interceptor) = World::with_cold_app().await;
    let mut pushes = world.open(app()).await;
    pushes.next().await;
    for count in [1, 0, 1, 0, 1] {
        interceptor.partial(vec![busy("app", count)], vec![]).await;
    }
    assert_eq!(pushes.next().await, Some((true, Duration::ZERO)));
    interceptor.partial(vec![busy("app", 0)], vec![]).await;
    interceptor.partial(vec![busy("app", 1)], vec![]).await;
    assert_eq!(pushes.next().await, Some((true, millis(100))));
}

#[tokio::test(start_paused = true)]
async fn a_wake_once_begun_is_demand_after_every_client_has_left() {
    let (world, mut interceptor) = World::with_cold_app().await;
    interceptor
        .partial(
            vec![RouteLoad {
                waking: true,
                ..busy("app", 1)
            }],
            vec![],
        )
        .await;
    interceptor
        .partial(
            vec![RouteLoad {
                waking: true,
                requests_total: 1,
                ..idle("app")
            }],
            vec![],
        )
        .await;
    advance(secs(170)).await;
    assert_eq!(world.is_active(app()).await, Ok(true));
    interceptor
        .partial(
            vec![RouteLoad {
                requests_total: 1,
                ..idle("app")
            }],
            vec![],
        )
        .await;
    advance(LINGER).await;
    assert_eq!(world.is_active(app()).await, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn a_served_placeholder_wakes() {
    let (world, mut interceptor) = World::with_cold_app().await;
    let mut pushes = world.open(app()).await;
    pushes.next().await;
    interceptor
        .partial(
            vec![RouteLoad {
                requests_total: 1,
                demand_pulses: 1,
                ..idle("app")
            }],
            vec![],
        )
        .await;
    assert_eq!(pushes.next().await, Some((true, Duration::ZERO)));
    assert_eq!(world.is_active(app()).await, Ok(true));
    advance(LINGER).await;
    assert_eq!(world.is_active(app()).await, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn one_interceptor_without_endpoints_is_enough_to_push() {
    let (world, mut first) = World::with_cold_app().await;
    let mut second = world.interceptor(2);
    second.full(vec![idle("app")], vec![ready("app", 1)]).await;
    let mut pushes = world.open(app()).await;
    pushes.next().await;
    first.partial(vec![busy("app", 1)], vec![]).await;
    assert_eq!(
        pushes.next().await,
        Some((true, Duration::ZERO)),
        "the first holds it"
    );
    first.partial(vec![], vec![ready("app", 1)]).await;
    assert_eq!(pushes.next().await, None);
}
