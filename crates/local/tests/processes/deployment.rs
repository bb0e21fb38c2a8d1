//! A Deployment's replicas from start to end.

use std::time::Duration;

use rouse_local::replica::probe::{ProbeAction, Probes};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::{Published, app, http, probe, shell};
use crate::{Check, block_on, eventually};

pub(crate) const CHECKS: &[Check] = &[
    (
        "deployment::a_replica_is_published_when_its_probe_succeeds",
        || {
            block_on(a_replica_is_published_when_its_probe_succeeds());
        },
    ),
    ("deployment::without_a_probe_a_replica_is_ready_at_once", || {
        block_on(without_a_probe_a_replica_is_ready_at_once());
    }),
    (
        "deployment::an_endpoint_is_taken_away_before_its_program_hears_of_it",
        || {
            block_on(an_endpoint_is_taken_away_before_its_program_hears_of_it());
        },
    ),
    ("deployment::replicas_come_and_go_with_the_number_wanted", || {
        block_on(replicas_come_and_go_with_the_number_wanted());
    }),
    (
        "deployment::a_crashed_replica_is_restarted_and_the_cause_told",
        || {
            block_on(a_crashed_replica_is_restarted_and_the_cause_told());
        },
    ),
    (
        "deployment::a_command_that_does_not_exist_is_told_and_tried_again",
        || {
            block_on(a_command_that_does_not_exist_is_told_and_tried_again());
        },
    ),
    ("deployment::a_sick_replica_is_taken_out_and_back_in", || {
        block_on(a_sick_replica_is_taken_out_and_back_in());
    }),
    ("deployment::a_replica_that_never_gets_ready_says_why", || {
        block_on(a_replica_that_never_gets_ready_says_why());
    }),
    ("deployment::a_failed_liveness_probe_restarts_a_replica", || {
        block_on(a_failed_liveness_probe_restarts_a_replica());
    }),
    ("deployment::a_startup_probe_comes_first", || {
        block_on(a_startup_probe_comes_first());
    }),
    ("deployment::tcp_and_exec_probes_are_asked", || {
        block_on(tcp_and_exec_probes_are_asked());
    }),
    (
        "deployment::a_stubborn_replica_is_killed_after_its_grace_period",
        || {
            block_on(a_stubborn_replica_is_killed_after_its_grace_period());
        },
    ),
    ("deployment::the_first_replica_waits_for_its_node", || {
        block_on(the_first_replica_waits_for_its_node());
    }),
    (
        "deployment::a_wake_that_is_given_up_ends_the_wait_for_the_node",
        || {
            block_on(a_wake_that_is_given_up_ends_the_wait_for_the_node());
        },
    ),
];

async fn a_replica_is_published_when_its_probe_succeeds() {
    let running = app().start(0);
    running.scale.scale(1);
    eventually("one endpoint is ready", || running.sink.ready().len() == 1).await;
    let port = running.sink.ready()[0];
    assert!(
        TcpStream::connect(("127.0.0.1", port)).await.is_ok(),
        "it listens where the slice says"
    );
    assert!(
        running.told().contains("after the wake began"),
        "{}",
        running.told()
    );
    let sink = running.stop().await;
    assert!(sink.is_empty());
    assert!(
        TcpStream::connect(("127.0.0.1", port)).await.is_err(),
        "the port is free"
    );
}

async fn without_a_probe_a_replica_is_ready_at_once() {
    let running = shell("echo started; exec sleep 1000").start(1);
    eventually("the endpoint is ready", || running.sink.ready().len() == 1).await;
    eventually("its output is kept", || running.logged() == "started\n").await;
    running.stop().await;
}

async fn an_endpoint_is_taken_away_before_its_program_hears_of_it() {
    let running = app().start(1);
    eventually("the endpoint is ready", || running.sink.ready().len() == 1).await;
    let port = running.sink.ready()[0];
    let term = running.directory().join("term");
    running.scale.scale(0);
    eventually("the endpoint is not ready", || {
        let is_out = running.sink.ready().is_empty();
        assert!(is_out || !term.exists(), "the program was told first");
        is_out
    })
    .await;
    eventually("the program hears of it", || term.exists()).await;
    eventually("the slice is gone", || running.sink.is_empty()).await;
    let last = running
        .sink
        .log()
        .into_iter()
        .rev()
        .find(|it| matches!(it, Published::Slice { .. }));
    assert_eq!(
        last,
        Some(Published::Slice {
            port,
            is_ready: false,
            is_terminating: true
        })
    );
    running.stop().await;
}

