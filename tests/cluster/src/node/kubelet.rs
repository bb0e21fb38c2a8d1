//! The node's kubelet and kube-proxy.

use std::fs;

use anyhow::Context as _;

use super::{Node, NodeSpec};
use crate::{
    network::{DNS_SERVICE, PODS},
    parts::Parts,
    pki::Pki,
    room::Service,
};

pub(super) fn start(parts: &Parts, pki: &Pki, node: &Node, spec: &NodeSpec) -> anyhow::Result<()> {
    let config = node.path("kubelet.yaml");
    fs::write(&config, configuration(pki, node).to_string()).context("configure the kubelet")?;
    let mut service = Service::new("kubelet", parts.program("kubelet")?)
        .path("config", &config)
        .path(
            "kubeconfig",
            &pki.path(&format!("{}.kubeconfig", node.credentials())),
        )
        .path("root-dir", &node.path("kubelet"))
        .path("cert-dir", &node.path("kubelet/pki"))
        .flag("hostname-override", node.name())
        .flag("node-ip", node.index().address());
    if !spec.labels.is_empty() {
        let labels: Vec<_> = spec
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        service = service.flag("node-labels", labels.join(","));
    }
    if !spec.taints.is_empty() {
        service = service.flag("register-with-taints", spec.taints.join(","));
    }
    node.room().start(&service)
}

pub(super) fn start_proxy(parts: &Parts, pki: &Pki, node: &Node) -> anyhow::Result<()> {
    let service = Service::new("kube-proxy", parts.program("kube-proxy")?)
        .path("kubeconfig", &pki.path("kube-proxy.kubeconfig"))
        .flag("hostname-override", node.name())
        .flag("proxy-mode", "iptables")
        // What does not come from a pod comes from the control plane's room through the first node: it is masqueraded, so
        // that the answer of a pod on another node comes back the same way.
        .flag("cluster-cidr", PODS)
        // The limits are the machine's, not this network's.
        .flag("conntrack-max-per-core", 0)
        .flag("conntrack-min", 0)
        .flag("conntrack-tcp-timeout-established", "0s")
        .flag("conntrack-tcp-timeout-close-wait", "0s");
    node.room().start(&service)
}

fn configuration(pki: &Pki, node: &Node) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": pki.certificate("ca") },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": pki.certificate(&node.credentials()),
        "tlsPrivateKeyFile": pki.key(&node.credentials()),
        "containerRuntimeEndpoint": format!("unix://{}", node.containerd_socket().display()),
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        // The machine's resolver cannot be reached from here.
        "resolvConf": "",
        "podLogsDir": node.path("pod-logs"),
        "volumePluginDir": node.path("volume-plugins"),
        "maxPods": 200,
        "nodeStatusUpdateFrequency": "5s",
        "cgroupRoot": format!("/{}", node.cgroup()),
        // Containerd, kubelet and the machine share their cgroups with others: nothing is enforced on them.
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": false,
        "makeIPTablesUtilChains": false,
        // Images cannot be pulled again, and the machine's disk is nobody's business here.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "imagefs.available": "0%",
            "memory.available": "10Mi",
            "nodefs.available": "0%",
        },
    })
}
