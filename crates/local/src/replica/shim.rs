//! The keeper of one child: a process of ours between `rouse local` and the user's program.
//!
//! A process cannot ask for its children to die with it when it is killed outright. A pipe can tell: the shim's
//! standard input is held by its parent alone, so the end of it means that the parent is gone, however it went. Then,
//! and when the program ends by itself, the shim kills all that is left below it. It is a child subreaper, so programs
//! that turn themselves into daemons stay below it. It owns no state beyond that, uses threads only, and lives in a
//! process group of its own, so that Ctrl-C in a terminal reaches `rouse local` alone and requests can drain.
//!
//! | descriptor | use |
//! |---|---|
//! | 0 | commands, one byte each: [`TERMINATE`], [`KILL`]; its end is [`KILL`] |
//! | 1 | reports, one line each, see [`Report`] |
//! | 2 | the program's standard output and standard error, in the order written |
//!
//! Bounds: the program is told nothing after its end; what is left is killed again and again for [`SWEEP_DEADLINE`].

use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use tokio::time::Instant;

use super::descendants;

/// The command for SIGTERM to the program's process group.
pub(super) const TERMINATE: u8 = b'T';
/// The command for SIGKILL to everything below the shim.
pub(super) const KILL: u8 = b'K';

/// How long the shim goes on killing what is left. Only a process stuck in the kernel survives the first round.
const SWEEP_DEADLINE: Duration = Duration::from_secs(10);
/// Between two rounds; each exit that is reaped starts the next one at once.
const SWEEP_INTERVAL: Duration = Duration::from_millis(5);

/// The arguments of the hidden subcommand `local-shim`.
#[derive(Debug, clap::Args)]
pub struct ShimArgs {
    /// The directory to run the program in.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// The program and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

/// What the shim tells its parent, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The program runs under this process id, which is also its process group.
    Started(i32),
    /// The program could not be started: the operating system's words.
    Failed(String),
    /// The program ended with this status.
    Exited(i32),
    /// The program was ended by this signal.
    Signaled(i32),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(pid) => write!(f, "started {pid}"),
            Self::Failed(message) => write!(f, "failed {message}"),
            Self::Exited(status) => write!(f, "exited {status}"),
            Self::Signaled(signal) => write!(f, "signaled {signal}"),
        }
    }
}

impl Report {
    /// Reads a line of the shim's.
    pub fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        Some(match word {
            "started" => Self::Started(rest.parse().ok()?),
            "failed" => Self::Failed(rest.to_owned()),
            "exited" => Self::Exited(rest.parse().ok()?),
            "signaled" => Self::Signaled(rest.parse().ok()?),
            _ => return None,
        })
    }
}

enum Event {
    Command(u8),
    ControlClosed,
    Reaped(Pid, WaitStatus),
    NothingLeft,
}

/// Runs the shim: the whole life of this process. The exit code says nothing; the reports do.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the whole of the caller's arguments"
)]
pub fn shim_main(args: ShimArgs) -> ExitCode {
    name_this_process();
    if let Err(error) = become_subreaper() {
        report(&Report::Failed(format!(
            "cannot become a child subreaper: {error}"
        )));
        return ExitCode::FAILURE;
    }
    let child = match start(&args) {
        Ok(child) => child,
        Err(message) => {
            report(&Report::Failed(message));
            return ExitCode::FAILURE;
        }
    };
    report(&Report::Started(child.as_raw_nonzero().get()));

    let (sender, events) = sync_channel(64);
    let control = sender.clone();
    std::thread::spawn(move || read_commands(&control));
    std::thread::spawn(move || reap(&sender));
    keep(child, &events);
    ExitCode::SUCCESS
}

/// `pkill -9 rouse` must not take the shims along with their parent: who would then stop the programs?
fn name_this_process() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_name(c"replica-shim") {
        tracing::debug!(%error, "the shim keeps its name");
    }
}

fn become_subreaper() -> Result<(), Errno> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

