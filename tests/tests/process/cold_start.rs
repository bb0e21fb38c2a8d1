//! The first request of the day, and the second.

use std::{ffi::OsStr, path::PathBuf, time::Duration};

use rouse_tests::{Rouse, eventually, manifest::Tenant};

fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(name)
}

#[test]
fn a_request_wakes_the_application_and_it_sleeps_again_after_the_period() {
    let tenant = Tenant {
        scaledown_period: 2,
        ..Tenant::new("sleepy")
    };
    let rouse = Rouse::start(&tenant.yaml(), &[]);
    assert_eq!(rouse.replicas(), 0);

    let cold = rouse.get("sleepy.test", "/");
    assert_eq!(cold.status, 200, "{cold:?}");
    assert_eq!(cold.header("x-keda-http-cold-start"), Some("true"));
    assert_eq!(
        cold.json()["hostname"]
            .as_str()
            .map(|name| name.starts_with("sleepy-")),
        Some(true)
    );

    let warm = rouse.get("sleepy.test", "/");
    assert_eq!(
        (warm.status, warm.header("x-keda-http-cold-start")),
        (200, Some("false"))
    );
    let last = std::time::Instant::now();
    assert_eq!(rouse.queued("sleepy"), 0);

    // The period, two polling intervals of a second each, and what a loaded machine needs to notice.
    rouse.wait_for_zero(Duration::from_secs(2 + 2 + 2));
    assert!(
        last.elapsed() >= Duration::from_secs(2),
        "not before the period is over"
    );

    assert_eq!(
        rouse.get("sleepy.test", "/").header("x-keda-http-cold-start"),
        Some("true")
    );
}

#[test]
fn the_users_own_manifests_work_as_they_stand() {
    let (app, scaler) = (example("chatbot.yaml"), example("chatbot-http-scaler.yaml"));
    let rouse = Rouse::start_with(&[
        OsStr::new("-f"),
        app.as_os_str(),
        OsStr::new("-f"),
        scaler.as_os_str(),
    ]);
    let cold = rouse.get("chatbot.example.com", "/");
    assert_eq!(
        (cold.status, cold.header("x-keda-http-cold-start")),
        (200, Some("true")),
        "{cold:?}"
    );
    let warm = rouse.get("chatbot.example.com", "/api/info");
    assert_eq!(
        (warm.status, warm.header("x-keda-http-cold-start")),
        (200, Some("false")),
        "{warm:?}"
    );
    let unknown = rouse.get("nobody.example.com", "/");
    assert_eq!(
        (unknown.status, unknown.header("rouse-error")),
        (404, Some("route_not_found"))
    );
}

#[test]
fn without_manifests_the_demo_runs_and_says_what_to_try() {
    let mut rouse = Rouse::start_with(&[]);
    let said = rouse.said();
    assert_eq!(
        said.matches("curl -H \"Host: chatbot.example.com\"").count(),
        2,
        "{said}"
    );
    assert_eq!(rouse.get("chatbot.example.com", "/").status, 200);
    eventually("the wake is told", rouse_tests::PATIENCE, || {
        rouse
            .said()
            .lines()
            .any(|line| line.contains("chatbot") && line.contains("ready"))
            .then_some(())
    });
    assert!(rouse.terminate().success());
}

#[test]
fn a_replica_that_listens_long_after_it_is_ready_answers_the_request_that_waited() {
    // No probe: Ready at once, as in a cluster.
    let tenant = Tenant {
        image: "late:1".to_owned(),
        ..Tenant::new("late")
    };
    let run = format!(
        "late={} demo-app --host {{host}} --port {{port}} --listen-delay 3s",
        rouse_tests::rouse_program().display()
    );
    let rouse = Rouse::start(&tenant.yaml(), &["--run", &run]);
    let answer = rouse.get("late.test", "/");
    assert_eq!(
        (answer.status, answer.header("x-keda-http-cold-start")),
        (200, Some("true"))
    );
    assert!(answer.took >= Duration::from_secs(3));
}

#[test]
fn each_request_is_a_log_line_where_that_is_asked_for() {
    let rouse = Rouse::start(&Tenant::new("logged").yaml(), &["--log-requests"]);
    assert_eq!(rouse.get("logged.test", "/api/info?x=1").status, 200);
    assert_eq!(rouse.get("nobody.test", "/").status, 404);
    eventually("both requests are in the log", rouse_tests::PATIENCE, || {
        let said = rouse.said();
        let line = |words: &[&str]| {
            said.lines()
                .any(|line| words.iter().all(|word| line.contains(word)))
        };
        (line(&["logged.test", "/api/info?x=1", "status=200", "cold_start=true"])
            && line(&["nobody.test", "status=404", "route_not_found"]))
        .then_some(())
    });
}
