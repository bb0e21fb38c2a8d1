use std::time::Duration;

use rouse_proto::load::TargetState;

use super::*;

fn addr(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 9090))
}

fn target(name: &str) -> TargetRef {
    TargetRef {
        namespace: "team".to_owned(),
        service: name.to_owned(),
        port: "80".to_owned(),
    }
}

fn load(name: &str, pending: u64) -> RouteLoad {
    RouteLoad {
        kind: ProtoKind::HttpScaledObject.into(),
        namespace: "team".to_owned(),
        name: name.to_owned(),
        concurrency: pending,
        pending,
        target: Some(target(name)),
        ..RouteLoad::default()
    }
}

fn ready(name: &str, count: u32) -> TargetState {
    TargetState {
        target: Some(target(name)),
        removed: false,
        ready_endpoints: count,
    }
}

fn report(boot_id: u64, full: bool, routes: Vec<RouteLoad>, targets: Vec<TargetState>) -> LoadReport {
    LoadReport {
        boot_id,
        full,
        draining: false,
        routes,
        targets,
    }
}

fn waiting(demand: &Demand) -> Vec<String> {
    let mut names: Vec<String> = demand.waiting().keys().map(|id| id.name.to_string()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_route_waits_while_one_holds_requests_and_sees_no_endpoint_itself() {
    let mut demand = Demand::default();
    let full = report(
        1,
        true,
        vec![load("app", 0), load("other", 0)],
        vec![ready("app", 0)],
    );
    assert_eq!(
        demand.report(addr(1), true, full, Instant::now()),
        Ok(false),
        "nothing is held"
    );
    let held = report(1, false, vec![load("app", 2)], vec![]);
    assert_eq!(demand.report(addr(1), false, held, Instant::now()), Ok(true));
    assert_eq!(waiting(&demand), ["app"]);
    let more = report(1, false, vec![load("app", 3)], vec![]);
    assert_eq!(
        demand.report(addr(1), false, more, Instant::now()),
        Ok(false),
        "how many makes no difference"
    );

    // The other interceptor holds nothing, and sees an endpoint, which may be long gone.
    let full = report(2, true, vec![load("app", 0)], vec![ready("app", 1)]);
    assert_eq!(demand.report(addr(2), true, full, Instant::now()), Ok(true));
    assert_eq!(waiting(&demand), ["app"]);
    let seen = report(1, false, vec![], vec![ready("app", 1)]);
    assert_eq!(demand.report(addr(1), false, seen, Instant::now()), Ok(true));
    assert!(waiting(&demand).is_empty(), "it sees one itself");
    let gone = report(1, false, vec![], vec![ready("app", 0)]);
    assert_eq!(demand.report(addr(1), false, gone, Instant::now()), Ok(true));
    assert_eq!(waiting(&demand), ["app"]);
    let let_go = report(1, false, vec![load("app", 0)], vec![]);
    assert_eq!(demand.report(addr(1), false, let_go, Instant::now()), Ok(true));
    assert!(waiting(&demand).is_empty());
}

#[test]
fn a_wake_once_begun_is_demand_when_every_client_has_left() {
    let mut demand = Demand::default();
    let abandoned = RouteLoad {
        waking: true,
        ..load("app", 0)
    };
    let full = report(1, true, vec![abandoned], vec![]);
    assert_eq!(demand.report(addr(1), true, full, Instant::now()), Ok(true));
    assert_eq!(waiting(&demand), ["app"]);
    let removed = RouteLoad {
        removed: true,
        target: None,
        ..load("app", 0)
    };
    let removal = report(1, false, vec![removed], vec![]);
    assert_eq!(demand.report(addr(1), false, removal, Instant::now()), Ok(true));
    assert!(waiting(&demand).is_empty());
}

#[test]
fn a_full_report_replaces_what_was_said_and_a_stream_begins_with_one() {
    let mut demand = Demand::default();
    let partial = report(1, false, vec![load("app", 1)], vec![]);
    assert_eq!(
        demand.report(addr(1), true, partial, Instant::now()),
        Err(ReportError::NotFull)
    );
    let full = report(1, true, vec![load("app", 1), load("other", 1)], vec![]);
    assert_eq!(demand.report(addr(1), true, full, Instant::now()), Ok(true));
    let another = report(2, false, vec![], vec![]);
    assert_eq!(
        demand.report(addr(1), false, another, Instant::now()),
        Err(ReportError::BootIdChanged)
    );
    let same = report(2, true, vec![load("app", 1), load("other", 1)], vec![]);
    assert_eq!(
        demand.report(addr(1), true, same, Instant::now()),
        Ok(false),
        "a new process that says the same"
    );
    let less = report(2, true, vec![load("other", 1)], vec![]);
    assert_eq!(demand.report(addr(1), true, less, Instant::now()), Ok(true));
    assert_eq!(waiting(&demand), ["other"]);
    assert!(demand.forget(addr(1)));
    assert!(waiting(&demand).is_empty());
    assert!(!demand.forget(addr(1)));
    assert_eq!(demand.interceptors(), 0);
}

#[test]
fn requests_are_held_since_the_first_of_them_wherever_the_endpoints_are() {
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let since = |demand: &Demand| demand.waiting().into_values().next();
    let mut demand = Demand::default();
    let full = |boot_id, count| report(boot_id, true, vec![load("app", 1)], vec![ready("app", count)]);
    assert_eq!(demand.report(addr(1), true, full(1, 1), at(0)), Ok(true));
    let more = report(1, false, vec![load("app", 2)], vec![]);
    assert_eq!(demand.report(addr(1), false, more, at(1)), Ok(false));
    assert_eq!(since(&demand), None, "it may be answered");
    let gone = report(1, false, vec![], vec![ready("app", 0)]);
    assert_eq!(demand.report(addr(1), false, gone, at(3)), Ok(true));
    assert_eq!(since(&demand), Some(at(0)));
    // A second stream, another process, and another interceptor.
    assert_eq!(demand.report(addr(1), true, full(1, 0), at(4)), Ok(false));
    assert_eq!(since(&demand), Some(at(0)));
    assert_eq!(demand.report(addr(1), true, full(2, 0), at(5)), Ok(false));
    assert_eq!(since(&demand), Some(at(5)));
    assert_eq!(demand.report(addr(2), true, full(3, 0), at(6)), Ok(true));
    assert_eq!(since(&demand), Some(at(5)), "the longest");
}
