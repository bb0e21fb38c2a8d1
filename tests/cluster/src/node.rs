//! A node: a room with a container runtime, a kubelet and kube-proxy of its own.
//!
//! Nodes are started and stopped by name while the cluster runs. Each has its own network namespace, containerd, cgroup
//! root, and range of pod addresses: two kubelets on one containerd would end each other's pods. A Node object that is
//! there already, made by Karpenter for instance, is taken over by the kubelet of the same name.

mod cgroups;
mod containerd;
mod kubelet;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use rustix::process::Signal;

pub(crate) use self::cgroups::remove as remove_cgroups;
use crate::{
    checksum,
    network::{NodeIndex, wire_node},
    parts::Parts,
    pki::{Pki, Subject},
    process::Process,
    room::Room,
};

const STOP_BOUND: Duration = Duration::from_secs(20);

/// The names of a node's services.
pub const SERVICE_NAMES: [&str; 3] = ["containerd", "kubelet", "kube-proxy"];

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// The name of the Node object.
    pub name: String,
    /// Labels that the kubelet registers with (it may not give itself every one: node-restriction).
    pub labels: Vec<(String, String)>,
    /// Taints that the kubelet registers with, as `key=value:Effect`.
    pub taints: Vec<String>,
    /// The archives of the images that are to be on the node.
    pub images: Vec<PathBuf>,
}

impl NodeSpec {
    /// A node without labels or taints of its own.
    pub fn new(name: impl Into<String>, images: Vec<PathBuf>) -> Self {
        Self {
            name: name.into(),
            labels: Vec::new(),
            taints: Vec::new(),
            images,
        }
    }
}

/// A node that this harness started, and may stop.
#[derive(Debug, Clone)]
pub struct Node {
    name: String,
    cluster: String,
    index: NodeIndex,
    room: Room,
}

/// What starting a node takes of the cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) pki: &'a Pki,
    pub(crate) control: &'a Room,
    /// The cluster's name, for the cgroups.
    pub(crate) cluster: &'a str,
    /// The directory that has a directory for each node.
    pub(crate) nodes: &'a std::path::Path,
}

impl Node {
    /// Starts the runtime with its images, the kubelet and kube-proxy; does not wait for the Node to be ready.
    pub(crate) async fn start(ground: Ground<'_>, spec: &NodeSpec) -> anyhow::Result<Self> {
        let node = Self::prepare(ground, spec).await?;
        containerd::start(ground.parts, &node, &spec.images).await?;
        node.run_kubelet(ground, spec)?;
        Ok(node)
    }

    /// The first half: room, network and runtime, which need no API server.
    pub(crate) async fn prepare(ground: Ground<'_>, spec: &NodeSpec) -> anyhow::Result<Self> {
        let directory = ground.nodes.join(directory_name(&spec.name));
        anyhow::ensure!(
            !directory.exists(),
            "a node called {} is there already",
            spec.name
        );
        let index = Self::claim_index(ground, &spec.name, &directory)?;
        let node = Self {
            name: spec.name.clone(),
            cluster: ground.cluster.to_owned(),
            index,
            room: Room::at(&directory),
        };
        node.room.open().await?;
        wire_node(ground.control, &node.room, index).await?;
        cgroups::make(&node)?;
        Ok(node)
    }

    pub(crate) async fn run_containerd(&self, parts: &Parts, images: &[PathBuf]) -> anyhow::Result<()> {
        containerd::start(parts, self, images).await
    }

    /// The second half: what registers the node.
    pub(crate) fn run_kubelet(&self, ground: Ground<'_>, spec: &NodeSpec) -> anyhow::Result<()> {
        ground.pki.issue(
            &self.credentials(),
            &Subject {
                name: &format!("system:node:{}", self.name),
                group: Some("system:nodes"),
                dns_names: vec![self.name.clone()],
                addresses: vec![self.index.address()],
            },
        )?;
        ground
            .pki
            .kubeconfig(&self.credentials(), crate::control_plane::SERVER)?;
        kubelet::start(ground.parts, ground.pki, self, spec)?;
        kubelet::start_proxy(ground.parts, ground.pki, self)
    }

