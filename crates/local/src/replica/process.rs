//! The parent's side of the shim: start a program below one, tell it to stop, hear how it ended.
//!
//! Dropping a [`ReplicaProcess`] closes the control pipe, and the shim kills all below it. Should the shim itself be
//! killed, its end without a report is noticed here, and the program's group and all marked processes are killed.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::time::{Instant, timeout};

use super::command::Command;
use super::descendants;
use super::shim::{KILL, Report, TERMINATE};

/// How long a shim may take to say whether the program was started. Machines under load take their time to execute.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long everything below a replica may take to vanish after SIGKILL, the shim's own rounds included.
const GONE_DEADLINE: Duration = Duration::from_secs(15);
/// Between two looks for processes that a killed shim has left.
const SWEEP_INTERVAL: Duration = Duration::from_millis(10);

/// How to start a shim: the program, and the words before the shim's own arguments.
#[derive(Debug, Clone)]
pub struct ShimLauncher {
    /// The program that calls [`crate::shim_main`].
    pub program: PathBuf,
    /// The words that lead there.
    pub words: Vec<String>,
}

impl ShimLauncher {
    /// This very program with its hidden subcommand: the running one, also when its file has meanwhile been replaced by a
    /// new build.
    ///
    /// # Errors
    /// When the operating system does not tell where this program is.
    pub fn of_this_program() -> io::Result<Self> {
        let running = PathBuf::from("/proc/self/exe");
        let program = if running.exists() {
            running
        } else {
            std::env::current_exe()?
        };
        Ok(Self {
            program,
            words: vec!["local-shim".to_owned()],
        })
    }
}

/// How a program ended, or why it never began.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaExit {
    /// It could not be started; the operating system's words.
    #[error("could not be started: {0}")]
    NotStarted(String),
    /// It ended by itself.
    #[error("exited with status {0}")]
    Status(i32),
    /// A signal ended it.
    #[error("was ended by {}", signal_name(*.0))]
    Signal(i32),
    /// Its shim vanished, and it was killed for that.
    #[error("lost its shim and was killed")]
    ShimLost,
}

/// A program below a shim.
#[derive(Debug)]
pub struct ReplicaProcess {
    shim: Child,
    control: Option<ChildStdin>,
    reports: Lines<BufReader<ChildStdout>>,
    output: Option<ChildStderr>,
    group: Option<Pid>,
    mark: String,
    ended: Option<ReplicaExit>,
}

impl ReplicaProcess {
    /// Starts a program. `mark` is unique to the replica and is found in the environment of all its processes.
    ///
    /// # Errors
    /// How the program failed to start, be it by its own or the shim's fault.
    pub async fn start(launcher: &ShimLauncher, command: &Command, mark: &str) -> Result<Self, ReplicaExit> {
        let not_started = |error: io::Error| ReplicaExit::NotStarted(format!("{}: {error}", command.program));
        let mut shim = tokio::process::Command::new(&launcher.program);
        shim.args(&launcher.words);
        // Not the name by which `pkill -f` would find its parent.
        shim.arg0("replica-shim");
        if let Some(directory) = &command.directory {
            shim.arg("--directory").arg(directory);
        }
        shim.arg("--").arg(&command.program).args(&command.args);
        shim.envs(command.env.iter().map(|(name, value)| (name, value)))
            .env(descendants::MARK, mark);
        shim.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut shim = shim.spawn().map_err(not_started)?;
        let (Some(control), Some(reports), Some(output)) =
            (shim.stdin.take(), shim.stdout.take(), shim.stderr.take())
        else {
            return Err(ReplicaExit::NotStarted(format!(
                "{}: no pipes to its shim",
                command.program
            )));
        };
        let mut process = Self {
            shim,
            control: Some(control),
            reports: BufReader::new(reports).lines(),
            output: Some(output),
            group: None,
            mark: mark.to_owned(),
            ended: None,
        };
        match timeout(START_DEADLINE, process.next_report()).await {
            Ok(Some(Report::Started(pid))) => {
                process.group = Pid::from_raw(pid);
                Ok(process)
            }
            Ok(Some(Report::Failed(message))) => Err(ReplicaExit::NotStarted(message)),
            Ok(_) => {
                process.gone().await;
                Err(ReplicaExit::ShimLost)
            }
            Err(_) => Err(ReplicaExit::NotStarted(format!(
                "{}: its shim said nothing for {} s",
                command.program,
                START_DEADLINE.as_secs()
            ))),
        }
    }

    /// The program's output, standard output and standard error in one. There once.
    pub fn take_output(&mut self) -> Option<ChildStderr> {
        self.output.take()
    }

    /// Waits for the program's end. What it left behind may still be there; see [`ReplicaProcess::gone`].
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn ended(&mut self) -> ReplicaExit {
        if let Some(ended) = &self.ended {
            return ended.clone();
        }
        let ended = loop {
            match self.next_report().await {
                Some(Report::Exited(status)) => break ReplicaExit::Status(status),
                Some(Report::Signaled(signal)) => break ReplicaExit::Signal(signal),
                Some(Report::Failed(message)) => break ReplicaExit::NotStarted(message),
                Some(Report::Started(_)) => {}
                None => break ReplicaExit::ShimLost,
            }
        };
        self.ended = Some(ended.clone());
        ended
    }

    /// Sends SIGTERM to the program's process group.
    pub async fn terminate(&mut self) {
        self.command(TERMINATE).await;
    }

    /// Kills the program and all below the shim.
    pub async fn kill(&mut self) {
        self.command(KILL).await;
    }

    /// Kills whatever is left and waits until the shim has gone, for 15 s at most.
    pub async fn gone(mut self) {
        // The end of the pipe is the command that cannot be lost.
        self.control = None;
        let ended = match timeout(GONE_DEADLINE, self.ended()).await {
            Ok(ended) => ended,
            Err(_) => ReplicaExit::ShimLost,
        };
        if timeout(GONE_DEADLINE, self.shim.wait()).await.is_err()
            && let Err(error) = self.shim.start_kill()
        {
            tracing::warn!(%error, "the shim does not end");
        }
        if ended == ReplicaExit::ShimLost {
            self.kill_what_the_shim_left().await;
        }
    }

    async fn kill_what_the_shim_left(&self) {
        if let Some(group) = self.group
            && let Err(error) = rustix::process::kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, "kill the group of a lost shim");
        }
        let deadline = Instant::now() + GONE_DEADLINE;
        loop {
            let left = descendants::marked(&self.mark);
            if left.is_empty() || Instant::now() >= deadline {
                return;
            }
            left.into_iter().for_each(descendants::kill);
            tokio::time::sleep(SWEEP_INTERVAL).await;
        }
    }

    async fn command(&mut self, command: u8) {
        if let Some(control) = &mut self.control
            && let Err(error) = control.write_all(&[command]).await
        {
            // The shim has gone, and `ended` will say so.
            tracing::debug!(%error, "command to the shim");
        }
    }

    async fn next_report(&mut self) -> Option<Report> {
        self.reports
            .next_line()
            .await
            .ok()
            .flatten()
            .and_then(|line| Report::parse(&line))
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}
