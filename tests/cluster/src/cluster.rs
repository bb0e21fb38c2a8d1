//! The cluster as tests see it: one of our own on this machine, or any that a kubeconfig names.

mod definitions;
mod faults;
pub mod http;
mod objects;
mod own;
mod port_forward;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

pub use self::{
    faults::{CutOff, Stalled},
    own::{OwnCluster, take_down},
    port_forward::PortForward,
};
use crate::{command, node::Node, parts::Parts, places::Places};

/// The name of the node that every cluster of our own has.
pub const FIRST_NODE: &str = "node-1";

const KUBECTL_BOUND: Duration = Duration::from_mins(3);
const HELM_BOUND: Duration = Duration::from_mins(5);

/// A cluster that tests run on.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    kubeconfig: PathBuf,
    places: Places,
    parts: Parts,
    own: Option<OwnCluster>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("kubeconfig", &self.kubeconfig)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// The cluster of our own, from inside its network.
    pub async fn own(own: OwnCluster) -> anyhow::Result<Self> {
        let kubeconfig = own.kubeconfig();
        Ok(Self {
            client: connect(&kubeconfig).await?,
            kubeconfig,
            places: own.places().clone(),
            parts: own.parts().clone(),
            own: Some(own),
        })
    }

    /// A cluster that somebody else runs.
    pub async fn given(places: Places, kubeconfig: PathBuf) -> anyhow::Result<Self> {
        Ok(Self {
            client: connect(&kubeconfig).await?,
            kubeconfig,
            parts: Parts::provide_clients(&places).await?,
            places,
            own: None,
        })
    }

    /// A client of its API server.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The path of its kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The root of the workspace, for examples and charts.
    pub fn workspace(&self) -> &Path {
        self.places.workspace()
    }

    /// A directory for what cases write. In a cluster of our own it goes with the cluster.
    pub fn scratch(&self) -> PathBuf {
        self.places.state().join("cases")
    }

    /// The programs and their versions.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// What may be done with a cluster of our own only: its nodes, its control plane. None for a given one.
    pub fn as_own(&self) -> Option<&OwnCluster> {
        self.own.as_ref()
    }

    /// A node that this harness started.
    pub fn node(&self, name: &str) -> anyhow::Result<Node> {
        self.own
            .as_ref()
            .context("the nodes of a given cluster are not ours")?
            .node(name)
    }

    /// Runs kubectl and gives what it wrote to standard output.
    pub async fn kubectl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> anyhow::Result<String> {
        let mut kubectl = self.kubectl_command()?;
        kubectl.args(arguments);
        command::run(&mut kubectl, KUBECTL_BOUND).await
    }

    /// Runs helm, in the root of the workspace, and gives what it wrote to standard output.
    pub async fn helm<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> anyhow::Result<String> {
        let mut helm = Command::new(self.parts.program("helm")?);
        helm.current_dir(self.workspace())
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments);
        command::run(&mut helm, HELM_BOUND).await
    }

    /// Applies manifests, as text.
    pub async fn apply(&self, manifests: &str) -> anyhow::Result<String> {
        self.kubectl_with_input(["apply", "-f", "-"], manifests).await
    }

    /// Applies large manifests: `kubectl apply` would keep a copy of each in an annotation, which is too long for some.
    pub async fn apply_server_side(&self, manifests: &str) -> anyhow::Result<String> {
        self.kubectl_with_input(
            ["apply", "--server-side", "--force-conflicts", "-f", "-"],
            manifests,
        )
        .await
    }

    /// Deletes what manifests describe and waits until it is gone.
    pub async fn delete(&self, manifests: &str) -> anyhow::Result<String> {
        let arguments = [
            "delete",
            "--ignore-not-found",
            "--wait",
            "--timeout=150s",
            "-f",
            "-",
        ];
        self.kubectl_with_input(arguments, manifests).await
    }

    /// Runs kubectl with something on its standard input.
    pub async fn kubectl_with_input<'a>(
        &self,
        arguments: impl IntoIterator<Item = &'a str>,
        input: &str,
    ) -> anyhow::Result<String> {
        let mut kubectl = self.kubectl_command()?;
        kubectl.args(arguments).kill_on_drop(true);
        kubectl
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let exchange = async {
            let mut child = kubectl.spawn().context("start kubectl")?;
            let mut stdin = child.stdin.take().context("kubectl has no standard input")?;
            // Kubectl reads to the end before it writes anything.
            let written = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
            let output = child.wait_with_output().await.context("wait for kubectl")?;
            let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
            anyhow::ensure!(
                output.status.success() && written.is_ok(),
                "kubectl: {}\n{stdout}{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
            Ok(stdout)
        };
        timeout(KUBECTL_BOUND, exchange)
            .await
            .with_context(|| format!("kubectl is not done after {KUBECTL_BOUND:?}"))?
    }

    /// Forwards a local port to a port of a pod or a Service (`svc/NAME`), as people do.
    pub async fn port_forward(
        &self,
        namespace: &str,
        target: &str,
        port: u16,
    ) -> anyhow::Result<PortForward> {
        PortForward::start(self.kubectl_command()?, namespace, target, port).await
    }

    /// An address at which a port of a Service can be reached from here, for as long as what is returned lives.
    pub async fn reach(&self, namespace: &str, service: &str, port: u16) -> anyhow::Result<Reach> {
        if self.own.is_some() {
            let address = self.cluster_ip(namespace, service).await?;
            return Ok(Reach {
                addr: SocketAddr::new(address, port),
                forward: None,
            });
        }
        let forward = self
            .port_forward(namespace, &format!("svc/{service}"), port)
            .await?;
        Ok(Reach {
            addr: forward.addr(),
            forward: Some(forward),
        })
    }

    /// The same for a port of one pod, past every Service.
    pub async fn reach_pod(&self, namespace: &str, pod: &str, port: u16) -> anyhow::Result<Reach> {
        if self.own.is_some() {
            let address = self.pod_ip(namespace, pod).await?;
            return Ok(Reach {
                addr: SocketAddr::new(address, port),
                forward: None,
            });
        }
        let forward = self.port_forward(namespace, &format!("pod/{pod}"), port).await?;
        Ok(Reach {
            addr: forward.addr(),
            forward: Some(forward),
        })
    }

    fn kubectl_command(&self) -> anyhow::Result<Command> {
        let mut kubectl = Command::new(self.parts.program("kubectl")?);
        kubectl.arg("--kubeconfig").arg(&self.kubeconfig);
        Ok(kubectl)
    }
}

/// A way to a Service.
#[derive(Debug)]
pub struct Reach {
    addr: SocketAddr,
    #[expect(dead_code, reason = "it ends the forwarding when dropped")]
    forward: Option<PortForward>,
}

impl Reach {
    /// Where to connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn connect(kubeconfig: &Path) -> anyhow::Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig).with_context(|| format!("read {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .context("understand the kubeconfig")?;
    Client::try_from(config).context("make a client")
}
