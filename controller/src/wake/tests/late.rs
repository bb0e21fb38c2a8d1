//! How long after the arrival of a request its workload is scaled, whatever delays the fallback. In paused time.

use rouse_proto::load::LoadReport;
use tokio::time::{Instant, sleep, sleep_until};

use super::*;
use crate::wake::{
    attempt::{self, Outcome as Woken},
    candidate::Candidate,
    demand::SharedDemand,
    fallback::Fallback,
    metrics::WakeMetrics,
};

/// KEDA's time here, as in a cluster.
const KEDA: Duration = ENGINE_PATIENCE;

/// What is neither a delay of the API server nor KEDA's time: the gap between two looks, and the tests' own steps.
const SLACK: Duration = Duration::from_millis(200);

/// A fallback that hears of held requests at once, and reaches the API server without sockets.
struct Late {
    world: World,
    demand: SharedDemand,
}

impl Late {
    async fn new() -> Self {
        let world = World::new().await;
        let demand = SharedDemand::default();
        let parts = Parts {
            client: world.server.memory_client(),
            ..world.parts.clone()
        };
        let metrics = WakeMetrics::register(&parts.metrics, &demand);
        let shutdown = parts.shutdown.clone();
        let fallback = Fallback::new(parts, demand.clone(), metrics, KEDA);
        tokio::spawn(async move { shutdown.run_until_cancelled(fallback.run()).await });
        Self { world, demand }
    }

    /// Routes with a request that is held from now on, without an endpoint.
    fn hold(&self, routes: Vec<RouteLoad>) -> Instant {
        self.report(true, routes, ready(0))
    }

    fn report(&self, is_full: bool, routes: Vec<RouteLoad>, targets: Vec<TargetState>) -> Instant {
        let report = LoadReport {
            boot_id: 1,
            full: is_full,
            routes,
            targets,
            ..LoadReport::default()
        };
        let interceptor = SocketAddr::from(([10, 0, 0, 1], 9090));
        let taken = self.demand.report(interceptor, is_full, report);
        assert_eq!(taken, Ok(()));
        Instant::now()
    }

    /// How long after `since` the Deployment has a replica.
    async fn woken(&self, name: &str, since: Instant) -> Duration {
        soon_enough(async {
            while self.replicas_of(name) == 0 {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        since.elapsed()
    }

    fn replicas_of(&self, name: &str) -> i32 {
        let deployment: Deployment = self.world.server.get("team", name).expect("the Deployment");
        deployment.spec.expect("a spec").replicas.unwrap_or(0)
    }

    /// A route with a Deployment without replicas, both of this name; what is held for it.
    fn another(&self, name: &str) -> RouteLoad {
        let spec = json!({"scaleTargetRef": {"name": name, "service": "app", "port": 80}});
        self.world
            .observe_route(RouteKind::HttpScaledObject, name, &json!({}), &spec);
        self.world.workload(name, 0);
        RouteLoad {
            name: name.to_owned(),
            ..held(1).remove(0)
        }
    }
}

async fn soon_enough<T>(wait: impl Future<Output = T>) -> T {
    timeout(Duration::from_mins(10), wait)
        .await
        .expect("within minutes")
}

#[tokio::test(start_paused = true)]
async fn what_has_to_be_read_is_read_at_once() {
    let late = Late::new().await;
    let slow = Duration::from_secs(2);
    late.world
        .server
        .inject(Fault::delay(slow).verb(Verb::Get).always());
    let since = late.hold(held(1));
    let woken = late.woken("app", since).await;
    assert!(woken >= KEDA + slow, "{woken:?}");
    assert!(woken <= KEDA + slow + SLACK, "{woken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_delays_no_other_workload_of_the_route() {
    let late = Late::new().await;
    late.world.workload("second", 0);
    late.world.observe_scaled_object(
        "second",
        &json!({}),
        &json!({
            "scaleTargetRef": {"name": "second"},
            "triggers": [{"type": "external-push", "metadata": {"httpScaledObject": "app"}}],
        }),
    );
    let hang = Fault::hang().verb(Verb::Get).on("deployments/scale").of("app");
    late.world.server.inject(hang.always());
    let since = late.hold(held(1));
    let woken = late.woken("second", since).await;
    assert!(woken <= KEDA + SLACK, "{woken:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_that_hang_delay_no_other_route() {
    let late = Late::new().await;
    let mut loads = Vec::new();
    for number in 0..12 {
        let name = format!("stuck-{number}");
        loads.push(late.another(&name));
        let hang = Fault::hang().verb(Verb::Get).on("deployments/scale").of(&name);
        late.world.server.inject(hang.always());
    }
    late.hold(loads.clone());
    sleep(Duration::from_millis(500)).await;
    let since = late.hold([loads, held(1)].concat());
    let woken = late.woken("app", since).await;
    assert!(
        woken <= KEDA + Duration::from_millis(50) * 12 + SLACK,
        "{woken:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_is_repeated_soon() {
    for code in [500, 409] {
        let late = Late::new().await;
        // A write that others come before is repeated at once, three times.
        let times = if code == 409 { 3 } else { 1 };
        let (verb, resource) = (Verb::Update, "deployments/scale");
        late.world
            .server
            .inject(Fault::status(code).verb(verb).on(resource).times(times));
        let since = late.hold(held(1));
        let woken = late.woken("app", since).await;
        assert!(woken >= KEDA, "{woken:?}");
        assert!(
            woken <= KEDA + Duration::from_secs(1) + SLACK,
            "{code}: {woken:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_is_scaled_in_while_a_request_is_held_does_not_sleep_for_longer() {
    // A scale-in that races the request; and one that comes when the pods have not become ready for long.
    for (until, bound) in [(5_500, Duration::from_secs(1)), (22_000, KEDA)] {
        let late = Late::new().await;
        late.world.workload("app", 1);
        let since = late.hold(held(1));
        sleep_until(since + Duration::from_millis(until)).await;
        late.world.workload("app", 0);
        let asleep = late.woken("app", Instant::now()).await;
        assert!(asleep <= bound + SLACK, "{asleep:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_leader_was_replaced_is_not_made_a_second_time() {
    let late = Late::new().await;
    // On its way when the term ends, and carried out after the next leader has read the scale.
    let slow = Fault::delay(Duration::from_secs(3))
        .verb(Verb::Update)
        .on("deployments/scale");
    late.world.server.inject(slow);
    let next = late.world.server.memory_client();
    let since = late.hold(held(1));
    sleep_until(since + KEDA + Duration::from_secs(1)).await;
    let before = late.world.server.changes().len();
    let candidate = Candidate {
        workload: app(),
        scaled_objects: Vec::new(),
    };
    let first = attempt::wake(&next, &candidate).await;
    assert!(matches!(first, Ok(Woken::Scaled)), "{first:?}");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(late.replicas_of("app"), 1);
    assert_eq!(late.world.server.changes().len() - before, 1);
    assert_eq!(late.world.attempts("scaled"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_refusing_endpoints_hold_has_waited_when_their_end_is_noticed() {
    let late = Late::new().await;
    let since = late.report(true, held(1), ready(1));
    sleep(Duration::from_secs(4)).await;
    late.report(false, vec![], ready(0));
    let woken = late.woken("app", since).await;
    assert!(woken >= KEDA, "{woken:?}");
    assert!(woken <= KEDA + SLACK, "{woken:?}");
}
