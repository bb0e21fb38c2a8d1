//! `rouse local` as a user starts it, on free ports, with its output kept for when it fails.

use std::{
    ffi::OsString,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    client::{self, Connection},
    manifests::{self, Tenant},
    wait,
};

const START_BOUND: Duration = Duration::from_secs(30);
const STOP_BOUND: Duration = Duration::from_mins(1);

/// What `rouse local` is started with, beyond its addresses and manifests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) env: Vec<(&'static str, String)>,
    /// For `--run`: an image and the command it stands for.
    pub(crate) run: Vec<(String, String)>,
}

/// A running `rouse local`; stopped with SIGKILL when dropped, unless [`RouseProcess::stop`] did it properly.
#[derive(Debug)]
pub(crate) struct RouseProcess {
    child: Child,
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) scaler: SocketAddr,
    directory: TempDir,
}

impl RouseProcess {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(
        program: &Path,
        tenants: &[Tenant],
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("make a directory")?;
        let manifests = directory.path().join("tenants.yaml");
        fs::write(&manifests, manifests::yaml(tenants)).context("write the manifests")?;
        let log = File::create(directory.path().join("log")).context("make a log file")?;
        let [proxy, admin, scaler] = free_addrs()?;

        let mut command = Command::new(program);
        command.arg("local").arg("-f").arg(&manifests);
        command.arg("--log-dir").arg(directory.path().join("replicas"));
        for (flag, addr) in [("--listen", proxy), ("--admin", admin), ("--scaler", scaler)] {
            command.arg(flag).arg(addr.to_string());
        }
        for (image, run) in &settings.run {
            command.arg("--run").arg(OsString::from(format!("{image}={run}")));
        }
        command.envs(settings.env.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the log")?)
            .stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;

        let mut rouse = Self {
            child,
            proxy,
            admin,
            scaler,
            directory,
        };
        let ready = rouse.wait_until_ready().await;
        ready.with_context(|| format!("start rouse local, which said:\n{}", rouse.log()))?;
        Ok(rouse)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        wait::until(
            "rouse local is ready",
            START_BOUND,
            Duration::from_millis(20),
            async || {
                if let Ok(Some(status)) = self.child.try_wait() {
                    return Some(Err(anyhow::anyhow!("it ended with {status}")));
                }
                let mut admin = Connection::open(self.admin).await.ok()?;
                let answer = admin.exchange(&client::get("admin", "/readyz")).await.ok()?;
                (answer.status == 200).then_some(Ok(()))
            },
        )
        .await?
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The answer of an endpoint of the admin port.
    pub(crate) async fn admin(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let mut admin = Connection::open(self.admin)
            .await
            .context("connect to the admin port")?;
        let answer = admin
            .exchange(&client::get("admin", path))
            .await
            .context("ask the admin port")?;
        Ok(answer.body)
    }

    /// Stops it as a service manager would and waits for its end.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).context("stop rouse local")?;
        wait::until(
            "rouse local ends",
            STOP_BOUND,
            Duration::from_millis(20),
            async || self.child.try_wait().ok().flatten(),
        )
        .await?;
        Ok(())
    }
}

impl Drop for RouseProcess {
    fn drop(&mut self) {
        // Both fail only where the process is gone already.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// Three ports that are free now. Another process may take one in between; then Rouse says so and the benchmark ends.
fn free_addrs() -> anyhow::Result<[SocketAddr; 3]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port");
    let listeners = [listen()?, listen()?, listen()?];
    let mut addrs = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); 3];
    for (addr, listener) in addrs.iter_mut().zip(&listeners) {
        *addr = listener.local_addr().context("find a free port")?;
    }
    Ok(addrs)
}
