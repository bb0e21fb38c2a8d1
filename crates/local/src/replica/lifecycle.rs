//! The life of one replica, as a task of its own.
//!
//! ```text
//! Pending ─▶ Starting ─▶ Running ⇄ Ready ─▶ Terminating ─▶ Gone
//!                ▲          └──── ended ────┘
//!                └─ BackOff ◀───────┘
//! ```
//! The task publishes the replica's endpoints itself, without a detour: Ready reaches the interceptor in the moment the
//! probe's answer is in. An endpoint is taken away before the program hears of its end.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::backoff::BackOff;
use super::command::ReplicaIdentity;
use super::logs::Echo;
use super::ports::PortsGuard;
use super::prober::{Finding, Prober};
use super::process::{ReplicaExit, ReplicaProcess};
use super::{ContainerPort, HOST, ReplicaContext, ReplicaTemplate};
use crate::endpoints::Conditions;
use crate::narrate::Human;

/// Between taking the endpoint away and SIGTERM, for requests already on their way to the replica. A cluster needs
/// seconds for this (and a `preStop` sleep); here the interceptor hears of it in the same moment.
const ENDPOINT_LEAD: Duration = Duration::from_millis(50);
/// For the rest of the output after the program and all below it are gone.
const OUTPUT_REST: Duration = Duration::from_millis(500);
/// For the word that SIGKILL has worked. Only a process stuck in the kernel takes longer.
const KILL_DEADLINE: Duration = Duration::from_secs(10);
/// Findings not yet acted upon. The lifecycle reads them at once; the probes may wait.
const FINDINGS: usize = 4;

/// Where a replica is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Waits for a node.
    Pending,
    /// Waits before it starts again.
    BackOff,
    /// Is being started.
    Starting,
    /// Runs and is not Ready.
    Running,
    /// Takes requests.
    Ready,
    /// Has been told to end.
    Terminating,
    /// Is no more, nor is anything that it started.
    Gone,
}

/// When the wake began that a Deployment's replicas are part of, for the terminal. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct WakeClock(Arc<Mutex<Option<Instant>>>);

impl WakeClock {
    /// A wake begins now.
    pub fn begin(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    /// Takes the time since the wake began; the next caller gets nothing.
    fn take(&self) -> Option<Duration> {
        self.0.lock().take().map(|begun| begun.elapsed())
    }
}

/// A running replica, held by its Deployment.
#[derive(Debug)]
pub struct Replica {
    /// Its pod's name.
    pub pod: Arc<str>,
    /// When it was made.
    pub created: Instant,
    phase: watch::Receiver<Phase>,
    stop: CancellationToken,
}

impl Replica {
    /// Makes a replica and the future that is its life. It begins when `node` turns true.
    pub fn new(
        template: Arc<ReplicaTemplate>,
        context: ReplicaContext,
        node: watch::Receiver<bool>,
        wake: WakeClock,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let pod: Arc<str> = format!("{}-{}", template.deployment, random_suffix()).into();
        let (phase, watched) = watch::channel(Phase::Pending);
        let stop = CancellationToken::new();
        let life = Life {
            mark: format!("{}/{pod}/{}", template.namespace, std::process::id()),
            subject: format!("{}/{}", template.namespace, template.deployment),
            pod: Arc::clone(&pod),
            template,
            context,
            phase,
            stop: stop.clone(),
            wake,
        };
        (
            Self {
                pod,
                created: Instant::now(),
                phase: watched,
                stop,
            },
            life.live(node),
        )
    }

    /// Tells the replica to end; it goes its way through grace and force by itself.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Whether it has been told to end.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Where it is now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }
}

/// Five letters and digits, as Kubernetes ends a pod's name.
fn random_suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    // The standard library seeds every `RandomState` anew; it is the one source of randomness that needs no crate.
    let mut random = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    (0..5)
        .filter_map(|_| {
            let index = random % ALPHABET.len() as u64;
            random /= ALPHABET.len() as u64;
            ALPHABET.get(index as usize).map(|letter| char::from(*letter))
        })
        .collect()
}

struct Life {
    template: Arc<ReplicaTemplate>,
    context: ReplicaContext,
    pod: Arc<str>,
    mark: String,
    subject: String,
    phase: watch::Sender<Phase>,
    stop: CancellationToken,
    wake: WakeClock,
}

/// How one run of the program came to its end.
enum RunEnd {
    Stopped,
    Failed(ReplicaExit),
}

