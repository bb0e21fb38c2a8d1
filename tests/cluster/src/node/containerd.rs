//! The node's container runtime, its pod network, and its images.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use tokio::process::Command;

use super::Node;
use crate::{command, images::PAUSE, parts::Parts, room::Service, wait};

const READY_BOUND: Duration = Duration::from_secs(30);
const LOOK_BOUND: Duration = Duration::from_secs(5);
const IMPORT_BOUND: Duration = Duration::from_mins(2);

impl Node {
    pub(super) fn containerd_socket(&self) -> PathBuf {
        self.path("containerd.sock")
    }

    /// Puts the images of an archive on the node.
    pub async fn import(&self, parts: &Parts, archive: &Path) -> anyhow::Result<()> {
        let mut import = Command::new(parts.program("ctr")?);
        import.arg("--address").arg(self.containerd_socket());
        import
            .args(["--namespace", "k8s.io", "images", "import"])
            .arg(archive);
        command::run(&mut import, IMPORT_BOUND).await.map(drop)
    }
}

pub(super) async fn start(parts: &Parts, node: &Node, images: &[PathBuf]) -> anyhow::Result<()> {
    let plugins = parts
        .program("cni-bridge")?
        .parent()
        .context("the CNI plugins are in a directory")?;
    let network = node.path("cni");
    fs::create_dir_all(&network).with_context(|| format!("make {}", network.display()))?;
    fs::write(network.join("10-pods.conflist"), pod_network(node).to_string())
        .context("write the pod network")?;
    let config = node.path("containerd.toml");
    fs::write(&config, configuration(node, plugins, parts.program("runc")?))
        .context("configure containerd")?;
    node.room()
        .start(&Service::new("containerd", parts.program("containerd")?).path("config", &config))?;
    wait::until("containerd answers", READY_BOUND, async || {
        node.room().check("containerd")?;
        let mut version = Command::new(parts.program("ctr")?);
        version
            .arg("--address")
            .arg(node.containerd_socket())
            .arg("version");
        command::run(&mut version, LOOK_BOUND).await?;
        wait::done(())
    })
    .await?;
    for archive in images {
        node.import(parts, archive).await?;
    }
    Ok(())
}

fn pod_network(node: &Node) -> serde_json::Value {
    serde_json::json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods",
                "isGateway": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": node.index().pods() }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

fn configuration(node: &Node, plugins: &Path, runc: &Path) -> String {
    let root = node.path("containerd");
    let state = node.path("containerd-state");
    let runc_state = node.path("runc");
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
# Each is for a filesystem or a host that this is not, and complains so.
disabled_plugins = [
    "io.containerd.internal.v1.opt",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
# Without CAP_SYS_RESOURCE a process may not lower its score, and runc fails for wanting to.
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{network}"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
BinaryName = "{runc}"
Root = "{runc_state}"
"#,
        root = root.display(),
        state = state.display(),
        socket = node.containerd_socket().display(),
        plugins = plugins.display(),
        network = node.path("cni").display(),
        runc = runc.display(),
        runc_state = runc_state.display(),
    )
}
