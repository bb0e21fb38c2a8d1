//! The hub, as a stream and as `/queue` show it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use rouse_proto::load::{self as wire, LoadReport, RouteLoad, load_server::Load as _};
use rouse_routing::{RouteId, RouteKind};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{picture::MAX_TOMBSTONES, *};
use crate::plan::{TargetKey, TargetPort};

/// A route's state with nothing but counters.
#[derive(Debug)]
struct Route {
    id: RouteId,
    concurrency: AtomicU64,
    requests_total: AtomicU64,
    waking: AtomicBool,
    arrivals: Mutex<Vec<u32>>,
    mark: LoadMark,
}

impl Route {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            id: RouteId::new(RouteKind::HttpScaledObject, "shop", name),
            concurrency: AtomicU64::new(0),
            requests_total: AtomicU64::new(0),
            waking: AtomicBool::new(false),
            arrivals: Mutex::new(Vec::new()),
            mark: LoadMark::new(),
        })
    }

    fn arrive(&self) {
        self.concurrency.fetch_add(1, Ordering::Relaxed);
        self.requests_total.fetch_add(1, Ordering::Relaxed);
    }

    fn leave(&self) {
        self.concurrency.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LoadSource for Route {
    fn id(&self) -> &RouteId {
        &self.id
    }

    fn load(&self) -> RouteLoadSample {
        RouteLoadSample {
            concurrency: self.concurrency.load(Ordering::Relaxed),
            pending: 0,
            requests_total: self.requests_total.load(Ordering::Relaxed),
            demand_pulses: 0,
            waking: self.waking.load(Ordering::Relaxed),
            target: target(&self.id.name),
        }
    }

    fn arrivals(&self) -> Vec<u32> {
        self.arrivals.lock().clone()
    }

    fn mark(&self) -> &LoadMark {
        &self.mark
    }
}

fn target(service: &str) -> TargetKey {
    TargetKey {
        namespace: "shop".into(),
        service: service.into(),
        port: TargetPort::Name("http".into()),
    }
}

/// A hub whose task runs until the guard is dropped.
fn running() -> (LoadHub, impl Drop) {
    let hub = LoadHub::new();
    let stop = CancellationToken::new();
    tokio::spawn(hub.clone().run(stop.clone()));
    (hub, stop.drop_guard())
}

fn add(hub: &LoadHub, name: &str) -> Arc<Route> {
    let route = Route::new(name);
    hub.route_added(Arc::<Route>::clone(&route));
    route
}

async fn next(stream: &mut (impl Stream<Item = LoadReport> + Unpin)) -> LoadReport {
    tokio::time::timeout(Duration::from_secs(10), stream.next())
        .await
        .expect("a report within 10 s")
        .expect("the stream goes on")
}

/// (name, concurrency, requests) of every route in a report that is not a removal.
fn counts(report: &LoadReport) -> Vec<(&str, u64, u64)> {
    let mut counts: Vec<_> = report
        .routes
        .iter()
        .filter(|route| !route.removed)
        .map(|route| (route.name.as_str(), route.concurrency, route.requests_total))
        .collect();
    counts.sort_unstable();
    counts
}

fn is_heartbeat(report: &LoadReport) -> bool {
    !report.full && report.routes.is_empty() && report.targets.is_empty()
}

#[tokio::test(start_paused = true)]
async fn a_new_stream_begins_with_a_full_report() {
    let (hub, _running) = running();
    let busy = add(&hub, "busy");
    add(&hub, "idle");
    busy.arrive();
    busy.waking.store(true, Ordering::Relaxed);
    *busy.arrivals.lock() = vec![1, 0, 4];
    hub.target_changed(&target("busy"), 2);

    let report = next(&mut Box::pin(hub.watch())).await;

    assert!(report.full && !report.draining);
    assert_eq!(report.boot_id, hub.boot_id());
    assert_eq!(counts(&report), [("busy", 1, 1), ("idle", 0, 0)]);
    let busy = report
        .routes
        .iter()
        .find(|route| route.name == "busy")
        .expect("busy");
    let busy_target = wire::TargetRef {
        namespace: "shop".into(),
        service: "busy".into(),
        port: "http".into(),
    };
    assert_eq!(
        *busy,
        RouteLoad {
            kind: wire::RouteKind::HttpScaledObject.into(),
            namespace: "shop".into(),
            name: "busy".into(),
            concurrency: 1,
            requests_total: 1,
            waking: true,
            arrivals: vec![1, 0, 4],
            target: Some(busy_target.clone()),
            ..RouteLoad::default()
        }
    );
    assert_eq!(
        report.targets,
        [wire::TargetState {
            target: Some(busy_target),
            removed: false,
            ready_endpoints: 2,
        }]
    );
}

#[tokio::test(start_paused = true)]
async fn an_edge_is_told_without_any_time_passing() {
    let (hub, _running) = running();
    let route = add(&hub, "cold");
    let mut stream = Box::pin(hub.watch());
    next(&mut stream).await;

    let before = Instant::now();
    route.arrive();
    hub.edge(&route);
    let report = next(&mut stream).await;

    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(counts(&report), [("cold", 1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn an_edge_of_a_route_that_is_marked_already_is_told_at_once_too() {
    let (hub, _running) = running();
    let route = add(&hub, "cold");
    let mut stream = Box::pin(hub.watch());
    next(&mut stream).await;

    let before = Instant::now();
    hub.mark_dirty(&route);
    route.arrive();
    hub.edge(&route);
    hub.edge(&route);
    let report = next(&mut stream).await;

    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(counts(&report), [("cold", 1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn other_changes_are_gathered_for_a_tenth_of_a_second() {
    let (hub, _running) = running();
    let route = add(&hub, "warm");
    let mut stream = Box::pin(hub.watch());
    next(&mut stream).await;
    // The hub's task has begun its first round.
    tokio::task::yield_now().await;

    let before = Instant::now();
    for _ in 0..3 {
        route.arrive();
        hub.mark_dirty(&route);
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    let report = next(&mut stream).await;

    assert!(
        before.elapsed() <= Duration::from_millis(100),
        "{:?}",
        before.elapsed()
    );
    assert_eq!(counts(&report), [("warm", 3, 3)], "three changes in one report");
}

#[tokio::test(start_paused = true)]
async fn a_route_whose_counts_are_as_before_is_not_told_again() {
    let (hub, _running) = running();
    let route = add(&hub, "warm");
    let mut stream = Box::pin(hub.watch());
    next(&mut stream).await;

    hub.mark_dirty(&route);

    assert!(is_heartbeat(&next(&mut stream).await));
}

#[tokio::test(start_paused = true)]
async fn a_count_that_the_sampler_missed_is_found_in_the_next_round() {
    let (hub, _running) = running();
    let route = add(&hub, "warm");
    let mut stream = Box::pin(hub.watch());
    next(&mut stream).await;
    route.arrive();
    hub.mark_dirty(&route);
    next(&mut stream).await;

    // As if the mark had been seen set, which it no longer is.
    route.arrive();

    assert_eq!(counts(&next(&mut stream).await), [("warm", 2, 2)]);
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_every_second() {
    let (hub, _running) = running();
    add(&hub, "idle");
    let mut stream = Box::pin(hub.watch());
    next(&mut stream).await;

    for _ in 0..3 {
        let before = Instant::now();
        let report = next(&mut stream).await;
        assert!(is_heartbeat(&report), "{report:?}");
        assert_eq!(report.boot_id, hub.boot_id());
        assert_eq!(before.elapsed(), Duration::from_secs(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_becomes_ready_or_ceases_to_be_is_told_at_once() {
    let (hub, _running) = running();
    let mut stream = Box::pin(hub.watch());
    hub.target_changed(&target("cold"), 0);
    next(&mut stream).await;

    for ready in [1, 0] {
        let before = Instant::now();
        hub.target_changed(&target("cold"), ready);
        let report = next(&mut stream).await;
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert_eq!(
            report.targets[0].ready_endpoints,
            u32::try_from(ready).expect("small")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn another_ready_endpoint_is_gathered() {
    let (hub, _running) = running();
    hub.target_changed(&target("warm"), 1);
    let mut stream = Box::pin(hub.watch());
    next(&mut stream).await;

    hub.target_changed(&target("warm"), 2);
    hub.target_changed(&target("warm"), 3);
    let report = next(&mut stream).await;

    assert_eq!(report.targets.len(), 1);
    assert_eq!(report.targets[0].ready_endpoints, 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_is_told_and_is_not_in_a_full_report() {
    let (hub, _running) = running();
    let route = add(&hub, "gone");
    hub.target_changed(&target("gone"), 1);
    let mut stream = Box::pin(hub.watch());
    next(&mut stream).await;

    hub.route_removed(route.id());
    hub.target_removed(&target("gone"));
    let report = next(&mut stream).await;

    assert_eq!(
        report.routes,
        [RouteLoad {
            kind: wire::RouteKind::HttpScaledObject.into(),
            namespace: "shop".into(),
            name: "gone".into(),
            removed: true,
            ..RouteLoad::default()
        }]
    );
    assert!(report.targets[0].removed);
    let full = next(&mut Box::pin(hub.watch())).await;
    assert!(full.routes.is_empty() && full.targets.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_route_that_went_and_came_again_is_told_as_both_in_that_order() {
    let (hub, _running) = running();
    let old = add(&hub, "again");
    old.arrive();
    let mut stream = Box::pin(hub.watch());
    next(&mut stream).await;

    hub.route_removed(old.id());
    let new = add(&hub, "again");
    new.arrive();
    hub.mark_dirty(&new);
    old.arrive();
    hub.mark_dirty(&old);
    let report = next(&mut stream).await;

    let told: Vec<_> = report
        .routes
        .iter()
        .map(|route| (route.removed, route.requests_total))
        .collect();
    assert_eq!(told, [(true, 0), (false, 1)], "the old state's count is over");
}

#[tokio::test(start_paused = true)]
async fn adding_the_same_state_again_removes_nothing() {
    let (hub, _running) = running();
    let route = add(&hub, "same");
    let mut stream = Box::pin(hub.watch());
    next(&mut stream).await;

    route.arrive();
    hub.route_added(Arc::<Route>::clone(&route));
    let report = next(&mut stream).await;

    assert_eq!(report.routes.len(), 1);
    assert_eq!(counts(&report), [("same", 1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_stream_is_told_the_latest_state_once() {
    let (hub, _running) = running();
    let route = add(&hub, "busy");
    let mut slow = Box::pin(hub.watch());
    let mut quick = Box::pin(hub.watch());
    next(&mut slow).await;
    next(&mut quick).await;

    for nth in 1..=50 {
        route.arrive();
        hub.mark_dirty(&route);
        assert_eq!(counts(&next(&mut quick).await), [("busy", nth, nth)]);
    }

    assert_eq!(counts(&next(&mut slow).await), [("busy", 50, 50)]);
    assert!(is_heartbeat(&next(&mut slow).await), "nothing was queued");
}

#[tokio::test(start_paused = true)]
async fn a_stream_too_slow_for_the_removals_begins_again_with_a_full_report() {
    let (hub, _running) = running();
    let mut slow = Box::pin(hub.watch());
    let mut slower_by_one = Box::pin(hub.watch());
    next(&mut slower_by_one).await;
    let first = add(&hub, "first");
    hub.route_removed(first.id());
    next(&mut slow).await;

    for nth in 0..MAX_TOMBSTONES {
        let route = add(&hub, &format!("route-{nth}"));
        hub.route_removed(route.id());
    }
    add(&hub, "left");
    tokio::time::advance(Duration::from_millis(150)).await;

    let report = next(&mut slow).await;
    assert!(!report.full, "every removal it has not told is still known");
    assert_eq!(report.routes.len(), MAX_TOMBSTONES + 1);
    let report = next(&mut slower_by_one).await;
    assert!(report.full, "one removal is forgotten");
    assert_eq!(counts(&report), [("left", 0, 0)]);
}

#[tokio::test(start_paused = true)]
async fn draining_is_told_at_once_and_counts_go_on() {
    let (hub, _running) = running();
    let route = add(&hub, "busy");
    let mut stream = Box::pin(hub.watch());
    next(&mut stream).await;

    let before = Instant::now();
    hub.set_draining();
    let report = next(&mut stream).await;
    assert!(report.draining && !report.full);
    assert_eq!(before.elapsed(), Duration::ZERO);

    route.arrive();
    hub.mark_dirty(&route);
    let report = next(&mut stream).await;
    assert!(report.draining);
    assert_eq!(counts(&report), [("busy", 1, 1)]);
    assert!(next(&mut Box::pin(hub.watch())).await.draining);
}

#[tokio::test(start_paused = true)]
async fn streams_end_when_the_hub_stops() {
    let hub = LoadHub::new();
    let stop = CancellationToken::new();
    let task = tokio::spawn(hub.clone().run(stop.clone()));
    let mut stream = Box::pin(hub.watch());
    next(&mut stream).await;

    stop.cancel();
    task.await.expect("the task ends");

    assert_eq!(stream.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn one_stream_too_many_is_refused_and_a_place_is_free_when_one_ends() {
    let hub = LoadHub::new();
    let service = LoadService::new(hub.clone());
    let open = || {
        service
            .watch(tonic::Request::new(wire::WatchRequest {}))
            .now_or_never()
            .expect("at once")
    };
    let mut streams: Vec<_> = (0..MAX_STREAMS).map(|_| open().expect("a place")).collect();

    let refused = open().expect_err("no place");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);

    streams.pop();
    assert!(open().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_scaler_reads_the_reports_over_grpc() {
    let (hub, _running) = running();
    let route = add(&hub, "cold");
    let mut client = wire::load_client::LoadClient::new(LoadService::new(hub.clone()).into_server());
    let response = client.watch(wire::WatchRequest {}).await.expect("a stream");
    let mut reports = response.into_inner();

    let full = reports.message().await.expect("no error").expect("a report");
    assert!(full.full);
    assert_eq!(counts(&full), [("cold", 0, 0)]);

    route.arrive();
    hub.edge(&route);
    let edge = reports.message().await.expect("no error").expect("a report");
    assert_eq!(counts(&edge), [("cold", 1, 1)]);

    hub.close();
    assert_eq!(reports.message().await.expect("status OK"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn streams_agree_with_the_counts_however_changes_and_connects_interleave() {
    const ROUTES: usize = 8;
    const ROUNDS: u64 = 3_000;
    let (hub, _running) = running();
    let routes: Vec<_> = (0..ROUTES)
        .map(|nth| add(&hub, &format!("route-{nth}")))
        .collect();

    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (hub, routes) = (hub.clone(), routes.clone());
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    let route = &routes[(round as usize * 7 + writer) % ROUTES];
                    route.arrive();
                    if round % 5 == 0 {
                        hub.edge(route);
                    } else {
                        hub.mark_dirty(route);
                    }
                    if round % 2 == 0 {
                        route.leave();
                        hub.mark_dirty(route);
                    }
                    if round % 100 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    let readers: Vec<_> = (0..6)
        .map(|reader| {
            let (hub, expected) = (hub.clone(), ROUNDS * 4);
            tokio::spawn(async move {
                for _ in 0..reader * 3 {
                    tokio::task::yield_now().await;
                }
                let mut stream = Box::pin(hub.watch());
                let mut seen: HashMap<String, (u64, u64)> = HashMap::new();
                while seen.values().map(|(_, requests)| requests).sum::<u64>() < expected
                    || seen.values().map(|(concurrency, _)| concurrency).sum::<u64>() != expected / 2
                {
                    let report = next(&mut stream).await;
                    assert_eq!(
                        report.full,
                        seen.is_empty(),
                        "one full report, and it is the first"
                    );
                    for route in report.routes {
                        let now = (route.concurrency, route.requests_total);
                        let before = seen.insert(route.name, now);
                        assert!(
                            before.is_none_or(|(_, requests)| requests <= now.1),
                            "counters only rise: {before:?} then {now:?}"
                        );
                    }
                }
            })
        })
        .collect();

    for task in writers.into_iter().chain(readers) {
        tokio::time::timeout(Duration::from_mins(1), task)
            .await
            .expect("within a minute")
            .expect("no assertion failed");
    }
}

#[tokio::test]
async fn queue_shows_every_route_sorted_also_at_zero() {
    let hub = LoadHub::new();
    let busy = add(&hub, "b-busy");
    add(&hub, "a-idle");
    for _ in 0..3 {
        busy.arrive();
    }
    busy.leave();

    let request = http::Request::get("/queue")
        .body(axum::body::Body::empty())
        .expect("a request");
    let response = queue_router(hub).oneshot(request).await.expect("an answer");

    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(
        body,
        r#"{"shop/a-idle":{"Concurrency":0,"RequestCount":0},"shop/b-busy":{"Concurrency":2,"RequestCount":3}}"#
    );
}
