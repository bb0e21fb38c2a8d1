//! An HTTPScaledObject whose load is reported under the InterceptorRoute of its name.

use super::*;

/// What an interceptor says of the InterceptorRoute `app`.
fn replaced(load: RouteLoad) -> RouteLoad {
    RouteLoad {
        kind: RouteKind::InterceptorRoute.into(),
        ..load
    }
}

/// With an HTTPScaledObject `app` and, added later, an InterceptorRoute of that name.
async fn migrating(metric: &str) -> (World, crate::test_support::Interceptor) {
    let (world, mut interceptor) = World::with_cold_app().await;
    world.catalog.apply_http_scaled_object(&httpso("app", metric));
    world.catalog.apply_interceptor_route(&interceptor_route(
        "app",
        r#"{"concurrency": {"targetValue": 5}}"#,
    ));
    let removed = RouteLoad {
        removed: true,
        ..idle("app")
    };
    interceptor
        .partial(vec![removed, replaced(idle("app"))], vec![])
        .await;
    (world, interceptor)
}

#[tokio::test(start_paused = true)]
async fn its_load_counts_for_the_http_scaled_object() {
    let (world, mut interceptor) = migrating("{}").await;
    assert_eq!(world.is_active(app()).await, Ok(false));
    interceptor
        .partial(vec![replaced(busy("app", 7))], vec![ready("app", 1)])
        .await;
    assert_eq!(world.is_active(app()).await, Ok(true));
    assert_eq!(
        world.values(app()).await,
        Ok(vec![("http-team_002Fapp".to_owned(), 7.0)])
    );
}

#[tokio::test(start_paused = true)]
async fn its_rate_is_kept_where_only_the_http_scaled_object_is_scaled_on_it() {
    let (world, mut interceptor) = migrating(r#"{"requestRate": {"window": "10s"}}"#).await;
    for total in 1..=20 {
        let load = RouteLoad {
            requests_total: total * 4,
            ..idle("app")
        };
        interceptor.partial(vec![replaced(load)], vec![]).await;
        advance(secs(1)).await;
    }
    assert_eq!(
        world.values(app()).await,
        Ok(vec![("http-team_002Fapp".to_owned(), 4.0)])
    );
}

#[tokio::test(start_paused = true)]
async fn its_wake_is_pushed_to_who_listens_for_the_http_scaled_object() {
    let (world, mut interceptor) = migrating("{}").await;
    let routes = world.picture.route_count();
    let mut pushes = world.open(app()).await;
    assert_eq!(pushes.next().await, Some((false, Duration::ZERO)));
    let held = RouteLoad {
        pending: 1,
        waking: true,
        ..busy("app", 1)
    };
    interceptor.partial(vec![replaced(held)], vec![]).await;
    for expected in [0, 100, 200] {
        assert_eq!(pushes.next().await, Some((true, millis(expected))));
    }
    interceptor
        .partial(vec![replaced(busy("app", 1))], vec![ready("app", 1)])
        .await;
    assert_eq!(pushes.next().await, None, "the endpoint is ready");
    drop(pushes);
    assert_eq!(world.picture.route_count(), routes);
}
