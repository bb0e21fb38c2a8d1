//! A room: network, mount and process namespaces of its own, in which parts of the cluster run and with which they end.
//!
//! The control plane has one, every node has one. The first process of the room reaps and waits; when it is killed, the
//! kernel ends every process in the room, containers included, and with them go mounts, interfaces and iptables. So nothing
//! outlives a room, however it ends. `/run`, `/var/lib` and `/var/log` are empty in a room: containerd, the CNI plugins and
//! the kubelet write to fixed places below them, which nodes may not share and the machine should not keep.

mod init;
mod service;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

pub use self::{init::init, service::Service};
use crate::{command, process::Process, wait};

const OPEN_BOUND: Duration = Duration::from_secs(20);
const SHELL_BOUND: Duration = Duration::from_secs(30);

/// The hidden command of this program that is the first process of a room.
pub const INIT_COMMAND: &str = "room-init";

/// What rooms are started with, and where they may look for programs.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A room and the directory with its logs and its processes' ids.
#[derive(Debug, Clone)]
pub struct Room {
    directory: PathBuf,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Holder {
    /// `unshare`, outside of the room, which is killed with the room and kills it.
    outside: Process,
    /// The first process of the room.
    init: Process,
}

impl Room {
    /// The room whose processes are recorded in `directory`, whether it is open or not.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Opens it: makes its namespaces and the process that holds them.
    pub async fn open(&self) -> anyhow::Result<()> {
        fs::create_dir_all(&self.directory).with_context(|| format!("make {}", self.directory.display()))?;
        anyhow::ensure!(!self.is_open(), "{} is open already", self.directory.display());
        let program = std::env::current_exe().context("find this program")?;
        let log = File::create(self.directory.join("room.log")).context("make the room's log")?;
        let mut unshare = Command::new("setsid");
        unshare
            .args([
                "unshare",
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .args(["--propagation", "private", "--"])
            .arg(program)
            .arg(INIT_COMMAND)
            .arg(&self.directory)
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the room's log")?)
            .stderr(log);
        let ready = self.directory.join(init::READY);
        if ready.exists() {
            fs::remove_file(&ready).context("remove the mark of an earlier room")?;
        }
        let child = unshare.spawn().context("start unshare")?;
        let outside = child
            .id()
            .and_then(Process::find)
            .context("unshare ended at once")?;
        wait::until("the room is ready", OPEN_BOUND, async || {
            let Some(init) = outside.child() else {
                return wait::not_yet(self.log("room"));
            };
            if !ready.exists() {
                return wait::not_yet(format!("its first process has not begun\n{}", self.log("room")));
            }
            let holder = serde_json::to_string(&Holder { outside, init })?;
            fs::write(self.holder(), holder)?;
            wait::done(())
        })
        .await
    }

    /// Ends every process in it. A room that is not open needs nothing.
    pub async fn close(&self) -> anyhow::Result<()> {
        let Some(holder) = self.read_holder() else {
            return Ok(());
        };
        holder.init.kill().await?;
        holder.outside.kill().await?;
        fs::remove_file(self.holder()).context("remove the record of a room")
    }

    /// Whether its processes run.
    pub fn is_open(&self) -> bool {
        self.read_holder().is_some_and(|holder| holder.init.is_running())
    }

    /// Moves the calling thread, and with it every thread that it starts from now on, into the room's network.
    pub fn enter_network(&self) -> anyhow::Result<()> {
        let init = self.init()?;
        let network = format!("/proc/{}/ns/net", init.pid());
        let network = File::open(&network).with_context(|| format!("open {network}"))?;
        move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&network),
            Some(LinkNameSpaceType::Network),
        )
        .context("enter the room's network")
    }

    /// Runs a shell script in the room's network, with the machine's files and processes.
    pub async fn shell(&self, script: &str) -> anyhow::Result<String> {
        let mut nsenter = Command::new("nsenter");
        nsenter
            .arg("--target")
            .arg(self.init()?.pid().to_string())
            .args(["--net", "--", "sh", "-euc", script])
            .env("PATH", PATH);
        command::run(&mut nsenter, SHELL_BOUND).await
    }

    /// What a service of the room has logged.
    pub fn log(&self, service: &str) -> String {
        let log = fs::read(self.directory.join(format!("{service}.log"))).unwrap_or_default();
        command::tail(&String::from_utf8_lossy(&log)).to_owned()
    }

    /// The first process of the room, by its id outside.
    pub(crate) fn init(&self) -> anyhow::Result<Process> {
        self.read_holder()
            .map(|holder| holder.init)
            .filter(|init| init.is_running())
            .with_context(|| format!("{} is not open", self.directory.display()))
    }

    /// Where its logs and records are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn holder(&self) -> PathBuf {
        self.directory.join("room.json")
    }

    fn read_holder(&self) -> Option<Holder> {
        let holder = fs::read(self.holder()).ok()?;
        serde_json::from_slice(&holder).ok()
    }
}
