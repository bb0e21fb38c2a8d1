//! Faults that no API offers: a process killed or stopped where it runs, a pod cut off from the network, connections on which
//! nothing comes any longer.

use std::{fmt::Write as _, fs, net::IpAddr};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use rustix::process::Signal;

use super::Cluster;
use crate::{node::Node, process::Process};

/// A pod that is cut off from every other: packets to and from it vanish. Its node's kubelet still reaches it, so that it stays
/// Ready.
#[derive(Debug)]
#[must_use = "the pod stays cut off until it is restored"]
pub struct CutOff {
    node: Node,
    address: IpAddr,
}

/// Connections of a pod on which nothing comes or goes any longer, and which nobody closes. New ones are not affected.
#[derive(Debug)]
#[must_use = "the rules stay until they are taken away"]
pub struct Stalled {
    node: Node,
    address: IpAddr,
    /// The pod's ends of the connections.
    ports: Vec<u16>,
}

impl Cluster {
    /// Sends a signal to the processes of a pod's containers: SIGKILL to crash it, SIGSTOP and SIGCONT to have it hang for a while.
    pub async fn signal_pod(&self, namespace: &str, pod: &str, signal: Signal) -> anyhow::Result<()> {
        let (node, pod) = self.locate(namespace, pod).await?;
        for process in processes(&node, &pod)? {
            process.signal(signal)?;
        }
        Ok(())
    }

    /// Has the connections that a pod has opened to a port, of whatever address, stall.
    pub async fn stall(&self, namespace: &str, pod: &str, port: u16) -> anyhow::Result<Stalled> {
        let (node, pod) = self.locate(namespace, pod).await?;
        let address = address(&pod)?;
        let process = processes(&node, &pod)?;
        let process = process.first().context("the pod has no process")?;
        let mut ports = Vec::new();
        for table in ["tcp", "tcp6"] {
            let table = format!("/proc/{}/net/{table}", process.pid());
            let text = fs::read_to_string(&table).with_context(|| format!("read {table}"))?;
            ports.extend(opened_to(&text, port));
        }
        anyhow::ensure!(!ports.is_empty(), "the pod has no connection to port {port}");
        let stalled = Stalled { node, address, ports };
        stalled.rules("-I").await?;
        Ok(stalled)
    }

    /// Cuts a pod off.
    pub async fn cut_off(&self, namespace: &str, pod: &str) -> anyhow::Result<CutOff> {
        let (node, pod) = self.locate(namespace, pod).await?;
        let address = address(&pod)?;
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
        let (tool, address) = (tool(self.address), self.address);
        let script = format!(
            "{tool} --wait {change} FORWARD -s {address} -j DROP
             {tool} --wait {change} FORWARD -d {address} -j DROP"
        );
        self.node.room().shell(&script).await.map(drop)
    }
}

impl Stalled {
    /// How many connections stall.
    pub fn count(&self) -> usize {
        self.ports.len()
    }

    /// Lets packets pass again.
    pub async fn restore(self) -> anyhow::Result<()> {
        self.rules("-D").await
    }

    async fn rules(&self, change: &str) -> anyhow::Result<()> {
        let (tool, address) = (tool(self.address), self.address);
        // All at once: a call for each takes seconds on a busy machine.
        let mut script = format!("{tool}-restore --wait --noflush <<'END'\n*filter\n");
        for port in &self.ports {
            writeln!(
                script,
                "{change} FORWARD -s {address} -p tcp --sport {port} -j DROP"
            )?;
            writeln!(
                script,
                "{change} FORWARD -d {address} -p tcp --dport {port} -j DROP"
            )?;
        }
        script.push_str("COMMIT\nEND\n");
        self.node.room().shell(&script).await.map(drop)
    }
}

fn tool(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "iptables",
        IpAddr::V6(_) => "ip6tables",
    }
}

fn address(pod: &Pod) -> anyhow::Result<IpAddr> {
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref());
    let address = address.context("the pod has no address yet")?;
    address
        .parse()
        .with_context(|| format!("{address} as an address"))
}

/// The processes of a pod's containers.
fn processes(node: &Node, pod: &Pod) -> anyhow::Result<Vec<Process>> {
    let containers = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_deref());
    let mut found = Vec::new();
    for container in containers.unwrap_or_default() {
        let id = container
            .container_id
            .as_deref()
            .context("a container has no id yet")?;
        let id = id.rsplit_once("//").map_or(id, |(_, id)| id);
        found.extend(node.processes_of(id)?);
    }
    Ok(found)
}

/// The local ports of the established connections to a port, in a table of `/proc/net`.
fn opened_to(table: &str, port: u16) -> impl Iterator<Item = u16> {
    const ESTABLISHED: &str = "01";
    fn port_of(end: &str) -> Option<u16> {
        u16::from_str_radix(end.rsplit_once(':')?.1, 16).ok()
    }
    table.lines().filter_map(move |line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        (state == ESTABLISHED && port_of(remote) == Some(port))
            .then(|| port_of(local))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_connections_are_found_by_the_port_at_the_other_end() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
                     0: 0B014E0A:C350 0100600A:01BB 01 00000000:00000000\n\
                     1: 0B014E0A:C351 0100600A:01BB 06 00000000:00000000\n\
                     2: 0B014E0A:1F90 0100600A:C350 01 00000000:00000000\n";
        assert_eq!(opened_to(table, 443).collect::<Vec<_>>(), [50_000]);
    }
}
