//! Asks a replica's probes and tells what changes.
//!
//! One task for each run of a replica, ended with it. Startup first; then readiness and liveness side by side. Each
//! question is bounded by its own timeout, and none overlaps with the one before.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::command::{CommandTemplate, ReplicaIdentity};
use super::probe::{FIRST_SUCCESS_INTERVAL, Probe, ProbeAction, ProbeState};
use super::process::{ReplicaExit, ReplicaProcess, ShimLauncher};
use super::{ContainerPort, HOST, ReplicaTemplate};
use crate::narrate::Human;

/// What the probes of a replica found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// The replica has become Ready, or is no longer.
    Ready(bool),
    /// The replica has run for a while and was never Ready, with what its readiness probe says. Told once.
    Unready(String),
    /// The startup or the liveness probe has failed for good, with its name.
    Failed(&'static str),
}

/// A replica that is not Ready after this long is worth a line: somebody is waiting and wants to know for what.
const UNREADY_TOLD_AFTER: Duration = Duration::from_secs(3);

/// What is needed to ask one run of a replica.
#[derive(Debug, Clone)]
pub(super) struct Prober {
    pub(super) template: Arc<ReplicaTemplate>,
    pub(super) launcher: Arc<ShimLauncher>,
    pub(super) pod: Arc<str>,
    pub(super) mark: String,
    pub(super) ports: Arc<[(ContainerPort, u16)]>,
}

impl Prober {
    /// Asks until the receiver is gone.
    pub(super) async fn run(self, findings: mpsc::Sender<Finding>) {
        let probes = &self.template.probes;
        if let Some(startup) = &probes.startup
            && !self.wait_for_startup(startup).await
        {
            return send(&findings, Finding::Failed("startup probe")).await;
        }
        let readiness = async {
            match &probes.readiness {
                // As in a cluster: Ready as soon as it runs.
                None => send(&findings, Finding::Ready(true)).await,
                Some(probe) => {
                    self.watch(probe, false, &findings, |is_ready| {
                        send(&findings, Finding::Ready(is_ready))
                    })
                    .await;
                }
            }
        };
        let liveness = async {
            if let Some(probe) = &probes.liveness {
                sleep_until(Instant::now() + probe.initial_delay).await;
                let findings = &findings;
                self.watch(probe, true, findings, |is_alive| async move {
                    // Alive again is not a finding: the first failure ends this run.
                    if !is_alive {
                        send(findings, Finding::Failed("liveness probe")).await;
                    }
                })
                .await;
            }
        };
        tokio::join!(readiness, liveness);
    }

    /// Asks often, since others wait for it; gives up after the time that Kubernetes would give.
    async fn wait_for_startup(&self, probe: &Probe) -> bool {
        let deadline = Instant::now() + probe.initial_delay + probe.period * probe.failure_threshold;
        loop {
            let next = Instant::now() + FIRST_SUCCESS_INTERVAL;
            if self.ask(probe).await.is_ok() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            sleep_until(next).await;
        }
    }

    async fn watch<F: Future<Output = ()>>(
        &self,
        probe: &Probe,
        is_succeeding: bool,
        findings: &mpsc::Sender<Finding>,
        mut changed: impl FnMut(bool) -> F,
    ) {
        let mut state = ProbeState::new(probe, is_succeeding);
        let begun = Instant::now();
        let mut is_unready_told = is_succeeding;
        loop {
            let asked = Instant::now();
            let answer = self.ask(probe).await;
            if let Some(result) = state.observe(answer.is_ok()) {
                is_unready_told = true;
                changed(result).await;
            }
            if let Err(failure) = answer
                && !is_unready_told
                && begun.elapsed() >= UNREADY_TOLD_AFTER
            {
                is_unready_told = true;
                send(findings, Finding::Unready(failure)).await;
            }
            sleep_until(asked + state.interval(probe)).await;
        }
    }

    /// One question; no answer in time is a failure. Failures are told in words for the terminal.
    async fn ask(&self, probe: &Probe) -> Result<(), String> {
        let answer = async {
            match &probe.action {
                ProbeAction::HttpGet { port, path, headers } => {
                    match http_get(self.address(*port)?, path, headers).await {
                        Ok(status) if (200..400).contains(&status) => Ok(()),
                        Ok(status) => Err(format!("GET {path} was answered with status {status}")),
                        Err(error) => Err(format!("GET {path}: {error}")),
                    }
                }
                ProbeAction::TcpSocket { port } => match connect(self.address(*port)?).await {
                    Ok(_) => Ok(()),
                    Err(error) => Err(format!("connect to port {port}: {error}")),
                },
                ProbeAction::Exec { command } => match self.execute(command).await {
                    ReplicaExit::Status(0) => Ok(()),
                    exit => Err(format!("its command {exit}")),
                },
            }
        };
        match timeout(probe.timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {}", Human(probe.timeout))),
        }
    }

    fn address(&self, container_port: u16) -> Result<SocketAddr, String> {
        let (_, local) = self
            .ports
            .iter()
            .find(|(port, _)| port.number == container_port)
            .ok_or_else(|| format!("the replica has no port {container_port}"))?;
        Ok((Ipv4Addr::LOCALHOST, *local).into())
    }

    /// Below a shim of its own: when the question is given up, nothing of it is left.
    async fn execute(&self, words: &[String]) -> ReplicaExit {
        let identity = ReplicaIdentity {
            pod: &self.pod,
            namespace: &self.template.namespace,
            host: HOST,
            ports: &self.ports,
        };
        let command_template: &CommandTemplate = &self.template.command;
        let command = command_template.expand_exec(words, identity);
        let mut process = match ReplicaProcess::start(&self.launcher, &command, &self.mark).await {
            Ok(process) => process,
            Err(exit) => return exit,
        };
        // Nobody reads a probe's output, but a full pipe would block it.
        let drain = process.take_output().map(|mut output| {
            AbortOnDropHandle::new(tokio::spawn(async move {
                if tokio::io::copy(&mut output, &mut tokio::io::sink())
                    .await
                    .is_err()
                {
                    tracing::debug!("a probe's output ended in an error");
                }
            }))
        });
        let ended = process.ended().await;
        drop(drain);
        ended
    }
}

async fn send(findings: &mpsc::Sender<Finding>, finding: Finding) {
    if findings.send(finding).await.is_err() {
        tracing::trace!("the replica no longer listens to its probes");
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // A port in the kernel's ephemeral range may be picked as the source of a connection to itself.
    if stream.local_addr()? == address {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

async fn http_get(address: SocketAddr, path: &str, headers: &[(String, String)]) -> io::Result<u16> {
    let stream = connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let mut request = http::Request::get(path).header(http::header::USER_AGENT, "rouse-local-probe");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header(http::header::HOST, address.to_string());
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    drop(connection);
    Ok(response.status().as_u16())
}