async fn replicas_come_and_go_with_the_number_wanted() {
    let running = app().start(0);
    for wanted in [3, 1, 2, 0] {
        running.scale.scale(wanted);
        eventually(&format!("{wanted} endpoints are ready"), || {
            running.sink.ready().len() == wanted as usize
        })
        .await;
    }
    eventually("all slices are gone", || running.sink.is_empty()).await;
    running.stop().await;
}

async fn a_crashed_replica_is_restarted_and_the_cause_told() {
    let running = shell("echo no configuration >&2; exit 3").start(1);
    eventually("the second restart waits", || {
        running
            .told()
            .contains("exited with status 3; starting again in 1 s")
    })
    .await;
    assert!(
        running
            .told()
            .contains("exited with status 3; starting again at once"),
        "{}",
        running.told()
    );
    assert!(
        running.logged().starts_with("no configuration\n"),
        "{}",
        running.logged()
    );
    assert!(running.stop().await.is_empty());
}

async fn a_command_that_does_not_exist_is_told_and_tried_again() {
    let mut setup = shell("");
    setup.words = vec!["/nowhere/app".to_owned()];
    let running = setup.start(1);
    let told =
        "could not be started: /nowhere/app: No such file or directory (os error 2); starting again in 1 s";
    eventually("it is told", || running.told().contains(told)).await;
    running.stop().await;
}

async fn a_sick_replica_is_taken_out_and_back_in() {
    let running = app().start(1);
    eventually("the endpoint is ready", || running.sink.ready().len() == 1).await;
    let sick = running.directory().join("sick");
    std::fs::write(&sick, "").unwrap();
    eventually("the endpoint is not ready", || running.sink.ready().is_empty()).await;
    assert!(!running.sink.is_empty(), "the replica still runs");
    std::fs::remove_file(&sick).unwrap();
    eventually("the endpoint is ready again", || running.sink.ready().len() == 1).await;
    assert!(
        !running.directory().join("term").exists(),
        "it was never told to end"
    );
    running.stop().await;
}

async fn a_replica_that_never_gets_ready_says_why() {
    let table: &[(&[&str], &str)] = &[
        (
            &["false"],
            "is not ready yet, its readiness probe fails: its command exited with status 1",
        ),
        (
            &["/no/such/program"],
            "its command could not be started: /no/such/program: No such file",
        ),
    ];
    for (command, expected) in table {
        let mut setup = app();
        let command = command.iter().map(ToString::to_string).collect();
        setup.probes.readiness = Some(probe(ProbeAction::Exec { command }));
        let running = setup.start(1);
        eventually(expected, || running.told().contains(expected)).await;
        running.stop().await;
    }
    let mut setup = app();
    let running = {
        std::fs::write(setup.directory.path().join("sick"), "").unwrap();
        setup.probes.readiness = Some(probe(http()));
        setup.start(1)
    };
    eventually("the status is told", || {
        running.told().contains("was answered with status 5")
    })
    .await;
    assert_eq!(running.told().matches("is not ready yet").count(), 1, "once");
    running.stop().await;
}

async fn a_failed_liveness_probe_restarts_a_replica() {
    let mut setup = app();
    setup.probes.liveness = Some(probe(http()));
    let running = setup.start(1);
    eventually("the endpoint is ready", || running.sink.ready().len() == 1).await;
    let first = running.sink.ready()[0];
    std::fs::write(running.directory().join("sick"), "").unwrap();
    eventually("it is told to end", || running.directory().join("term").exists()).await;
    std::fs::remove_file(running.directory().join("sick")).unwrap();
    eventually("another one is ready", || {
        running.sink.ready().first().is_some_and(|port| *port != first)
    })
    .await;
    assert!(
        running.told().contains("failed its liveness probe"),
        "{}",
        running.told()
    );
    running.stop().await;
}

