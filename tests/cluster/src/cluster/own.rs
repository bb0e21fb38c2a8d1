//! A cluster of our own: how it comes up, what can be done with it that no API offers, and how it goes.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use tokio::time::Instant;

use super::{Cluster, FIRST_NODE};
use crate::{
    control_plane, dns,
    images::{Images, Program},
    keda, machine,
    network::wire_control_plane,
    node::{self, Ground, Node, NodeSpec},
    parts::Parts,
    pki::Pki,
    places::Places,
    room::Room,
    rouse::CHART,
    say::say,
    state,
};

const NODE_BOUND: Duration = Duration::from_mins(2);
const PODS_BOUND: Duration = Duration::from_mins(3);

/// The handle to the cluster of our own.
#[derive(Debug, Clone)]
pub struct OwnCluster {
    places: Places,
    parts: Parts,
    images: Images,
}

impl OwnCluster {
    /// Provides parts and images, takes down what an earlier harness left, and opens the first room. What comes next,
    /// [`OwnCluster::bring_up`], happens inside of that room's network.
    pub async fn prepare(places: Places, program: &Program) -> anyhow::Result<Self> {
        let parts = Parts::provide(&places).await?;
        let images = Images::provide(&places, &parts, program).await?;
        take_down(&places).await?;
        fs::create_dir_all(places.state()).with_context(|| format!("make {}", places.state().display()))?;
        machine::remember(&places)?;
        fs::write(
            places.state().join("images.json"),
            serde_json::to_string(&images)?,
        )
        .context("record the images")?;
        let own = Self {
            places,
            parts,
            images,
        };
        own.control().open().await?;
        Ok(own)
    }

    /// The cluster that is up, if one is.
    pub async fn attach(places: Places) -> anyhow::Result<Option<Self>> {
        if !control(&places).is_open() {
            return Ok(None);
        }
        let images = fs::read(places.state().join("images.json")).context("read the record of the images")?;
        let images = serde_json::from_slice(&images).context("understand the record of the images")?;
        let parts = Parts::provide(&places).await?;
        Ok(Some(Self {
            places,
            parts,
            images,
        }))
    }

    /// Starts control plane, first node, DNS and KEDA, installs Rouse if wanted, and waits until all of it is ready.
    pub async fn bring_up(self, with_rouse: bool) -> anyhow::Result<Cluster> {
        let started = Instant::now();
        let step = |what: &str| say(format_args!("{:5.1} s  {what}", started.elapsed().as_secs_f64()));
        let spec = NodeSpec::new(FIRST_NODE, self.images.all());
        let control_room = self.control();
        let pki = self.pki();
        let nodes = self.nodes_directory();
        let ground = self.ground(&pki, &control_room, &nodes);
        wire_control_plane(&control_room).await?;
        // The runtime takes in the images while the control plane starts; only the kubelet needs the API server.
        let (node, ()) = tokio::try_join!(
            async {
                let node = Node::prepare(ground, &spec).await?;
                node.run_containerd(&self.parts, &spec.images).await?;
                step("the first node has its runtime and images");
                anyhow::Ok(node)
            },
            async {
                control_plane::start(&self.parts, &control_room, &pki).await?;
                step("the API server is ready");
                anyhow::Ok(())
            }
        )?;
        node.run_kubelet(ground, &spec)?;
        let cluster = Cluster::own(self).await?;
        let dns: Vec<_> = dns::manifests(&cluster.parts)?
            .iter()
            .map(ToString::to_string)
            .collect();
        cluster
            .apply_server_side(&dns.join("\n---\n"))
            .await
            .context("install DNS")?;
        let keda = keda::manifests(&cluster.parts).await?;
        let manifests = fs::read_to_string(&keda).with_context(|| format!("read {}", keda.display()))?;
        cluster
            .apply_server_side(&manifests)
            .await
            .context("install KEDA")?;
        step("DNS and KEDA are installed");
        cluster.wait_for_node(FIRST_NODE, true, NODE_BOUND).await?;
        step("the first node is ready");
        cluster
            .wait_for_replicas("kube-system", "coredns", 1, PODS_BOUND)
            .await?;
        cluster.wait_for_keda(PODS_BOUND).await?;
        step("DNS and KEDA are ready");
        if !with_rouse {
            return Ok(cluster);
        }
        if cluster.has_chart() {
            cluster.install_rouse(&[], PODS_BOUND).await?;
            step("Rouse is installed and ready");
        } else {
            say(format_args!(
                "        there is no {CHART}: Rouse is not installed"
            ));
        }
        Ok(cluster)
    }

    /// Starts a node under a name: one that no Node has yet, or one whose Node somebody else made, which the kubelet takes
    /// over. Whether it gets ready is for the caller to wait for ([`Cluster::wait_for_node`]). It ends with
    /// [`Node::remove`], or with the cluster.
    pub async fn start_node(&self, spec: &NodeSpec) -> anyhow::Result<Node> {
        let (pki, control, nodes) = (self.pki(), self.control(), self.nodes_directory());
        Node::start(self.ground(&pki, &control, &nodes), spec).await
    }

    /// A node by its name.
    pub fn node(&self, name: &str) -> anyhow::Result<Node> {
        Node::read(
            self.places.name(),
            self.nodes_directory().join(node::directory_name(name)),
        )
    }

    /// Every node that was started and not removed.
    pub fn nodes(&self) -> anyhow::Result<Vec<Node>> {
        let directories = node_directories(&self.places)?.into_iter();
        directories
            .map(|directory| Node::read(self.places.name(), directory))
            .collect()
    }

    /// The control plane's room; its services are [`control_plane::SERVICE_NAMES`].
    pub fn control(&self) -> Room {
        control(&self.places)
    }

    /// The cluster's certificates and kubeconfigs.
    pub fn pki(&self) -> Pki {
        Pki::at(self.places.state().join("pki"))
    }

    /// The images that were made for its nodes.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// The programs and their versions.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Where everything is kept.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The administrator's kubeconfig. It works inside of the cluster's network.
    pub fn kubeconfig(&self) -> PathBuf {
        self.pki().path("admin.kubeconfig")
    }

    fn nodes_directory(&self) -> PathBuf {
        self.places.state().join("nodes")
    }

    fn ground<'a>(&'a self, pki: &'a Pki, control: &'a Room, nodes: &'a std::path::Path) -> Ground<'a> {
        Ground {
            parts: &self.parts,
            pki,
            control,
            cluster: self.places.name(),
            nodes,
        }
    }
}

/// Ends the cluster, if there is one, and removes every trace of it, also when the harness that made it crashed.
pub async fn take_down(places: &Places) -> anyhow::Result<()> {
    for directory in node_directories(places)? {
        Room::at(directory).close().await?;
    }
    control(places).close().await?;
    node::remove_cgroups(places.name()).await?;
    machine::restore(places)?;
    state::remove_directory(places.state()).await
}

fn control(places: &Places) -> Room {
    Room::at(places.state().join("control-plane"))
}

fn node_directories(places: &Places) -> anyhow::Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(places.state().join("nodes")) else {
        return Ok(Vec::new());
    };
    entries.map(|entry| Ok(entry?.path())).collect()
}
