use super::*;

#[tokio::test]
async fn a_request_that_keda_does_not_act_on_is_woken_once() {
    let world = World::new().await;
    let interceptor = interceptor(1, 1).await;
    world.run(&[&interceptor]);
    let at_one = |server: &FakeApiServer| {
        let app: Deployment = server.get("team", "app").expect("the Deployment");
        app.spec.expect("a spec").replicas == Some(1)
    };
    world.server.eventually("the workload is scaled", at_one).await;
    world
        .server
        .eventually("an event says so", |server| !server.events().is_empty())
        .await;
    let (reason, note, about) = world.server.events().remove(0);
    assert_eq!(
        (reason.as_str(), about.as_str()),
        ("WokenByRouse", "HTTPScaledObject/team/app")
    );
    assert!(note.contains("Deployment app from 0 to 1"), "{note}");
    assert_eq!(world.attempts("scaled"), 1);
    let write = world
        .server
        .writes()
        .into_iter()
        .find(|write| write.subresource == "scale");
    assert_eq!(
        write.map(|write| write.field_manager).as_deref(),
        Some("rouse-controller")
    );

    // Somebody scales it in again while the request is still held: that is theirs to do, and no second wake.
    world.workload("app", 0);
    interceptor.report(held(2), vec![]);
    tokio::time::sleep(PATIENCE * 2).await;
    assert_eq!((world.replicas(), world.scale_writes()), (0, 1));

    // The next wake is another one.
    interceptor.report(vec![], ready(1));
    interceptor.report(held(0), vec![]);
    world.wait_for_routes(0).await;
    interceptor.report(held(1), ready(0));
    world
        .server
        .eventually("the workload is scaled again", at_one)
        .await;
    assert_eq!(world.scale_writes(), 2);
}

#[tokio::test]
async fn nothing_is_written_where_the_interceptor_sees_an_endpoint_or_keda_acts() {
    let world = World::new().await;
    let interceptor = interceptor(1, 1).await;
    interceptor.set_full(held(1), ready(1));
    world.run(&[&interceptor]);
    world.wait_for_interceptors(1).await;
    world.wait_for_routes(0).await;
    world.workload("app", 3);
    interceptor.report(vec![], ready(0));
    world
        .eventually("KEDA's act is seen", |world| world.attempts("acted") > 0)
        .await;
    assert_eq!((world.replicas(), world.scale_writes()), (3, 0));
}

#[tokio::test]
async fn an_interceptor_with_stale_endpoints_does_not_keep_a_workload_asleep() {
    let world = World::new().await;
    let (holds, is_stale) = (interceptor(1, 1).await, interceptor(2, 0).await);
    is_stale.set_full(held(0), ready(1));
    world.run(&[&is_stale]);
    world.wait_for_interceptors(1).await;
    world.list(&[&holds, &is_stale]);
    world
        .eventually("the workload is scaled", |world| world.attempts("scaled") == 1)
        .await;
    assert_eq!((world.replicas(), world.scale_writes()), (1, 1));
}

#[tokio::test]
async fn only_the_leader_wakes_and_a_new_one_does_at_once() {
    let world = World::new().await;
    world.stand_by();
    let interceptor = interceptor(1, 1).await;
    world.run(&[&interceptor]);
    world.wait_for_routes(1).await;
    tokio::time::sleep(PATIENCE * 2).await;
    assert!(
        world.server.requests().is_empty(),
        "{:?}",
        world.server.requests()
    );
    world.lead();
    world
        .eventually("the workload is scaled", |world| world.attempts("scaled") == 1)
        .await;
}

#[tokio::test]
async fn a_term_that_ends_in_the_middle_writes_nothing_more() {
    let world = World::new().await;
    world
        .server
        .inject(Fault::hang().verb(Verb::Get).on("deployments/scale"));
    let interceptor = interceptor(1, 1).await;
    world.run(&[&interceptor]);
    world.server.wait_for_requests(Verb::Get, "deployments", 1).await;
    world.stand_by();
    tokio::time::sleep(PATIENCE).await;
    assert_eq!(world.scale_writes(), 0);
    world.lead();
    world
        .eventually("the next leader wakes", |world| world.attempts("scaled") == 1)
        .await;
    assert_eq!(world.scale_writes(), 1);
}

#[tokio::test]
async fn demand_survives_a_stream_that_breaks() {
    let world = World::new().await;
    world.stand_by();
    let first = interceptor(1, 1).await;
    world.run(&[&first]);
    world.wait_for_routes(1).await;
    first.kill();
    // Its requests may well be held still.
    tokio::time::sleep(PATIENCE * 2).await;
    assert_eq!(world.waiting_routes(), 1);
    // It is off the list: it is gone, and they are.
    world.list(&[]);
    world.wait_for_routes(0).await;
}

#[tokio::test]
async fn many_routes_at_once_are_woken_at_a_bounded_pace() {
    const ROUTES: usize = 30;
    let world = World::new().await;
    let mut loads = Vec::new();
    for number in 0..ROUTES {
        let name = format!("app-{number}");
        let spec = json!({"scaleTargetRef": {"name": name, "service": "app", "port": 80}});
        world.observe_route(RouteKind::HttpScaledObject, &name, &json!({}), &spec);
        world.workload(&name, 0);
        loads.push(RouteLoad {
            name,
            ..held(1).remove(0)
        });
    }
    let interceptor = FakeInterceptor::start(1).await;
    interceptor.set_full(loads, ready(0));
    let started = tokio::time::Instant::now();
    world.run(&[&interceptor]);
    world
        .eventually("all are woken", |world| world.attempts("scaled") == ROUTES as u64)
        .await;
    let least = PATIENCE + Duration::from_millis(50) * (ROUTES as u32 - 1);
    assert!(started.elapsed() >= least, "{:?}", started.elapsed());
    assert_eq!(world.scale_writes(), ROUTES);
}

impl World {
    fn gauge(&self, name: &str) -> i64 {
        let text = self.parts.metrics.encode();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or(-1)
    }

    fn waiting_routes(&self) -> i64 {
        self.gauge("rouse_controller_wake_waiting_routes")
    }

    async fn wait_for_routes(&self, count: i64) {
        self.eventually("so many routes wait", |world| world.waiting_routes() == count)
            .await;
    }

    async fn wait_for_interceptors(&self, count: i64) {
        self.eventually("so many interceptors are heard", |world| {
            world.gauge("rouse_controller_wake_interceptors") == count
        })
        .await;
    }
}
