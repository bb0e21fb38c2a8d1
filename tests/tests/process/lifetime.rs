//! What runs below `rouse local` ends with it, however it ends, and its ports are free again.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use rouse_tests::{PATIENCE, Rouse, eventually, http, manifest::Tenant, process, rouse_program};

/// A replica that starts a daemon of its own, in a session of its own, and both are found by `marker`.
fn restless(marker: &str) -> String {
    format!(
        "app=/bin/sh -c 'setsid /bin/sh -c \"while :; do sleep 1; done # {marker}\" & exec {} demo-app --host {{host}} \
         --port {{port}} --message {marker}'",
        rouse_program().display()
    )
}

fn started(marker: &str) -> Rouse {
    let tenant = Tenant {
        image: "app:1".to_owned(),
        scaledown_period: 300,
        ..Tenant::new("restless")
    };
    let rouse = Rouse::start(&tenant.yaml(), &["--run", &restless(marker)]);
    assert_eq!(rouse.get("restless.test", "/").status, 200);
    eventually("the application and its daemon run", PATIENCE, || {
        (process::with_command_line(marker).len() >= 2).then_some(())
    });
    rouse
}

fn assert_gone(marker: &str, ports: &[SocketAddr]) {
    // Nothing of it: neither the application, nor its daemon, nor the shims.
    eventually("all of it is gone", Duration::from_secs(10), || {
        process::with_command_line(marker).is_empty().then_some(())
    });
    for port in ports {
        eventually("the port is free", PATIENCE, || TcpListener::bind(port).ok());
    }
}

#[test]
fn kill_9_takes_the_replicas_and_their_children_along() {
    let marker = "rouse-lifetime-kill";
    let mut rouse = started(marker);
    let ports = [rouse.proxy(), rouse.admin()];
    rouse.kill();
    assert_gone(marker, &ports);
}

#[test]
fn sigterm_ends_everything_in_order_and_a_second_start_works() {
    let marker = "rouse-lifetime-term";
    let mut rouse = started(marker);
    let ports = [rouse.proxy(), rouse.admin()];
    assert!(rouse.terminate().success());
    assert_gone(marker, &ports);
    let again = started(marker);
    assert_eq!(
        again.get("restless.test", "/").header("x-keda-http-cold-start"),
        Some("false")
    );
}

#[test]
fn a_request_in_flight_is_finished_before_the_end() {
    let mut rouse = Rouse::start(&Tenant::new("drained").yaml(), &[]);
    assert_eq!(rouse.get("drained.test", "/").status, 200);
    let proxy = rouse.proxy();
    let request = std::thread::spawn(move || http::try_get(proxy, "drained.test", "/delay/2"));
    eventually("the request is in flight", PATIENCE, || {
        (rouse.queued("drained") == 1).then_some(())
    });
    assert!(rouse.terminate().success());
    let answer = request.join().expect("it only asks").expect("a whole answer");
    assert_eq!(answer.status, 200);
}

#[test]
fn the_output_of_a_replica_can_be_read() {
    let tenant = Tenant {
        image: "app:1".to_owned(),
        ..Tenant::new("chatty")
    };
    let run = format!(
        "app=/bin/sh -c 'echo a line of output; echo and one of errors >&2; exec {} demo-app --host {{host}} --port {{port}}'",
        rouse_program().display()
    );
    let rouse = Rouse::start(&tenant.yaml(), &["--run", &run]);
    assert_eq!(rouse.get("chatty.test", "/").status, 200);
    let logs = rouse.directory().join("logs/default");
    eventually("both lines are in the replica's log", PATIENCE, || {
        let log = std::fs::read_dir(&logs).ok()?.flatten().next()?;
        let text = std::fs::read_to_string(log.path()).ok()?;
        (text.contains("a line of output") && text.contains("and one of errors")).then_some(())
    });
}
