//! Whom to believe: a yes of one, a no of all.

use super::*;

#[tokio::test(start_paused = true)]
async fn without_any_interceptor_nothing_is_called_idle_and_specs_are_known() {
    let world = World::new();
    world.catalog.apply_http_scaled_object(&httpso("app", "{}"));
    assert_eq!(world.is_active(app()).await, Err(Code::Unavailable));
    assert_eq!(world.values(app()).await, Err(Code::Unavailable));
    let specs = world
        .scaler
        .get_metric_spec(Request::new(app()))
        .await
        .unwrap()
        .into_inner()
        .metric_specs;
    assert_eq!(specs.len(), 1);
    assert_eq!(
        (specs[0].metric_name.as_str(), specs[0].target_size),
        ("http-team_002Fapp", 100)
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_is_taken_for_a_wrong_one() {
    let (world, mut interceptor) = World::with_cold_app().await;
    assert_eq!(world.is_active(app()).await, Ok(false));
    world.picture.unlist_others(&[]);
    assert_eq!(world.is_active(app()).await, Err(Code::Unavailable));
    interceptor.partial(vec![busy("app", 1)], vec![]).await;
    assert_eq!(world.is_active(app()).await, Ok(true), "its stream is open");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_nobody_confirms_any_longer_is_not_relied_on() {
    let (world, mut interceptor) = World::with_cold_app().await;
    world.picture.confirm_list(secs(30));
    assert_eq!(world.is_active(app()).await, Ok(false));
    advance(secs(90)).await;
    assert_eq!(world.is_active(app()).await, Ok(false), "two minutes old");
    advance(secs(1)).await;
    assert_eq!(world.is_active(app()).await, Err(Code::Unavailable));
    assert_eq!(world.values(app()).await, Err(Code::Unavailable));
    let remark = world.picture.list_remark().expect("a remark");
    assert!(remark.contains("not confirmed for 121s"), "{remark}");

    interceptor.partial(vec![busy("app", 1)], vec![]).await;
    assert_eq!(world.is_active(app()).await, Ok(true), "a yes needs no list");
    interceptor.partial(vec![idle("app")], vec![]).await;
    advance(LINGER).await;
    let mut pushes = world.open(app()).await;
    assert_eq!(pushes.next().await, None);

    world.picture.confirm_list(secs(5));
    assert_eq!(pushes.next().await, Some((false, Duration::ZERO)));
    assert_eq!(world.is_active(app()).await, Ok(false));
    assert_eq!(world.picture.list_remark(), None);
}

#[tokio::test(start_paused = true)]
async fn a_stream_opened_without_a_picture_says_nothing_until_there_is_one() {
    for (load, expected) in [(busy("app", 1), true), (idle("app"), false)] {
        let world = World::new();
        world.catalog.apply_http_scaled_object(&httpso("app", "{}"));
        let mut interceptor = world.interceptor(1);
        let mut pushes = world.open(app()).await;
        assert_eq!(pushes.next().await, None);
        interceptor.full(vec![load], vec![ready("app", 0)]).await;
        assert_eq!(pushes.next().await, Some((expected, Duration::ZERO)));
        let repeat = pushes.next().await;
        assert_eq!(repeat, expected.then_some((true, millis(100))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_yes_of_one_is_believed_and_a_no_needs_all() {
    let (world, mut first) = World::with_cold_app().await;
    let mut second = world.interceptor(2);
    assert_eq!(
        world.is_active(app()).await,
        Err(Code::Unavailable),
        "the second is not heard yet"
    );
    second.full(vec![idle("app")], vec![ready("app", 0)]).await;
    assert_eq!(world.is_active(app()).await, Ok(false));

    second.session.lost();
    assert_eq!(world.is_active(app()).await, Err(Code::Unavailable));
    assert_eq!(world.values(app()).await, Err(Code::Unavailable));
    first.partial(vec![busy("app", 3)], vec![]).await;
    assert_eq!(world.is_active(app()).await, Ok(true));
    assert_eq!(
        world.values(app()).await,
        Ok(vec![("http-team_002Fapp".to_owned(), 3.0)])
    );
    first
        .partial(
            vec![RouteLoad {
                requests_total: 3,
                ..idle("app")
            }],
            vec![],
        )
        .await;
    advance(LINGER).await;
    assert_eq!(world.is_active(app()).await, Err(Code::Unavailable));

    second.full(vec![idle("app")], vec![ready("app", 0)]).await;
    assert_eq!(world.is_active(app()).await, Ok(false), "all are heard again");
}

#[tokio::test(start_paused = true)]
async fn a_lost_interceptors_last_counts_stand_and_it_is_given_up_in_the_end() {
    let (world, _first) = World::with_cold_app().await;
    let mut second = world.interceptor(2);
    second.full(vec![busy("app", 2)], vec![ready("app", 1)]).await;
    second.session.lost();
    advance(secs(59)).await;
    assert_eq!(world.is_active(app()).await, Ok(true));
    assert_eq!(
        world.values(app()).await,
        Ok(vec![("http-team_002Fapp".to_owned(), 2.0)])
    );

    // What its task does after the retention.
    assert!(second.session.withdraw());
    assert_eq!(
        world.is_active(app()).await,
        Ok(true),
        "the linger of what is dropped"
    );
    advance(LINGER).await;
    assert_eq!(
        world.is_active(app()).await,
        Err(Code::Unavailable),
        "it may be serving behind a cut wire"
    );
    advance(secs(600)).await;
    assert_eq!(world.is_active(app()).await, Ok(false), "but not for ever");
}

#[tokio::test(start_paused = true)]
async fn an_interceptor_whose_host_refuses_blocks_no_longer_than_its_counts_stand() {
    let (world, _first) = World::with_cold_app().await;
    let mut second = world.interceptor(2);
    second.full(vec![idle("app")], vec![]).await;
    second.session.lost();
    second.peer.attempt_failed(true, world.picture.now());
    advance(secs(59)).await;
    assert_eq!(world.is_active(app()).await, Err(Code::Unavailable));
    advance(secs(1)).await;
    assert_eq!(world.is_active(app()).await, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn when_all_are_given_up_nothing_is_called_idle() {
    let (world, mut only) = World::with_cold_app().await;
    only.session.lost();
    advance(secs(100_000)).await;
    assert_eq!(world.is_active(app()).await, Err(Code::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_draining_interceptor_counts_and_so_does_one_that_left_the_list() {
    let (world, _first) = World::with_cold_app().await;
    let mut second = world.interceptor(2);
    second.full(vec![busy("app", 1)], vec![ready("app", 1)]).await;
    second
        .report(LoadReport {
            boot_id: 2,
            draining: true,
            ..LoadReport::default()
        })
        .await;
    advance(secs(100)).await;
    assert_eq!(world.is_active(app()).await, Ok(true));
    assert!(second.peer.is_draining(), "its end will be no news");

    world.picture.unlist_others(&["10.0.0.1:9090".parse().unwrap()]);
    assert_eq!(world.is_active(app()).await, Ok(true));
    drop(second);
    advance(LINGER).await;
    assert_eq!(
        world.is_active(app()).await,
        Ok(false),
        "off the list, it is not waited for"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_full_report_does_not_name_is_gone() {
    let (world, mut interceptor) = World::with_cold_app().await;
    interceptor.partial(vec![busy("app", 4)], vec![]).await;
    interceptor.full(vec![], vec![]).await;
    assert_eq!(
        world.values(app()).await,
        Ok(vec![("http-team_002Fapp".to_owned(), 0.0)])
    );
}
