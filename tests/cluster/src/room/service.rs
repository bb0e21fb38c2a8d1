//! A long-running program in a room: started apart from the harness, recorded, so that a later harness can stop it.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::{PATH, Room};
use crate::process::Process;

/// What a service is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Service {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    env: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    service: Service,
    /// `nsenter`, outside of the room; its only child is the program.
    outside: Process,
}

impl Service {
    /// A service without arguments.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            arguments: Vec::new(),
            env: BTreeMap::new(),
        }
    }

    /// With more arguments.
    #[must_use]
    pub fn args<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// With one more argument, `--name=value`.
    #[must_use]
    pub fn flag(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.arguments.push(format!("--{name}={value}"));
        self
    }

    /// With one more argument, `--name=path`.
    #[must_use]
    pub fn path(self, name: &str, path: &Path) -> Self {
        self.flag(name, path.display())
    }

    /// With an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }
}

impl Room {
    /// Starts a service. It logs to `NAME.log` in the room's directory and outlives this process.
    pub fn start(&self, service: &Service) -> anyhow::Result<()> {
        let name = &service.name;
        anyhow::ensure!(!self.runs(name), "{name} runs already");
        let log = self.directory().join(format!("{name}.log"));
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("open {}", log.display()))?;
        let outside = self
            .spawn(service, log)
            .with_context(|| format!("start {name}"))?;
        let record = serde_json::to_string(&Record {
            service: service.clone(),
            outside,
        })?;
        fs::write(self.record(name), record).with_context(|| format!("record {name}"))
    }

    /// Starts a service as it was started before.
    pub fn start_again(&self, name: &str) -> anyhow::Result<()> {
        let record = self.read_record(name)?;
        self.start(&record.service)
    }

    /// Sends a signal to a service and waits for its end.
    pub async fn stop(&self, name: &str, signal: Signal, bound: Duration) -> anyhow::Result<()> {
        let outside = self.read_record(name)?.outside;
        if let Some(program) = outside.child() {
            program.signal(signal)?;
            program
                .wait_until_gone(bound)
                .await
                .with_context(|| format!("stop {name}"))?;
        }
        outside
            .wait_until_gone(bound)
            .await
            .with_context(|| format!("stop {name}"))
    }

    /// Sends a signal to a service: SIGSTOP and SIGCONT make one that hangs.
    pub fn signal(&self, name: &str, signal: Signal) -> anyhow::Result<()> {
        let outside = self.read_record(name)?.outside;
        let program = outside.child();
        program
            .with_context(|| format!("{name} does not run"))?
            .signal(signal)?;
        // nsenter stops itself when its child stops. One that is not continued too never sees its child end, and then the
        // room does not end either.
        if signal == Signal::CONT {
            outside.signal(signal)?;
        }
        Ok(())
    }

    /// Whether a service runs.
    pub fn runs(&self, name: &str) -> bool {
        self.read_record(name)
            .is_ok_and(|record| record.outside.is_running())
    }

    /// Fails, with what it logged, if a service has ended.
    pub fn check(&self, name: &str) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.runs(name),
            "{name} has ended, having said:\n{}",
            self.log(name)
        );
        Ok(())
    }

    fn spawn(&self, service: &Service, log: File) -> anyhow::Result<Process> {
        let mut nsenter = Command::new("setsid");
        nsenter
            .args(["nsenter", "--target", &self.init()?.pid().to_string()])
            .args(["--net", "--mount", "--pid", "--"])
            .arg(&service.program)
            .args(&service.arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", "/root")
            .envs(&service.env)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = nsenter.spawn()?;
        child.id().and_then(Process::find).context("it ended at once")
    }

    fn record(&self, name: &str) -> PathBuf {
        self.directory().join(format!("{name}.json"))
    }

    fn read_record(&self, name: &str) -> anyhow::Result<Record> {
        let record = fs::read(self.record(name)).with_context(|| format!("no service {name} was started"))?;
        serde_json::from_slice(&record).with_context(|| format!("read the record of {name}"))
    }
}
