//! A Deployment on its own: what it publishes is recorded, what it tells is kept.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;
use rouse_api::HTTPScaledObject;
use rouse_local::deployment::{Deployment, ScaleHandle};
use rouse_local::endpoints::{EndpointPublisher, PortBinding, ServiceBinding};
use rouse_local::engine::ObjectSink;
use rouse_local::narrate::Narrator;
use rouse_local::replica::command::CommandTemplate;
use rouse_local::replica::logs::LogDirectory;
use rouse_local::replica::ports::PortAllocator;
use rouse_local::replica::probe::{Probe, ProbeAction, Probes};
use rouse_local::replica::{ContainerPort, ReplicaContext, ReplicaTemplate};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::launcher;

/// What was published, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Published {
    /// A slice's port, and whether its endpoint is ready and terminating.
    Slice {
        port: u16,
        is_ready: bool,
        is_terminating: bool,
    },
    /// A slice is gone.
    Deleted,
    /// Pods wait for a node, or no longer.
    Waiting(bool),
}

#[derive(Debug, Default)]
pub(crate) struct Sink {
    log: Mutex<Vec<Published>>,
    live: Mutex<Vec<(String, u16, bool)>>,
}

impl Sink {
    pub(crate) fn log(&self) -> Vec<Published> {
        self.log.lock().clone()
    }

    /// The ports of the ready endpoints.
    pub(crate) fn ready(&self) -> Vec<u16> {
        self.live
            .lock()
            .iter()
            .filter(|(.., is_ready)| *is_ready)
            .map(|(_, port, _)| *port)
            .collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.live.lock().is_empty()
    }
}

impl ObjectSink for Sink {
    fn apply_service(&self, _service: Service) {}

    fn apply_route(&self, _route: HTTPScaledObject) {}

    fn apply_endpoint_slice(&self, slice: EndpointSlice) {
        let name = slice.metadata.name.unwrap();
        let port = slice.ports.unwrap().first().and_then(|port| port.port).unwrap();
        let port = u16::try_from(port).unwrap();
        let conditions = slice
            .endpoints
            .into_iter()
            .next()
            .and_then(|endpoint| endpoint.conditions)
            .unwrap();
        let is_ready = conditions.ready.unwrap();
        self.log.lock().push(Published::Slice {
            port,
            is_ready,
            is_terminating: conditions.terminating.unwrap(),
        });
        let mut live = self.live.lock();
        live.retain(|(known, ..)| *known != name);
        live.push((name, port, is_ready));
    }

    fn delete_endpoint_slice(&self, _namespace: &str, name: &str) {
        self.log.lock().push(Published::Deleted);
        self.live.lock().retain(|(known, ..)| known != name);
    }

    fn set_waiting_for_node(&self, _namespace: &str, _service: &str, is_waiting: bool) {
        self.log.lock().push(Published::Waiting(is_waiting));
    }
}

#[derive(Debug, Clone, Default)]
struct Terminal(Arc<Mutex<Vec<u8>>>);

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// How the Deployment of a check is made.
pub(crate) struct Setup {
    pub(crate) words: Vec<String>,
    pub(crate) probes: Probes,
    pub(crate) grace: Duration,
    pub(crate) node_delay: Duration,
    /// Where the application finds its orders.
    pub(crate) directory: TempDir,
}

/// The application, with a probe on `/`.
pub(crate) fn app() -> Setup {
    let directory = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap().display().to_string();
    Setup {
        words: vec![
            program,
            "app".to_owned(),
            "{port}".to_owned(),
            directory.path().display().to_string(),
        ],
        probes: Probes {
            readiness: Some(probe(http())),
            ..Probes::default()
        },
        grace: Duration::from_secs(10),
        node_delay: Duration::ZERO,
        directory,
    }
}

/// A program of the shell, without probes.
pub(crate) fn shell(script: &str) -> Setup {
    Setup {
        words: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        probes: Probes::default(),
        ..app()
    }
}

pub(crate) fn http() -> ProbeAction {
    ProbeAction::HttpGet {
        port: 8080,
        path: "/".to_owned(),
        headers: Vec::new(),
    }
}

pub(crate) fn probe(action: ProbeAction) -> Probe {
    Probe {
        action,
        initial_delay: Duration::ZERO,
        period: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
        failure_threshold: 2,
        success_threshold: 1,
    }
}

pub(crate) struct Running {
    pub(crate) sink: Arc<Sink>,
    pub(crate) scale: ScaleHandle,
    directory: TempDir,
    logs: TempDir,
    terminal: Terminal,
    narrator: Narrator,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Setup {
    pub(crate) fn start(self, replicas: u32) -> Running {
        let sink = Arc::new(Sink::default());
        let terminal = Terminal::default();
        let logs = tempfile::tempdir().unwrap();
        let (scale, wanted) = ScaleHandle::new(replicas);
        let binding = PortBinding {
            name: None,
            app_protocol: None,
            container_port: 8080,
        };
        let service = ServiceBinding {
            service: "web".to_owned(),
            ports: vec![binding],
            publishes_not_ready: false,
        };
        let stop = CancellationToken::new();
        let narrator = Narrator::to(terminal.clone());
        let deployment = Deployment {
            template: Arc::new(ReplicaTemplate {
                namespace: "default".into(),
                deployment: "web".into(),
                command: CommandTemplate {
                    words: self.words,
                    env: Vec::new(),
                    directory: None,
                },
                ports: vec![ContainerPort {
                    name: None,
                    number: 8080,
                }],
                probes: self.probes,
                grace: self.grace,
            }),
            context: ReplicaContext {
                launcher: Arc::new(launcher()),
                ports: PortAllocator::default(),
                logs: LogDirectory::open(logs.path().to_owned()).unwrap(),
                shows_output: false,
                narrator: narrator.clone(),
                endpoints: EndpointPublisher {
                    sink: sink.clone(),
                    namespace: "default".into(),
                    services: vec![service].into(),
                },
            },
            node_delay: self.node_delay,
            wanted,
            scale: scale.clone(),
        };
        let task = tokio::spawn(deployment.run(stop.clone()));
        Running {
            sink,
            scale,
            directory: self.directory,
            logs,
            terminal,
            narrator,
            stop,
            task,
        }
    }
}

impl Running {
    /// Gives an order to the application, or finds what it left.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What was told on the terminal.
    pub(crate) fn told(&self) -> String {
        self.narrator.flush();
        String::from_utf8(self.terminal.0.lock().clone()).unwrap()
    }

    /// The text of all log files.
    pub(crate) fn logged(&self) -> String {
        let files = std::fs::read_dir(self.logs.path().join("default"))
            .into_iter()
            .flatten();
        files
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
            .collect()
    }

    pub(crate) async fn stop(self) -> Arc<Sink> {
        self.stop.cancel();
        self.task.await.unwrap();
        self.sink
    }
}