fn start(args: &ShimArgs) -> Result<Pid, String> {
    let (program, rest) = args.command.split_first().ok_or("no command")?;
    let output = || std::io::stderr().as_fd().try_clone_to_owned().map(Stdio::from);
    let shown = program.to_string_lossy();
    if let Some(directory) = &args.directory
        && let Err(error) = std::fs::metadata(directory)
    {
        return Err(format!("working directory {}: {error}", directory.display()));
    }
    let mut command = Command::new(program);
    command.args(rest).process_group(0).stdin(Stdio::null());
    command.stdout(output().map_err(|error| error.to_string())?);
    command.stderr(output().map_err(|error| error.to_string())?);
    if let Some(directory) = &args.directory {
        command.current_dir(directory);
    }
    let child = command.spawn().map_err(|error| format!("{shown}: {error}"))?;
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| format!("{shown}: no process id"))
}

fn read_commands(events: &SyncSender<Event>) {
    let mut control = std::io::stdin().lock();
    let mut byte = [0];
    loop {
        let event = match control.read(&mut byte) {
            Ok(0) => Event::ControlClosed,
            Ok(_) => Event::Command(byte[0]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => Event::ControlClosed,
        };
        let is_last = matches!(event, Event::ControlClosed);
        if events.send(event).is_err() || is_last {
            return;
        }
    }
}

/// Waits for every child, the program itself and what was handed to this subreaper. "No children" is final: all that
/// is below a subreaper hangs on at least one child of its own.
fn reap(events: &SyncSender<Event>) {
    loop {
        let event = match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => Event::Reaped(pid, status),
            Ok(None) | Err(Errno::INTR) => continue,
            Err(_) => Event::NothingLeft,
        };
        let is_last = matches!(event, Event::NothingLeft);
        if events.send(event).is_err() || is_last {
            return;
        }
    }
}

/// Obeys until the program has ended or everything is to end, then sweeps.
fn keep(child: Pid, events: &Receiver<Event>) {
    loop {
        match events.recv() {
            Ok(Event::Command(TERMINATE)) => signal_group(child, Signal::TERM),
            Ok(Event::Command(KILL) | Event::ControlClosed) | Err(_) => break,
            Ok(Event::Reaped(pid, status)) if pid == child => {
                report_end(status);
                return sweep(None, events);
            }
            Ok(Event::NothingLeft) => return,
            Ok(Event::Command(_) | Event::Reaped(..)) => {}
        }
    }
    sweep(Some(child), events);
}

/// Kills everything below this process until nothing is left. `child` is the program when it still runs.
fn sweep(mut child: Option<Pid>, events: &Receiver<Event>) {
    let deadline = Instant::now() + SWEEP_DEADLINE;
    while Instant::now() < deadline {
        if let Some(child) = child {
            signal_group(child, Signal::KILL);
        }
        for pid in descendants::of(rustix::process::getpid()) {
            descendants::kill(pid);
        }
        match events.recv_timeout(SWEEP_INTERVAL) {
            Ok(Event::Reaped(pid, status)) if Some(pid) == child => {
                report_end(status);
                child = None;
            }
            Ok(Event::NothingLeft) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn signal_group(child: Pid, signal: Signal) {
    // The group may be gone already, which is what was wanted.
    if let Err(error) = rustix::process::kill_process_group(child, signal) {
        tracing::debug!(%error, "signal to the program's group");
    }
}

fn report_end(status: WaitStatus) {
    if let Some(signal) = status.terminating_signal() {
        report(&Report::Signaled(signal));
    } else {
        report(&Report::Exited(status.exit_status().unwrap_or_default()));
    }
}

/// A parent that is gone reads nothing; that is told by the control pipe.
fn report(report: &Report) {
    let mut output = std::io::stdout().lock();
    let line = report.to_string().replace('\n', " ");
    if writeln!(output, "{line}").and_then(|()| output.flush()).is_err() {
        tracing::debug!("nobody reads the shim's reports");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_way() {
        let reports = [
            Report::Started(42),
            Report::Failed("app: No such file or directory (os error 2)".to_owned()),
            Report::Exited(3),
            Report::Signaled(9),
        ];
        for report in reports {
            assert_eq!(Report::parse(&report.to_string()), Some(report));
        }
        assert_eq!(Report::parse("exited soon"), None);
        assert_eq!(Report::parse(""), None);
    }
}
