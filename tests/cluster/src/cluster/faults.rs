//! Faults that no API offers: a process killed or stopped where it runs, a pod cut off from the network.

use std::net::IpAddr;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use rustix::process::Signal;

use super::Cluster;
use crate::node::Node;

/// A pod that is cut off from every other: packets to and from it vanish. Its node's kubelet still reaches it, so that it stays
/// Ready.
#[derive(Debug)]
#[must_use = "the pod stays cut off until it is restored"]
pub struct CutOff {
    node: Node,
    address: IpAddr,
}

impl Cluster {
    /// Sends a signal to the processes of a pod's containers: SIGKILL to crash it, SIGSTOP and SIGCONT to have it hang for a while.
    pub async fn signal_pod(&self, namespace: &str, pod: &str, signal: Signal) -> anyhow::Result<()> {
        let (node, pod) = self.locate(namespace, pod).await?;
        for container in pod
            .status
            .and_then(|status| status.container_statuses)
            .unwrap_or_default()
        {
            let id = container.container_id.context("a container has no id yet")?;
            let id = id.rsplit_once("//").map_or(id.as_str(), |(_, id)| id);
            for process in node.processes_of(id)? {
                process.signal(signal)?;
            }
        }
        Ok(())
    }

    /// Cuts a pod off.
    pub async fn cut_off(&self, namespace: &str, pod: &str) -> anyhow::Result<CutOff> {
        let (node, pod) = self.locate(namespace, pod).await?;
        let address = pod
            .status
            .and_then(|status| status.pod_ip)
            .context("the pod has no address yet")?;
        let address = address
            .parse()
            .with_context(|| format!("{address} as an address"))?;
        let cut = CutOff { node, address };
        cut.rules("-I").await?;
        Ok(cut)
    }

    async fn locate(&self, namespace: &str, name: &str) -> anyhow::Result<(Node, Pod)> {
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        let pod = api
            .get(name)
            .await
            .with_context(|| format!("get Pod {namespace}/{name}"))?;
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let node = self.node(node.context("the pod is on no node yet")?)?;
        Ok((node, pod))
    }
}

impl CutOff {
    /// Puts the pod back on the network.
    pub async fn restore(self) -> anyhow::Result<()> {
        self.rules("-D").await
    }

    async fn rules(&self, change: &str) -> anyhow::Result<()> {
        let (tool, address) = match self.address {
            IpAddr::V4(_) => ("iptables", self.address),
            IpAddr::V6(_) => ("ip6tables", self.address),
        };
        let script = format!(
            "{tool} --wait {change} FORWARD -s {address} -j DROP
             {tool} --wait {change} FORWARD -d {address} -j DROP"
        );
        self.node.room().shell(&script).await.map(drop)
    }
}