    /// The node that runs, or ran, in `directory`.
    pub(crate) fn read(cluster: &str, directory: PathBuf) -> anyhow::Result<Self> {
        let name = fs::read_to_string(directory.join("name"))
            .with_context(|| format!("{} has no name", directory.display()))?;
        let index = fs::read_to_string(directory.join("index"))
            .ok()
            .and_then(|index| index.trim().parse().ok())
            .and_then(NodeIndex::new)
            .with_context(|| format!("{} has no index", directory.display()))?;
        Ok(Self {
            name,
            cluster: cluster.to_owned(),
            index,
            room: Room::at(directory),
        })
    }

    /// Takes the lowest index that no node has.
    fn claim_index(ground: Ground<'_>, name: &str, directory: &std::path::Path) -> anyhow::Result<NodeIndex> {
        let mut taken = Vec::new();
        fs::create_dir_all(ground.nodes).with_context(|| format!("make {}", ground.nodes.display()))?;
        for entry in fs::read_dir(ground.nodes).context("list the nodes")? {
            taken.push(Self::read(ground.cluster, entry?.path())?.index);
        }
        let index = (1..=NodeIndex::MAX)
            .filter_map(NodeIndex::new)
            .find(|index| !taken.contains(index))
            .context("there is no room for another node")?;
        fs::create_dir(directory).with_context(|| format!("make {}", directory.display()))?;
        fs::write(directory.join("name"), name).context("record the node's name")?;
        fs::write(directory.join("index"), index.get().to_string()).context("record the node's index")?;
        Ok(index)
    }

    /// The name of its Node object.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its place on the network.
    pub fn index(&self) -> NodeIndex {
        self.index
    }

    /// Its room, for its logs and for stopping and starting its services: see [`SERVICE_NAMES`].
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Ends everything on it at once, containers included, as when a machine loses power. Its Node object stays.
    /// [`Node::remove`] takes away what is left.
    pub async fn kill(&self) -> anyhow::Result<()> {
        // First of all the network: the kernel would end the connections of the processes that it ends, and say so to the
        // other side, which no machine does that loses power.
        if self.room.is_open() {
            self.room.shell("ip link set eth0 down").await?;
        }
        self.room.close().await
    }

    /// Ends everything on it and takes away what it left on this machine. Its Node object stays.
    pub async fn remove(&self) -> anyhow::Result<()> {
        self.room.close().await?;
        cgroups::remove(&format!("{}/{}", self.cluster, self.name)).await?;
        crate::state::remove_directory(self.room.directory()).await
    }

    /// Stops the kubelet and leaves its containers running, as when the kubelet hangs.
    pub async fn stop_kubelet(&self) -> anyhow::Result<()> {
        self.room.stop("kubelet", Signal::KILL, STOP_BOUND).await
    }

    /// Starts the kubelet that [`Node::stop_kubelet`] stopped.
    pub fn start_kubelet(&self) -> anyhow::Result<()> {
        self.room.start_again("kubelet")
    }

    /// The processes of a container by its id (`status.containerStatuses[].containerID`, without the scheme), as seen from
    /// outside: what a fault test kills.
    pub fn processes_of(&self, container: &str) -> anyhow::Result<Vec<Process>> {
        cgroups::processes_of(self, container)
    }

    /// The path below each cgroup hierarchy under which its pods are.
    fn cgroup(&self) -> String {
        format!("{}/{}", cgroups::root(&self.cluster), self.name)
    }

    fn credentials(&self) -> String {
        format!("node-{}", self.name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.room.directory().join(name)
    }
}

/// What a node's directory is called. A path to a socket has 107 bytes at most, of which the kubelet's takes 35 below this
/// directory, and Karpenter gives nodes names of some 60: those are cut, and told apart by a checksum.
pub(crate) fn directory_name(name: &str) -> String {
    const LONGEST: usize = 18;
    const KEPT: usize = 5;
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let start: String = name.chars().take(KEPT).collect();
    format!("{start}{}", checksum::short(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_have_short_directories_of_their_own() {
        let names = [
            "kwok-node-spot-h776l-backplanet-1-jd1tdvncda-3292909313",
            "kwok-node-spot-dsqxp-slicerberry-2-txg62xvvjz-1454255492",
        ];
        let [first, second] = names.map(directory_name);
        assert!(first.len() <= 18 && first.starts_with("kwok-"), "{first}");
        assert_ne!(first, second);
        assert_eq!(directory_name("node-1"), "node-1");
    }
}