async fn a_startup_probe_comes_first() {
    let mut setup = app();
    let started = setup.directory.path().join("started");
    let command = vec!["test".to_owned(), "-e".to_owned(), started.display().to_string()];
    let mut startup = probe(ProbeAction::Exec { command });
    startup.failure_threshold = 1000;
    setup.probes = Probes {
        startup: Some(startup),
        ..Probes::default()
    };
    let running = setup.start(1);
    eventually("the replica runs", || !running.sink.is_empty()).await;
    assert!(running.sink.ready().is_empty());
    std::fs::write(&started, "").unwrap();
    eventually("the endpoint is ready", || running.sink.ready().len() == 1).await;
    running.stop().await;
}

async fn tcp_and_exec_probes_are_asked() {
    let table = [
        (ProbeAction::TcpSocket { port: 8080 }, true),
        (
            ProbeAction::Exec {
                command: vec!["true".to_owned()],
            },
            true,
        ),
        (
            ProbeAction::Exec {
                command: vec!["false".to_owned()],
            },
            false,
        ),
        (
            ProbeAction::Exec {
                command: vec!["/nowhere/probe".to_owned()],
            },
            false,
        ),
    ];
    for (action, expected) in table {
        let shown = format!("{action:?}");
        let mut setup = app();
        setup.probes = Probes {
            readiness: Some(probe(action)),
            ..Probes::default()
        };
        let running = setup.start(1);
        eventually("the replica runs", || !running.sink.is_empty()).await;
        if expected {
            eventually(&format!("{shown} succeeds"), || running.sink.ready().len() == 1).await;
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(running.sink.ready().is_empty(), "{shown}");
        }
        running.stop().await;
    }
}

async fn a_stubborn_replica_is_killed_after_its_grace_period() {
    let mut setup = app();
    setup.grace = Duration::from_millis(300);
    std::fs::write(setup.directory.path().join("stubborn"), "").unwrap();
    let running = setup.start(1);
    eventually("the endpoint is ready", || running.sink.ready().len() == 1).await;
    running.scale.scale(0);
    eventually("it is told to end", || running.directory().join("term").exists()).await;
    let told = Instant::now();
    eventually("it is gone", || running.sink.is_empty()).await;
    assert!(
        told.elapsed() >= Duration::from_millis(250),
        "it had its grace period"
    );
    assert!(
        running
            .told()
            .contains("did not end within 300 ms of SIGTERM and is killed"),
        "{}",
        running.told()
    );
    running.stop().await;
}

async fn the_first_replica_waits_for_its_node() {
    let mut setup = app();
    setup.node_delay = Duration::from_millis(300);
    let running = setup.start(0);
    let asked = Instant::now();
    running.scale.scale(1);
    eventually("it is waiting", || {
        running.sink.log() == [Published::Waiting(true)]
    })
    .await;
    eventually("the endpoint is ready", || running.sink.ready().len() == 1).await;
    assert!(asked.elapsed() >= Duration::from_millis(300));
    assert_eq!(
        running.sink.log()[..2],
        [Published::Waiting(true), Published::Waiting(false)]
    );
    running.scale.scale(2);
    eventually("a second one needs no node", || running.sink.ready().len() == 2).await;
    running.scale.scale(0);
    eventually("all are gone", || running.sink.is_empty()).await;
    running.scale.scale(1);
    eventually("the next wake waits again", || {
        running
            .sink
            .log()
            .iter()
            .filter(|it| **it == Published::Waiting(true))
            .count()
            == 2
    })
    .await;
    running.stop().await;
}

async fn a_wake_that_is_given_up_ends_the_wait_for_the_node() {
    let mut setup = app();
    setup.node_delay = Duration::from_hours(1);
    let running = setup.start(1);
    eventually("it is waiting", || {
        running.sink.log() == [Published::Waiting(true)]
    })
    .await;
    running.scale.scale(0);
    eventually("it waits no longer", || {
        running.sink.log() == [Published::Waiting(true), Published::Waiting(false)]
    })
    .await;
    running.stop().await;
}
