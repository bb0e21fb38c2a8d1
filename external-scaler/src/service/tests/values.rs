//! Metric values and specs.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_restarted_scaler_sees_the_whole_rate_at_once() {
    for object_first in [true, false] {
        let world = World::new();
        let object = httpso("app", r#"{"requestRate": {"targetValue": 10}}"#);
        if object_first {
            world.catalog.apply_http_scaled_object(&object);
        }
        let mut interceptor = world.interceptor(1);
        let load = RouteLoad {
            requests_total: 5000,
            arrivals: vec![7; 60],
            ..idle("app")
        };
        interceptor.full(vec![load], vec![ready("app", 1)]).await;
        world.catalog.apply_http_scaled_object(&object);
        assert_eq!(
            world.values(app()).await,
            Ok(vec![("http-team_002Fapp".to_owned(), 7.0)]),
            "{object_first}"
        );
        assert_eq!(
            world.is_active(app()).await,
            Ok(true),
            "the last request was a moment ago"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_scaler_does_not_wake_what_was_used_long_ago() {
    let world = World::new();
    world.catalog.apply_http_scaled_object(&httpso("app", "{}"));
    world.catalog.apply_http_scaled_object(&httpso("warm", "{}"));
    let mut interceptor = world.interceptor(1);
    let used = |name, age| RouteLoad {
        requests_total: 9,
        demand_pulses: 2,
        arrivals: [vec![0; age], vec![9]].concat(),
        ..idle(name)
    };
    interceptor
        .full(
            vec![used("app", 20), used("warm", 10)],
            vec![ready("app", 0), ready("warm", 1)],
        )
        .await;
    assert_eq!(world.is_active(app()).await, Ok(false));
    assert_eq!(
        world.is_active(trigger("httpScaledObject", "warm")).await,
        Ok(true),
        "it lingers"
    );
}

#[tokio::test(start_paused = true)]
async fn a_restarted_or_reconnected_interceptor_neither_loses_nor_doubles_the_rate() {
    let (world, mut interceptor) = World::with_cold_app().await;
    world
        .catalog
        .apply_http_scaled_object(&httpso("app", r#"{"requestRate": {}}"#));
    let mut total = 0;
    for _ in 0..120 {
        total += 10;
        interceptor
            .partial(
                vec![RouteLoad {
                    requests_total: total,
                    ..idle("app")
                }],
                vec![],
            )
            .await;
        advance(secs(1)).await;
    }
    let rate = |value| Ok(vec![("http-team_002Fapp".to_owned(), value)]);
    assert_eq!(world.values(app()).await, rate(10.0));

    // The stream broke; two seconds' worth came meanwhile.
    interceptor.session.lost();
    advance(secs(2)).await;
    total += 20;
    let load = RouteLoad {
        requests_total: total,
        arrivals: [vec![0], vec![10; 59]].concat(),
        ..idle("app")
    };
    interceptor.full(vec![load], vec![ready("app", 1)]).await;
    assert_eq!(world.values(app()).await, rate(10.0), "reconnected");

    // Another process at the same address.
    interceptor.session.lost();
    interceptor.boot_id = 77;
    let load = RouteLoad {
        requests_total: 3,
        arrivals: vec![3],
        ..idle("app")
    };
    interceptor.full(vec![load], vec![ready("app", 1)]).await;
    assert_eq!(world.values(app()).await, rate(11.0), "603 in 60 s, rounded up");

    // The first comes back under another address; what it counted is remembered.
    let mut other = world.interceptor(2);
    other.boot_id = 1;
    let load = RouteLoad {
        requests_total: total,
        arrivals: [vec![0], vec![10; 59]].concat(),
        ..idle("app")
    };
    other.full(vec![load], vec![ready("app", 1)]).await;
    assert_eq!(world.values(app()).await, rate(11.0));
}

#[tokio::test(start_paused = true)]
async fn an_interceptor_routes_metrics_are_floats_under_the_add_ons_names() {
    let world = World::new();
    let both = r#"{"concurrency": {"targetValue": 5}, "requestRate": {"targetValue": 20, "window": "10s"}}"#;
    world
        .catalog
        .apply_interceptor_route(&interceptor_route("r", both));
    let object = || trigger("interceptorRoute", "r");
    let specs = world
        .scaler
        .get_metric_spec(Request::new(object()))
        .await
        .unwrap()
        .into_inner()
        .metric_specs;
    let specs: Vec<_> = specs
        .iter()
        .map(|spec| {
            (
                spec.metric_name.as_str(),
                spec.target_size,
                spec.target_size_float,
            )
        })
        .collect();
    assert_eq!(specs, [("http_r_concurrency", 0, 5.0), ("http_r_rate", 0, 20.0)]);

    let mut interceptor = world.interceptor(1);
    let load = RouteLoad {
        kind: RouteKind::InterceptorRoute.into(),
        arrivals: vec![4; 10],
        requests_total: 40,
        ..busy("r", 3)
    };
    interceptor.full(vec![load], vec![ready("r", 1)]).await;
    let concurrency = ("http_r_concurrency".to_owned(), 3.0);
    let rate = ("http_r_rate".to_owned(), 4.0);
    assert_eq!(
        world.values(object()).await,
        Ok(vec![concurrency.clone(), rate.clone()])
    );
    assert_eq!(
        world.value_of(object(), "http_r_concurrency").await,
        Ok(vec![concurrency])
    );
    assert_eq!(world.value_of(object(), "http_r_rate").await, Ok(vec![rate]));
    assert_eq!(world.value_of(object(), "other").await, Ok(vec![]));
}

#[tokio::test(start_paused = true)]
async fn the_interceptors_own_metric_is_the_sum_over_all_routes() {
    let (world, mut first) = World::with_cold_app().await;
    let mut second = world.interceptor(2);
    first
        .partial(vec![busy("app", 3), busy("other", 4)], vec![])
        .await;
    second.full(vec![busy("app", 5)], vec![]).await;
    let object = || trigger("interceptorTargetPendingRequests", "200");
    assert_eq!(
        world.values(object()).await,
        Ok(vec![("http-team_002Fscaled".to_owned(), 12.0)])
    );
    assert_eq!(world.is_active(object()).await, Ok(true));
    let spec = world
        .scaler
        .get_metric_spec(Request::new(object()))
        .await
        .unwrap()
        .into_inner()
        .metric_specs;
    assert_eq!(
        (spec[0].metric_name.as_str(), spec[0].target_size),
        ("http-team_002Fscaled", 200)
    );

    first
        .partial(
            vec![
                idle("app"),
                RouteLoad {
                    removed: true,
                    ..idle("other")
                },
            ],
            vec![],
        )
        .await;
    drop(second);
    world.picture.unlist_others(&["10.0.0.1:9090".parse().unwrap()]);
    assert_eq!(world.is_active(object()).await, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn a_bad_object_costs_nobody_anything() {
    let (world, mut interceptor) = World::with_cold_app().await;
    for metric in [
        r#"{"requestRate": {"targetValue": 0, "window": "1000000h", "granularity": "500ms"}}"#,
        r#"{"requestRate": {"targetValue": -5, "window": "1ns", "granularity": "1000000h"}}"#,
        r#"{"requestRate": {"window": "0s", "granularity": "0s"}, "concurrency": {"targetValue": 0}}"#,
        r#"{"concurrency": {"targetValue": -1}}"#,
    ] {
        world.catalog.apply_http_scaled_object(&httpso("app", metric));
        let load = RouteLoad {
            requests_total: u64::MAX,
            concurrency: u64::MAX,
            ..idle("app")
        };
        interceptor.partial(vec![load], vec![]).await;
        advance(secs(1)).await;
        let values = world.values(app()).await.expect(metric);
        assert!(values[0].1.is_finite(), "{metric}: {values:?}");
        let specs = world
            .scaler
            .get_metric_spec(Request::new(app()))
            .await
            .unwrap()
            .into_inner()
            .metric_specs;
        assert!(specs[0].target_size >= 1, "{metric}: {specs:?}");
        interceptor.partial(vec![idle("app")], vec![]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_made_anew_counts_from_zero_again() {
    let (world, mut interceptor) = World::with_cold_app().await;
    world
        .catalog
        .apply_http_scaled_object(&httpso("app", r#"{"requestRate": {}}"#));
    let counted = |requests_total| RouteLoad {
        requests_total,
        ..idle("app")
    };
    interceptor.partial(vec![counted(60)], vec![]).await;
    let removed = RouteLoad {
        removed: true,
        ..idle("app")
    };
    interceptor.partial(vec![removed, counted(90)], vec![]).await;
    advance(secs(10)).await;
    assert_eq!(
        world.values(app()).await,
        Ok(vec![("http-team_002Fapp".to_owned(), 15.0)]),
        "150 in 10 s"
    );
}

#[tokio::test(start_paused = true)]
async fn a_burst_after_an_idle_hour_is_spread_over_the_window_also_by_a_restarted_scaler() {
    let world = World::new();
    world
        .catalog
        .apply_http_scaled_object(&httpso("app", r#"{"requestRate": {}}"#));
    let mut interceptor = world.interceptor(1);
    let load = RouteLoad {
        requests_total: 1000,
        arrivals: vec![0, 120],
        ..idle("app")
    };
    interceptor.full(vec![load], vec![ready("app", 1)]).await;
    assert_eq!(
        world.values(app()).await,
        Ok(vec![("http-team_002Fapp".to_owned(), 2.0)])
    );
}
