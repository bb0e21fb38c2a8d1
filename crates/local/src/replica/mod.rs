//! One replica: a child process with ports, probes, endpoints and a log of its own, from Pending to gone.

mod backoff;
pub mod command;
mod descendants;
mod lifecycle;
pub mod logs;
pub mod ports;
pub mod probe;
mod prober;
pub mod process;
pub mod shim;

use std::sync::Arc;
use std::time::Duration;

use crate::endpoints::EndpointPublisher;
use crate::narrate::Narrator;
use command::CommandTemplate;
use logs::LogDirectory;
use ports::PortAllocator;
use probe::Probes;
use process::ShimLauncher;

pub use lifecycle::{Phase, Replica, WakeClock};

/// Where replicas listen.
pub const HOST: &str = "127.0.0.1";

/// A container's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPort {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its number in the manifest; a replica listens on a local port of its own instead.
    pub number: u16,
}

/// What all replicas of a Deployment have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaTemplate {
    /// The Deployment's namespace.
    pub namespace: Arc<str>,
    /// The Deployment's name.
    pub deployment: Arc<str>,
    /// What is executed.
    pub command: CommandTemplate,
    /// The container's ports; the first is the one that `{port}` and `PORT` mean. Never empty.
    pub ports: Vec<ContainerPort>,
    /// The container's probes.
    pub probes: Probes,
    /// `terminationGracePeriodSeconds`.
    pub grace: Duration,
}

/// What replicas share with each other.
#[derive(Debug, Clone)]
pub struct ReplicaContext {
    /// How shims are started.
    pub launcher: Arc<ShimLauncher>,
    /// Where local ports come from.
    pub ports: PortAllocator,
    /// Where output goes.
    pub logs: LogDirectory,
    /// Whether output is shown on the terminal too.
    pub shows_output: bool,
    /// Who tells what happens.
    pub narrator: Narrator,
    /// Where endpoints go.
    pub endpoints: EndpointPublisher,
}
