//! What the scalers are told, over the admin port.

use std::{net::SocketAddr, time::Duration};

use rouse_proto::load::{LoadReport, RouteLoad, WatchRequest, load_client::LoadClient};
use tokio::time::Instant;
use tonic::{Streaming, transport::Endpoint};

use crate::support::{Interceptor, Origin, Route, UnboundOrigin, soon};

/// One subscriber, which folds the reports as a scaler does.
struct Watch {
    reports: Streaming<LoadReport>,
}

impl Watch {
    async fn open(admin: SocketAddr) -> Self {
        let channel = Endpoint::from_shared(format!("http://{admin}"))
            .expect("an address")
            .connect()
            .await
            .expect("a connection");
        let mut client = LoadClient::new(channel);
        let reports = client
            .watch(WatchRequest {})
            .await
            .expect("a stream")
            .into_inner();
        Self { reports }
    }

    async fn next(&mut self) -> LoadReport {
        soon("a report", self.reports.message())
            .await
            .expect("no error")
            .expect("the stream goes on")
    }

    /// The first report on `route` for which `holds`.
    async fn until(&mut self, route: &str, holds: impl Fn(&RouteLoad) -> bool) -> RouteLoad {
        soon("a report on the route", async {
            loop {
                let report = self.next().await;
                let found = report
                    .routes
                    .into_iter()
                    .find(|load| load.name == route && holds(load));
                if let Some(load) = found {
                    return load;
                }
            }
        })
        .await
    }
}

#[tokio::test]
async fn a_subscriber_is_told_everything_first_and_then_what_changes() {
    let interceptor = Interceptor::start().await;
    interceptor.serve(Route::to("app")).await;
    interceptor.serve(Route::to("other")).await;
    let origin = Origin::hello();
    interceptor.endpoints("other", &[origin.addr]);

    let mut watch = Watch::open(interceptor.admin).await;
    let full = watch.next().await;
    assert!(full.full && full.boot_id != 0 && !full.draining);
    let mut names: Vec<_> = full.routes.iter().map(|load| load.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["app", "other"]);
    let ready = |service: &str| {
        full.targets
            .iter()
            .find(|state| {
                state
                    .target
                    .as_ref()
                    .is_some_and(|target| target.service == service)
            })
            .map(|state| state.ready_endpoints)
    };
    assert_eq!((ready("app"), ready("other")), (Some(0), Some(1)));

    let mut client = interceptor.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: other.example.com\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status, 200);
    let load = watch.until("other", |load| load.requests_total == 1).await;
    assert_eq!((load.pending, load.waking), (0, false));
    interceptor.stop().await;
}

#[tokio::test]
async fn a_request_for_a_target_at_zero_is_told_at_once() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let mut watch = Watch::open(interceptor.admin).await;
    assert!(watch.next().await.full);
    let mut times = Vec::new();
    for _ in 0..5 {
        let mut client = interceptor.client().await;
        let sent = Instant::now();
        client.begin_get("/").await;
        let load = watch.until("app", |load| load.pending == 1).await;
        times.push(sent.elapsed());
        assert_eq!((load.concurrency, load.waking), (1, true));
        client.leave();
        watch.until("app", |load| load.concurrency == 0).await;
    }
    times.sort_unstable();
    println!("measured: request to report: {times:?}");
    assert!(times[0] < Duration::from_millis(50), "{times:?}");
    interceptor.stop().await;
}

#[tokio::test]
async fn a_wake_is_demand_until_the_endpoint_is_ready_even_when_the_client_has_left() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let mut watch = Watch::open(interceptor.admin).await;
    let mut client = interceptor.client().await;
    client.begin_get("/").await;
    watch.until("app", |load| load.waking).await;
    client.leave();
    let left = watch.until("app", |load| load.concurrency == 0).await;
    assert!(left.waking, "the wake goes on");

    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    let over = watch.until("app", |load| !load.waking).await;
    assert_eq!(over.concurrency, 0);
    interceptor.stop().await;
}

#[tokio::test]
async fn a_wake_is_over_when_the_longest_hold_is() {
    let interceptor = Interceptor::serving(Route::to("app").readiness_timeout("300ms")).await;
    let mut watch = Watch::open(interceptor.admin).await;
    let began = Instant::now();
    assert_eq!(interceptor.get("/").await.status, 504);
    watch.until("app", |load| load.waking).await;
    watch.until("app", |load| !load.waking).await;
    let took = began.elapsed();
    println!("measured: a wake with a hold of 300 ms was demand for {took:?}");
    assert!(took >= Duration::from_millis(300), "{took:?}");
    interceptor.stop().await;
}

#[tokio::test]
async fn a_later_request_begins_a_new_wake() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let mut watch = Watch::open(interceptor.admin).await;
    let origin = Origin::hello();
    for _ in 0..3 {
        let mut client = interceptor.client().await;
        client.begin_get("/").await;
        watch.until("app", |load| load.waking && load.pending == 1).await;
        interceptor.endpoints("app", &[origin.addr]);
        assert_eq!(client.response().await.status, 200);
        watch
            .until("app", |load| !load.waking && load.concurrency == 0)
            .await;
        interceptor.endpoints("app", &[]);
    }
    interceptor.stop().await;
}

#[tokio::test]
async fn the_streams_of_a_draining_interceptor_say_so_and_end() {
    let mut interceptor = Interceptor::serving(Route::to("app")).await;
    let mut held = interceptor.hold("app", 1).await;
    let mut watch = Watch::open(interceptor.admin).await;
    assert!(!watch.next().await.draining);
    let ended = interceptor.drain();
    soon("the draining report", async {
        while !watch.next().await.draining {}
    })
    .await;
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    assert_eq!(held[0].response().await.status, 200);
    soon("the end of the stream", async {
        while watch.reports.message().await.expect("a clean end").is_some() {}
    })
    .await;
    soon("the end", ended).await.expect("no panic");
}

#[tokio::test]
async fn a_request_that_is_released_is_no_longer_told_as_held() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    // Ready, and refusing: no wake begins, whose end would be told.
    let origin = UnboundOrigin::new();
    interceptor.endpoints("app", &[origin.addr]);
    let mut watch = Watch::open(interceptor.admin).await;
    let mut client = interceptor.client().await;
    client.begin_get("/").await;
    watch.until("app", |load| load.pending == 1).await;
    // Until nothing of its arrival is left to be told.
    tokio::time::sleep(Duration::from_millis(500)).await;

    let _origin = Origin::on(origin.listen(), |_| std::future::pending());
    let load = watch.until("app", |load| load.pending == 0).await;
    assert_eq!(load.concurrency, 1);
}
