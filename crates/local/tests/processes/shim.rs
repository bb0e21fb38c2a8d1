//! The shim with real processes: nothing survives, however it ends.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rouse_local::replica::command::Command;
use rouse_local::replica::process::{ReplicaExit, ReplicaProcess};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::time::timeout;

use crate::{Check, block_on, eventually, launcher};

pub(crate) const CHECKS: &[Check] = &[
    ("shim::the_end_of_a_program_is_reported", || {
        block_on(the_end_of_a_program_is_reported());
    }),
    ("shim::a_command_that_does_not_exist_is_reported_as_such", || {
        block_on(a_command_that_does_not_exist_is_reported_as_such());
    }),
    ("shim::output_and_variables_pass_through", || {
        block_on(output_and_variables_pass_through());
    }),
    ("shim::sigterm_reaches_the_program_and_sigkill_all_below", || {
        block_on(sigterm_reaches_the_program_and_sigkill_all_below());
    }),
    ("shim::what_a_program_leaves_behind_ends_with_it", || {
        block_on(what_a_program_leaves_behind_ends_with_it());
    }),
    ("shim::a_dropped_replica_takes_all_along", || {
        block_on(a_dropped_replica_takes_all_along());
    }),
    ("shim::all_below_ends_when_the_parent_is_killed", || {
        block_on(all_below_ends_when_the_parent_is_killed());
    }),
    ("shim::all_below_ends_when_the_shim_is_killed", || {
        block_on(all_below_ends_when_the_shim_is_killed());
    }),
];

fn shell(script: &str) -> Command {
    Command {
        program: "/bin/sh".to_owned(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: vec![("GREETING".to_owned(), "hello".to_owned())],
        directory: None,
    }
}

async fn start(script: &str) -> ReplicaProcess {
    ReplicaProcess::start(
        &launcher(),
        &shell(script),
        &format!("test/{}", std::process::id()),
    )
    .await
    .unwrap()
}

/// A program that has daemons below it: one in the background, one in a session of its own, and one that was forked
/// twice and so has lost its parent. Each writes its process id; none hears SIGTERM.
fn family(directory: &Path) -> String {
    let sleeper = |name: &str| {
        format!(
            "trap '' TERM; echo $$ > {0}/{name}.new; mv {0}/{name}.new {0}/{name}; while :; do sleep 1000; done",
            directory.display()
        )
    };
    format!(
        "sh -c \"{}\" & setsid sh -c \"{}\" & (setsid sh -c \"({}) &\" &); {}",
        sleeper("child").replace('$', "\\$"),
        sleeper("session").replace('$', "\\$"),
        // `$$` of a subshell is its parent's; the daemon starts one more shell to know itself.
        format!("exec sh -c '{}'", sleeper("daemon").replace('\'', "\\\"\\\"")).replace('$', "\\$"),
        sleeper("program")
    )
}

const FAMILY: [&str; 4] = ["program", "child", "session", "daemon"];

async fn family_members(directory: &Path) -> Vec<Pid> {
    let mut members = Vec::new();
    for name in FAMILY {
        let path = directory.join(name);
        eventually(&format!("{name} runs"), || path.exists()).await;
        let text = std::fs::read_to_string(&path).unwrap();
        members.push(Pid::from_raw(text.trim().parse().unwrap()).unwrap());
    }
    members
}

/// Dead, or a zombie that only its new parent can reap.
fn is_dead(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.map_or(true, |stat| {
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
    })
}

async fn all_end(members: &[Pid]) {
    for member in members {
        eventually(&format!("process {member:?} ends"), || is_dead(*member)).await;
    }
}

async fn the_end_of_a_program_is_reported() {
    for (script, expected) in [
        ("exit 0", ReplicaExit::Status(0)),
        ("exit 7", ReplicaExit::Status(7)),
        ("kill -SEGV $$", ReplicaExit::Signal(11)),
    ] {
        let mut process = start(script).await;
        assert_eq!(process.ended().await, expected, "{script}");
        assert_eq!(process.ended().await, expected, "asked again");
        process.gone().await;
    }
    assert_eq!(ReplicaExit::Signal(11).to_string(), "was ended by SIGSEGV");
}

async fn a_command_that_does_not_exist_is_reported_as_such() {
    let missing = Command {
        program: "/nowhere/app".to_owned(),
        ..shell("")
    };
    let exit = ReplicaProcess::start(&launcher(), &missing, "test")
        .await
        .unwrap_err();
    assert_eq!(
        exit.to_string(),
        "could not be started: /nowhere/app: No such file or directory (os error 2)"
    );
    let elsewhere = Command {
        directory: Some(PathBuf::from("/nowhere")),
        ..shell("exit 0")
    };
    let exit = ReplicaProcess::start(&launcher(), &elsewhere, "test")
        .await
        .unwrap_err();
    assert_eq!(
        exit.to_string(),
        "could not be started: working directory /nowhere: No such file or directory (os error 2)"
    );
}

async fn output_and_variables_pass_through() {
    let mut process = start("echo $GREETING; echo problem >&2; cat; echo end").await;
    let mut output = String::new();
    process
        .take_output()
        .unwrap()
        .read_to_string(&mut output)
        .await
        .unwrap();
    assert_eq!(output, "hello\nproblem\nend\n");
    process.gone().await;
}

async fn sigterm_reaches_the_program_and_sigkill_all_below() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = start("trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done").await;
    let mut ready = String::new();
    let mut output = BufReader::new(process.take_output().unwrap());
    output.read_line(&mut ready).await.unwrap();
    process.terminate().await;
    assert_eq!(process.ended().await, ReplicaExit::Status(3));
    process.gone().await;

    let mut process = start(&family(directory.path())).await;
    let members = family_members(directory.path()).await;
    process.terminate().await;
    assert!(
        timeout(Duration::from_millis(200), process.ended())
            .await
            .is_err(),
        "the program ignores SIGTERM"
    );
    process.kill().await;
    assert_eq!(process.ended().await, ReplicaExit::Signal(9));
    process.gone().await;
    assert!(members.into_iter().all(is_dead), "gone means gone");
}

async fn what_a_program_leaves_behind_ends_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = start(&family(directory.path())).await;
    let members = family_members(directory.path()).await;
    kill_process(members[0], Signal::KILL).unwrap();
    assert_eq!(process.ended().await, ReplicaExit::Signal(9));
    process.gone().await;
    assert!(members.into_iter().all(is_dead));
}

async fn a_dropped_replica_takes_all_along() {
    let directory = tempfile::tempdir().unwrap();
    let process = start(&family(directory.path())).await;
    let members = family_members(directory.path()).await;
    drop(process);
    all_end(&members).await;
}

pub(crate) async fn stand_in_parent(script: &str) {
    let process = start(script).await;
    std::future::pending::<()>().await;
    drop(process);
}

async fn all_below_ends_when_the_parent_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut parent = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["stand-in-parent", &family(directory.path())])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let members = family_members(directory.path()).await;
    parent.kill().await.unwrap();
    all_end(&members).await;
}

async fn all_below_ends_when_the_shim_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = start(&family(directory.path())).await;
    let members = family_members(directory.path()).await;
    let program = std::fs::read_to_string(format!("/proc/{}/stat", members[0].as_raw_nonzero())).unwrap();
    let shim: i32 = program
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kill_process(Pid::from_raw(shim).unwrap(), Signal::KILL).unwrap();
    assert_eq!(process.ended().await, ReplicaExit::ShimLost);
    process.gone().await;
    assert!(members.into_iter().all(is_dead));
}
