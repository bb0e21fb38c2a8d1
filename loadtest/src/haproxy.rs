//! HAProxy, the bar for the cost of a request: one process, one thread, doing what Rouse does to a request.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::{client::Connection, wait};

const START_BOUND: Duration = Duration::from_secs(10);

/// A running HAProxy, ended when dropped.
#[derive(Debug)]
pub(crate) struct HaProxy {
    child: Child,
    pub(crate) addr: SocketAddr,
    _directory: TempDir,
}

/// The version line, or `None` where HAProxy is not installed.
pub(crate) fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("-v").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

impl HaProxy {
    /// Starts it on the processors that the current thread may use.
    pub(crate) fn spawn(program: &str, backend: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
        let addr = listener.local_addr().context("find a free port")?;
        drop(listener);
        let directory = tempfile::tempdir().context("make a directory")?;
        let configuration = directory.path().join("haproxy.cfg");
        // Idle connections to the backend are shared, and the client's address is forwarded, as Rouse does both.
        let text = format!(
            "\
global
    maxconn 8192
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 60s
    option forwardfor
    http-reuse always
frontend proxy
    bind {addr}
    default_backend application
backend application
    server replica {backend}
"
        );
        fs::write(&configuration, text).context("write the configuration")?;
        let mut command = Command::new(program);
        // -db: in the foreground, as one process.
        command.arg("-db").arg("-f").arg(&configuration);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().context("start HAProxy")?;
        Ok(Self {
            child,
            addr,
            _directory: directory,
        })
    }

    pub(crate) async fn wait_until_ready(&self) -> anyhow::Result<()> {
        wait::until(
            "HAProxy listens",
            START_BOUND,
            Duration::from_millis(20),
            async || Connection::open(self.addr).await.ok().map(drop),
        )
        .await
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}
