//! Whatever interceptors report, and in whatever order they come and go, the picture's sums are right and nothing is left
//! behind.

use proptest::prelude::*;
use rouse_proto::load::{LoadReport, RouteLoad, TargetState};

use crate::test_support::{Interceptor, World, busy, ready, target};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// What may happen to one of two interceptors.
#[derive(Debug, Clone)]
enum Step {
    Report {
        full: bool,
        routes: Vec<(usize, u64, bool, usize)>,
        targets: Vec<(usize, u32, bool)>,
    },
    Lose,
    Withdraw,
    Restart,
    Open(usize),
    Close,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let route = (
        0..NAMES.len(),
        0..5_u64,
        prop::bool::weighted(0.2),
        0..NAMES.len(),
    );
    let target = (0..NAMES.len(), 0..2_u32, prop::bool::weighted(0.2));
    let report = (
        any::<bool>(),
        prop::collection::vec(route, 0..4),
        prop::collection::vec(target, 0..4),
    )
        .prop_map(|(full, routes, targets)| Step::Report {
            full,
            routes,
            targets,
        });
    let step = prop_oneof![
        8 => report,
        1 => Just(Step::Lose),
        1 => Just(Step::Withdraw),
        1 => Just(Step::Restart),
        1 => (0..NAMES.len()).prop_map(Step::Open),
        1 => Just(Step::Close),
    ];
    prop::collection::vec((0..2_usize, step), 0..40)
}

async fn run(steps: Vec<(usize, Step)>) {
    let world = World::new();
    let mut interceptors = [world.interceptor(1), world.interceptor(2)];
    let mut subscriptions = Vec::new();
    for (which, step) in steps {
        let interceptor = &mut interceptors[which];
        match step {
            Step::Report {
                full,
                routes,
                targets,
            } => {
                let routes = routes.into_iter().map(|(name, count, removed, to)| RouteLoad {
                    removed,
                    arrivals: if full { vec![1; 4] } else { Vec::new() },
                    target: Some(target(NAMES[to])),
                    ..busy(NAMES[name], count)
                });
                let targets = targets.into_iter().map(|(name, count, removed)| TargetState {
                    removed,
                    ..ready(NAMES[name], count)
                });
                let (routes, targets) = (routes.collect(), targets.collect());
                let report = LoadReport {
                    boot_id: interceptor.boot_id,
                    full,
                    draining: false,
                    routes,
                    targets,
                };
                // A partial report before a full one is refused, which is right.
                let _refused = interceptor.session.apply(report).await;
            }
            Step::Lose => {
                interceptor.session.lost();
            }
            Step::Withdraw => {
                interceptor.session.lost();
                interceptor.session.withdraw();
            }
            Step::Restart => {
                interceptor.session.lost();
                interceptor.boot_id += 10;
            }
            Step::Open(name) => {
                let id = rouse_routing::RouteId::new(
                    rouse_routing::RouteKind::HttpScaledObject,
                    crate::test_support::NAMESPACE,
                    NAMES[name],
                );
                subscriptions.push(world.picture.subscribe(&id));
            }
            Step::Close => close(&world, &mut subscriptions),
        }
        let by_routes: u64 = world.picture.routes.iter().map(|route| route.concurrency()).sum();
        let by_peers: u64 = interceptors
            .iter()
            .map(|interceptor| interceptor.peer.concurrency())
            .sum();
        assert_eq!(
            by_routes, by_peers,
            "the sum over the routes and that over the interceptors"
        );
    }
    while !subscriptions.is_empty() {
        close(&world, &mut subscriptions);
    }
    drop::<[Interceptor; 2]>(interceptors);
    assert_eq!(
        (world.picture.route_count(), world.picture.target_count()),
        (0, 0),
        "routes and targets left behind"
    );
}

type Subscription = (
    std::sync::Arc<super::Route>,
    tokio::sync::watch::Receiver<super::Signal>,
);

fn close(world: &World, subscriptions: &mut Vec<Subscription>) {
    if let Some((route, signals)) = subscriptions.pop() {
        drop(signals);
        world.picture.drop_unused(&route.id);
    }
}

proptest! {
    #[test]
    fn sums_are_right_and_nothing_is_left_behind(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(steps));
    }
}