impl Life {
    async fn live(self, mut node: watch::Receiver<bool>) {
        let has_node = tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            came = node.wait_for(|has_come| *has_come) => came.is_ok(),
        };
        if has_node {
            self.run_until_stopped().await;
        }
        self.phase.send_replace(Phase::Gone);
    }

    async fn run_until_stopped(&self) {
        let mut back_off = BackOff::default();
        while !self.stop.is_cancelled() {
            let started = Instant::now();
            let exit = match self.run_once().await {
                RunEnd::Stopped => return,
                RunEnd::Failed(exit) => exit,
            };
            let pause = back_off.after(started.elapsed());
            if pause.is_zero() {
                self.tell(format_args!("{exit}; starting again at once"));
            } else {
                self.tell(format_args!("{exit}; starting again in {}", Human(pause)));
            }
            self.phase.send_replace(Phase::BackOff);
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    async fn run_once(&self) -> RunEnd {
        self.phase.send_replace(Phase::Starting);
        let reserved = match self.context.ports.reserve(self.template.ports.len()) {
            Ok(reserved) => reserved,
            Err(error) => return RunEnd::Failed(ReplicaExit::NotStarted(error.to_string())),
        };
        let ports = self.name_ports(&reserved);
        let identity = ReplicaIdentity {
            pod: &self.pod,
            namespace: &self.template.namespace,
            host: HOST,
            ports: &ports,
        };
        let command = self.template.command.expand(identity);
        let mut process = match ReplicaProcess::start(&self.context.launcher, &command, &self.mark).await {
            Ok(process) => process,
            Err(exit) => return RunEnd::Failed(exit),
        };
        let output = self.keep_output(&mut process).await;
        self.phase.send_replace(Phase::Running);
        let port = ports.first().map(|(_, local)| *local).unwrap_or_default();
        self.tell(format_args!("started on {HOST}:{port}"));

        let end = self.attend(&mut process, &ports).await;
        process.gone().await;
        if let Some(output) = output
            && timeout(OUTPUT_REST, output).await.is_err()
        {
            tracing::debug!(pod = %self.pod, "the end of the output was not waited for");
        }
        self.context.endpoints.remove(&self.pod);
        if matches!(end, RunEnd::Stopped) {
            self.tell("is gone");
        }
        end
    }

    /// Publishes what the probes find until the program ends or is to end.
    async fn attend(&self, process: &mut ReplicaProcess, ports: &Arc<[(ContainerPort, u16)]>) -> RunEnd {
        let (sender, mut findings) = mpsc::channel(FINDINGS);
        let prober = Prober {
            template: Arc::clone(&self.template),
            launcher: Arc::clone(&self.context.launcher),
            pod: Arc::clone(&self.pod),
            mark: self.mark.clone(),
            ports: Arc::clone(ports),
        };
        let _probes = AbortOnDropHandle::new(tokio::spawn(prober.run(sender)));
        let mut is_ready = false;
        let publish = |is_ready, is_terminating| {
            self.context.endpoints.apply(
                &self.pod,
                HOST,
                ports,
                Conditions {
                    is_ready,
                    is_terminating,
                },
            );
        };
        publish(false, false);
        loop {
            tokio::select! {
                exit = process.ended() => {
                    self.context.endpoints.remove(&self.pod);
                    return RunEnd::Failed(exit);
                }
                Some(finding) = findings.recv() => match finding {
                    Finding::Ready(now) => {
                        is_ready = now;
                        publish(is_ready, false);
                        self.phase.send_replace(if is_ready { Phase::Ready } else { Phase::Running });
                        self.tell_readiness(is_ready);
                    }
                    Finding::Unready(failure) => {
                        self.tell(format_args!("is not ready yet, its readiness probe fails: {failure}"));
                    }
                    Finding::Failed(probe) => {
                        publish(false, false);
                        self.tell(format_args!("failed its {probe} and is ended"));
                        return RunEnd::Failed(self.end(process).await);
                    }
                },
                () = self.stop.cancelled() => {
                    self.phase.send_replace(Phase::Terminating);
                    publish(is_ready, true);
                    sleep(ENDPOINT_LEAD).await;
                    self.end(process).await;
                    return RunEnd::Stopped;
                }
            }
        }
    }

    /// SIGTERM, the grace period, SIGKILL.
    async fn end(&self, process: &mut ReplicaProcess) -> ReplicaExit {
        process.terminate().await;
        if let Ok(exit) = timeout(self.template.grace, process.ended()).await {
            return exit;
        }
        self.tell(format_args!(
            "did not end within {} of SIGTERM and is killed",
            Human(self.template.grace)
        ));
        process.kill().await;
        timeout(KILL_DEADLINE, process.ended())
            .await
            .unwrap_or(ReplicaExit::Signal(9))
    }

    async fn keep_output(&self, process: &mut ReplicaProcess) -> Option<AbortOnDropHandle<()>> {
        let output = process.take_output()?;
        let log = self
            .context
            .logs
            .create(&self.template.namespace, &self.pod)
            .await;
        let echo = self.context.shows_output.then(|| Echo {
            narrator: self.context.narrator.clone(),
            pod: Arc::clone(&self.pod),
        });
        match log {
            Ok(mut log) => Some(AbortOnDropHandle::new(tokio::spawn(async move {
                log.copy(output, echo.as_ref()).await;
            }))),
            Err(error) => {
                self.tell(format_args!(
                    "runs without a log file: {} in {}: {error}",
                    self.template.namespace,
                    self.context.logs.root().display()
                ));
                Some(AbortOnDropHandle::new(tokio::spawn(async move {
                    let mut output = output;
                    if tokio::io::copy(&mut output, &mut tokio::io::sink())
                        .await
                        .is_err()
                    {
                        tracing::debug!("a replica's output ended in an error");
                    }
                })))
            }
        }
    }

    fn name_ports(&self, reserved: &PortsGuard) -> Arc<[(ContainerPort, u16)]> {
        self.template
            .ports
            .iter()
            .cloned()
            .zip(reserved.ports().iter().copied())
            .collect()
    }

    fn tell_readiness(&self, is_ready: bool) {
        if !is_ready {
            self.tell("is no longer ready");
        } else if let Some(elapsed) = self.wake.take() {
            self.tell(format_args!("is ready, {} after the wake began", Human(elapsed)));
        } else {
            self.tell("is ready");
        }
    }

    fn tell(&self, text: impl std::fmt::Display) {
        self.context
            .narrator
            .event(&self.subject, format_args!("pod {} {text}", self.pod));
    }
}
