//! How streams end.

use super::*;

#[tokio::test(start_paused = true)]
async fn each_scaled_objects_first_stream_ends_cleanly_once() {
    let world = World::with_clean_end(Some(secs(1)));
    world.catalog.apply_http_scaled_object(&httpso("app", "{}"));
    let mut interceptor = world.interceptor(1);
    interceptor.full(vec![idle("app")], vec![ready("app", 0)]).await;

    let (code, after) = world.open(app()).await.end().await;
    assert_eq!(code, Code::Ok);
    assert!(after >= secs(1) && after <= secs(2), "{after:?}");
    let mut again = world.open(app()).await;
    assert_eq!(again.next().await, Some((false, Duration::ZERO)));
    assert_eq!(again.next().await, None, "once is enough");

    let other = ScaledObjectRef {
        name: "other".to_owned(),
        ..app()
    };
    assert_eq!(world.open(other).await.end().await.0, Code::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_clean_end_does_not_fall_into_a_wake() {
    let world = World::with_clean_end(Some(secs(1)));
    world.catalog.apply_http_scaled_object(&httpso("app", "{}"));
    let mut interceptor = world.interceptor(1);
    interceptor
        .full(vec![busy("app", 1)], vec![ready("app", 0)])
        .await;
    let mut pushes = world.open(app()).await;
    for _ in 0..10 {
        assert_eq!(pushes.next().await.map(|(active, _)| active), Some(true));
    }
    interceptor.partial(vec![], vec![ready("app", 1)]).await;
    let (code, after) = pushes.end().await;
    assert_eq!(code, Code::Ok);
    assert!(after <= secs(1), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_opened_long_after_the_start_is_left_alone() {
    let world = World::with_clean_end(Some(secs(1)));
    world.catalog.apply_http_scaled_object(&httpso("app", "{}"));
    advance(secs(121)).await;
    let mut pushes = world.open(app()).await;
    assert_eq!(pushes.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_every_stream_with_ok() {
    let (world, _interceptor) = World::with_cold_app().await;
    let mut active = world.open(app()).await;
    let mut interceptors = world
        .open(trigger("interceptorTargetPendingRequests", "200"))
        .await;
    let specs = world
        .scaler
        .stream_metric_spec(Request::new(app()))
        .await
        .unwrap()
        .into_inner();
    world.shutdown.cancel();
    assert_eq!(active.end().await, (Code::Ok, Duration::ZERO));
    assert_eq!(interceptors.end().await, (Code::Ok, Duration::ZERO));
    assert!(specs.collect::<Vec<_>>().await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn specs_are_streamed_at_every_change_and_end_with_the_object() {
    let (world, _interceptor) = World::with_cold_app().await;
    let mut specs = world
        .scaler
        .stream_metric_spec(Request::new(app()))
        .await
        .unwrap()
        .into_inner();
    let mut next = async || {
        let item = tokio::time::timeout(secs(60), specs.next())
            .await
            .ok()?
            .expect("goes on");
        Some(
            item.map(|response| response.metric_specs[0].target_size)
                .map_err(|status| status.code()),
        )
    };
    assert_eq!(next().await, Some(Ok(100)));
    world.catalog.apply_http_scaled_object(&httpso("app", "{}"));
    assert_eq!(next().await, None, "nothing changed");
    world
        .catalog
        .apply_http_scaled_object(&httpso("app", r#"{"concurrency": {"targetValue": 7}}"#));
    assert_eq!(next().await, Some(Ok(7)));
    world.catalog.delete_http_scaled_object(NAMESPACE, "app");
    assert_eq!(next().await, Some(Err(Code::NotFound)));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_object_is_not_found_and_a_deleted_one_ends_its_streams() {
    let (world, _interceptor) = World::with_cold_app().await;
    let mut pushes = world.open(app()).await;
    pushes.next().await;
    world.catalog.delete_http_scaled_object(NAMESPACE, "app");
    assert_eq!(pushes.end().await.0, Code::NotFound);

    let status = world
        .scaler
        .is_active(Request::new(app()))
        .await
        .expect_err("no such object");
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "HTTPScaledObject team/app does not exist")
    );
    assert_eq!(world.values(app()).await, Err(Code::NotFound));
    assert!(world.scaler.stream_is_active(Request::new(app())).await.is_err());
    assert!(
        world
            .scaler
            .stream_metric_spec(Request::new(app()))
            .await
            .is_err()
    );
    assert_eq!(
        world.is_active(trigger("scalerAddress", "x")).await,
        Err(Code::InvalidArgument)
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_what_nobody_speaks_of() {
    let (world, mut interceptor) = World::with_cold_app().await;
    let pushes = world.open(app()).await;
    let moved = RouteLoad {
        target: Some(crate::test_support::target("elsewhere")),
        ..busy("app", 1)
    };
    interceptor
        .partial(vec![moved], vec![ready("elsewhere", 1)])
        .await;
    interceptor
        .partial(
            vec![],
            vec![rouse_proto::load::TargetState {
                removed: true,
                ..ready("app", 0)
            }],
        )
        .await;
    drop(interceptor);
    world.catalog.delete_http_scaled_object(NAMESPACE, "app");
    assert_eq!(world.picture.route_count(), 2, "the stream's, and its namesake");
    drop(pushes);
    assert_eq!(
        (world.picture.route_count(), world.picture.target_count()),
        (0, 0)
    );
}
