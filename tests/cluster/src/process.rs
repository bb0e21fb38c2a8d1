//! A process that outlives the harness: known by its id and by when it started, so that an id used again is not taken for it.

use std::{fs, time::Duration};

use anyhow::Context as _;
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};

use crate::wait;

const KILL_BOUND: Duration = Duration::from_secs(20);

/// A process of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pid: u32,
    /// In clock ticks since the machine started.
    started: u64,
}

impl Process {
    /// The running process with this id.
    pub fn find(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may hold anything. After it: the state (field 3) to the start time (field 22).
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (!state.starts_with(['Z', 'X'])).then_some(Self { pid, started })
    }

    /// Its id, in the process namespace of the machine.
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// Whether it still runs.
    pub fn is_running(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// Its first child.
    pub fn child(self) -> Option<Self> {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid)).ok()?;
        children
            .split_whitespace()
            .next()?
            .parse()
            .ok()
            .and_then(Self::find)
    }

    /// Sends it a signal; a process that is gone is none to complain about.
    pub fn signal(self, signal: Signal) -> anyhow::Result<()> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return Ok(());
        };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("open process {}", self.pid)),
        };
        // The handle stays with the process that has the id now: looked at after it was opened, it is the right one or not.
        if !self.is_running() {
            return Ok(());
        }
        match pidfd_send_signal(handle, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("send a signal to process {}", self.pid)),
        }
    }

    /// Kills it and waits until it is gone.
    pub async fn kill(self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.wait_until_gone(KILL_BOUND).await
    }

    /// Waits for its end.
    pub async fn wait_until_gone(self, bound: Duration) -> anyhow::Result<()> {
        wait::until(&format!("process {} ends", self.pid), bound, async || {
            if self.is_running() {
                wait::not_yet("it runs")
            } else {
                wait::done(())
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use tokio::process::Command;

    use super::*;

    #[test]
    fn finds_itself_and_nobody_under_an_unused_id() {
        let this = Process::find(std::process::id()).expect("this process runs");
        assert!(this.is_running());
        assert_eq!(Process::find(u32::MAX), None);
    }

    #[tokio::test]
    async fn another_process_under_the_same_id_is_left_alone() {
        let mut child = Command::new("sleep")
            .arg("600")
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let process = Process::find(child.id().unwrap()).unwrap();
        let earlier = Process {
            started: process.started - 1,
            ..process
        };
        assert!(!earlier.is_running());
        earlier.kill().await.unwrap();
        assert!(process.is_running());
        process.kill().await.unwrap();
        assert!(!child.wait().await.unwrap().success());
    }
}
