//! The machines that a cloud would start for Karpenter.
//!
//! Karpenter's kwok provider makes the Node object and no machine. Each such Node gets a real kubelet of its name, so that
//! the pods on it really run, and loses it when the Node is gone.
//!
//! What to know of the kwok provider:
//! * The delay until a node comes is the node class's `nodeRegistrationDelay`. It must not be a delay between Node and kubelet:
//!   a Node without conditions loses its not-ready taint to the controller manager, pods are bound to it, and nobody waits
//!   for a node any more.
//! * The kubelet takes over the Node as it is: labels, taints and provider id stay, the host name label and the capacity
//!   become the machine's. So each node has room for far more than Karpenter thought, and NodePool limits count the real
//!   capacity from then on, and only what the pods asked for before.
//! * A name is long (`kwok-node-spot-h776l-backplanet-1-jd1tdvncda-3292909313`): too long for a path to a socket below a
//!   directory of that name, and for the common name of a certificate as `openssl req` makes it.
//! * A kubelet does not make its Node again when it has gone.

use std::collections::BTreeSet;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, api::ListParams};

use crate::{
    cluster::{Cluster, OwnCluster},
    node::NodeSpec,
    say::say,
};

/// What the kwok provider's Nodes are known by.
const OF_KWOK: &str = "kwok.x-k8s.io/node=fake";
const PREFIX: &str = "kwok-";

/// Starts a machine for each Node that has none, and removes those whose Node has gone. To be called again and again.
pub(super) async fn follow(cluster: &Cluster, own: &OwnCluster) -> anyhow::Result<()> {
    let api: Api<Node> = Api::all(cluster.client());
    let nodes = api
        .list(&ListParams::default().labels(OF_KWOK))
        .await
        .context("list Nodes")?;
    let running: BTreeSet<_> = own
        .nodes()?
        .into_iter()
        .map(|node| node.name().to_owned())
        .filter(|name| name.starts_with(PREFIX))
        .collect();
    let Changes { started, removed } = changes(&nodes.items, &running);
    for name in removed {
        own.node(&name)?
            .remove()
            .await
            .with_context(|| format!("remove machine {name}"))?;
        say(format_args!("     machine {name} is gone"));
    }
    for name in started {
        let spec = NodeSpec::new(&name, own.images().for_applications());
        if let Err(error) = own.start_node(&spec).await {
            // What is half there would be taken for a machine.
            own.node(&name)?
                .remove()
                .await
                .with_context(|| format!("remove machine {name}"))?;
            return Err(error).with_context(|| format!("start machine {name}"));
        }
        say(format_args!("     machine {name} is started"));
    }
    Ok(())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    started: Vec<String>,
    removed: Vec<String>,
}

/// A Node that is being deleted keeps its machine, which has pods to end, but does not get one.
fn changes(nodes: &[Node], running: &BTreeSet<String>) -> Changes {
    let mut changes = Changes::default();
    let mut wanted = BTreeSet::new();
    for node in nodes {
        let Some(name) = &node.metadata.name else { continue };
        wanted.insert(name);
        if node.metadata.deletion_timestamp.is_none() && !running.contains(name) {
            changes.started.push(name.clone());
        }
    }
    changes.removed = running
        .iter()
        .filter(|name| !wanted.contains(name))
        .cloned()
        .collect();
    changes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, deleted: bool) -> Node {
        let deletion = deleted.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({ "metadata": { "name": name, "deletionTimestamp": deletion } }))
            .unwrap()
    }

    #[test]
    fn each_node_has_a_machine_until_it_is_gone() {
        let running = ["kwok-leaving", "kwok-gone", "kwok-there"]
            .map(str::to_owned)
            .into();
        let nodes = [
            node("kwok-new", false),
            node("kwok-there", false),
            node("kwok-leaving", true),
            node("kwok-late", true),
        ];
        let expected = Changes {
            started: vec!["kwok-new".to_owned()],
            removed: vec!["kwok-gone".to_owned()],
        };
        assert_eq!(changes(&nodes, &running), expected);
    }
}
