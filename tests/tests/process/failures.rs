//! Applications that never come: the client is told in time, the log says why, and the next good configuration works.

use std::time::Duration;

use rouse_tests::{PATIENCE, Rouse, eventually, http, in_parallel, manifest::Tenant, rouse_program};

/// `--run` for the image `app:1`.
fn run(command: &str) -> String {
    format!("app={command}")
}

fn tenant(name: &str) -> Tenant {
    Tenant {
        image: "app:1".to_owned(),
        ..Tenant::new(name)
    }
}

fn demo_app(flags: &str) -> String {
    run(&format!(
        "{} demo-app --host {{host}} --port {{port}} {flags}",
        rouse_program().display()
    ))
}

#[test]
fn a_replica_that_never_becomes_ready_is_a_504_at_the_deadline() {
    let probe = "readinessProbe: { httpGet: { path: /readyz, port: 9898 }, periodSeconds: 1 }".to_owned();
    let tenant = Tenant {
        container: probe,
        ..tenant("never")
    };
    let rouse = Rouse::start(
        &tenant.yaml(),
        &["--run", &demo_app("--never-ready"), "--readiness-timeout", "2s"],
    );
    let answer = rouse.get("never.test", "/");
    assert_eq!(
        (answer.status, answer.header("rouse-error")),
        (504, Some("readiness_timeout")),
        "{answer:?}"
    );
    assert!(
        answer.took >= Duration::from_secs(2) && answer.took < Duration::from_secs(10),
        "{:?}",
        answer.took
    );
}

#[test]
fn a_replica_that_exits_at_once_is_a_504_and_the_log_names_its_exit_status() {
    let rouse = Rouse::start(
        &tenant("exits").yaml(),
        &[
            "--run",
            &demo_app("--exit-after 10ms --listen-delay 10s --exit-code 7"),
            "--readiness-timeout",
            "2s",
        ],
    );
    let answer = rouse.get("exits.test", "/");
    assert_eq!(
        (answer.status, answer.header("rouse-error")),
        (504, Some("readiness_timeout")),
        "{answer:?}"
    );
    let said = rouse.said();
    assert!(
        said.contains("exits") && said.contains("status 7") || said.contains("code 7"),
        "{said}"
    );
}

#[test]
fn a_command_that_does_not_exist_is_a_504_and_the_log_names_it() {
    let rouse = Rouse::start(
        &tenant("missing").yaml(),
        &[
            "--run",
            &run("/no/such/program --port {port}"),
            "--readiness-timeout",
            "2s",
        ],
    );
    let answer = rouse.get("missing.test", "/");
    assert_eq!(
        (answer.status, answer.header("rouse-error")),
        (504, Some("readiness_timeout")),
        "{answer:?}"
    );
    let said = rouse.said();
    assert!(said.contains("/no/such/program"), "{said}");
    assert!(said.to_lowercase().contains("no such file"), "{said}");
    drop(rouse);

    let rouse = Rouse::start(&tenant("missing").yaml(), &["--run", &demo_app("")]);
    assert_eq!(
        rouse.get("missing.test", "/").status,
        200,
        "the next good configuration works"
    );
}

#[test]
fn beyond_the_bound_a_request_is_a_503_at_once() {
    // Never Ready, not merely refusing: a request that an endpoint has just refused is for a moment not held.
    let probe = "readinessProbe: { httpGet: { path: /readyz, port: 9898 }, periodSeconds: 1 }".to_owned();
    let tenant = Tenant {
        container: probe,
        ..tenant("full")
    };
    let command = demo_app("--never-ready");
    let bounds = ["--max-pending", "3", "--readiness-timeout", "3s"];
    let rouse = Rouse::start(&tenant.yaml(), &[&["--run", &command][..], &bounds].concat());
    let proxy = rouse.proxy();
    let held = std::thread::spawn(move || in_parallel(3, move |_| http::get(proxy, "full.test", "/").status));
    eventually("three are held", PATIENCE, || {
        (rouse.queued("full") == 3).then_some(())
    });
    let answer = rouse.get("full.test", "/");
    assert_eq!(
        (answer.status, answer.header("rouse-error")),
        (503, Some("pending_limit")),
        "{answer:?}"
    );
    assert!(answer.header("retry-after").is_some());
    assert!(answer.took < Duration::from_secs(2), "{:?}", answer.took);
    assert_eq!(held.join().expect("it only asks"), [504, 504, 504]);
}
