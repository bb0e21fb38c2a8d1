//! etcd, API server, controller manager and scheduler, in the first room.

use std::{path::Path, time::Duration};

use tokio::process::Command;

use crate::{
    command,
    network::{CONTROL_PLANE, KUBERNETES_SERVICE, PODS, SERVICES},
    parts::Parts,
    pki::{Pki, Subject},
    room::{Room, Service},
    wait,
};

const READY_BOUND: Duration = Duration::from_mins(2);
const LOOK_BOUND: Duration = Duration::from_secs(5);

/// The API server's address as others reach it.
pub const SERVER: &str = "https://10.77.0.1:6443";
const ETCD: &str = "http://127.0.0.1:2379";

/// The names of its services, for those who stop and start them.
pub const SERVICE_NAMES: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

/// The people and programs that the API server knows by a certificate: file, user, group.
const USERS: [(&str, &str, Option<&str>); 5] = [
    ("admin", "admin", Some("system:masters")),
    ("kube-controller-manager", "system:kube-controller-manager", None),
    ("kube-scheduler", "system:kube-scheduler", None),
    ("kube-proxy", "system:kube-proxy", None),
    ("front-proxy", "front-proxy", None),
];

/// Makes the certificates, starts the control plane and waits until the API server is ready.
pub(crate) async fn start(parts: &Parts, room: &Room, pki: &Pki) -> anyhow::Result<()> {
    issue(pki)?;
    let data = room.directory().join("etcd");
    room.start(&etcd(parts, &data)?)?;
    room.start(&api_server(parts, pki)?)?;
    wait_until_ready(parts, room, pki).await?;
    // These two end when the API server is not there yet.
    room.start(&controller_manager(parts, pki)?)?;
    room.start(&scheduler(parts, pki)?)
}

/// Waits until the API server says that it is ready.
pub async fn wait_until_ready(parts: &Parts, room: &Room, pki: &Pki) -> anyhow::Result<()> {
    let kubeconfig = pki.path("admin.kubeconfig");
    wait::until("the API server is ready", READY_BOUND, async || {
        for service in ["etcd", "kube-apiserver"] {
            if !room.runs(service) {
                return wait::not_yet(format!(
                    "{service} has ended, having said:\n{}",
                    room.log(service)
                ));
            }
        }
        let mut readyz = Command::new(parts.program("kubectl")?);
        readyz
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .args(["get", "--raw", "/readyz"]);
        command::run(&mut readyz, LOOK_BOUND).await?;
        wait::done(())
    })
    .await
}

fn issue(pki: &Pki) -> anyhow::Result<()> {
    pki.found()?;
    for (file, name, group) in USERS {
        pki.issue(
            file,
            &Subject {
                name,
                group,
                ..Subject::default()
            },
        )?;
        pki.kubeconfig(file, SERVER)?;
    }
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    pki.issue(
        "kube-apiserver",
        &Subject {
            name: "kube-apiserver",
            group: None,
            dns_names: names.map(str::to_owned).to_vec(),
            addresses: vec![CONTROL_PLANE, KUBERNETES_SERVICE],
        },
    )
}

fn etcd(parts: &Parts, data: &Path) -> anyhow::Result<Service> {
    let service = Service::new("etcd", parts.program("etcd")?);
    Ok(service
        .path("data-dir", data)
        .flag("listen-client-urls", ETCD)
        .flag("advertise-client-urls", ETCD)
        .flag("listen-peer-urls", "http://127.0.0.1:2380")
        // Its data is gone with the cluster, and the disk of a test machine is slow.
        .args(["--unsafe-no-fsync"]))
}

fn api_server(parts: &Parts, pki: &Pki) -> anyhow::Result<Service> {
    let service = Service::new("kube-apiserver", parts.program("kube-apiserver")?);
    Ok(service
        .flag("etcd-servers", ETCD)
        .flag("advertise-address", CONTROL_PLANE)
        .flag("secure-port", 6443)
        .flag("service-cluster-ip-range", SERVICES)
        .flag("authorization-mode", "Node,RBAC")
        .flag("enable-admission-plugins", "NodeRestriction")
        .flag("allow-privileged", true)
        .path("client-ca-file", &pki.certificate("ca"))
        .path("tls-cert-file", &pki.certificate("kube-apiserver"))
        .path("tls-private-key-file", &pki.key("kube-apiserver"))
        .flag(
            "service-account-issuer",
            "https://kubernetes.default.svc.cluster.local",
        )
        .path("service-account-key-file", &pki.path("service-accounts.pub"))
        .path("service-account-signing-key-file", &pki.key("service-accounts"))
        .path("kubelet-certificate-authority", &pki.certificate("ca"))
        .path("kubelet-client-certificate", &pki.certificate("admin"))
        .path("kubelet-client-key", &pki.key("admin"))
        // No resolver knows a node's name.
        .flag("kubelet-preferred-address-types", "InternalIP")
        // KEDA's metrics adapter is an API server behind this one.
        .path("requestheader-client-ca-file", &pki.certificate("ca"))
        .flag("requestheader-allowed-names", "front-proxy")
        .flag("requestheader-extra-headers-prefix", "X-Remote-Extra-")
        .flag("requestheader-group-headers", "X-Remote-Group")
        .flag("requestheader-username-headers", "X-Remote-User")
        .path("proxy-client-cert-file", &pki.certificate("front-proxy"))
        .path("proxy-client-key-file", &pki.key("front-proxy"))
        .flag("enable-aggregator-routing", true))
}

fn controller_manager(parts: &Parts, pki: &Pki) -> anyhow::Result<Service> {
    let service = Service::new(
        "kube-controller-manager",
        parts.program("kube-controller-manager")?,
    );
    Ok(as_user(service, pki, "kube-controller-manager")
        .path("root-ca-file", &pki.certificate("ca"))
        .path("service-account-private-key-file", &pki.key("service-accounts"))
        .path("cluster-signing-cert-file", &pki.certificate("ca"))
        .path("cluster-signing-key-file", &pki.key("ca"))
        .flag("cluster-cidr", PODS)
        .flag("use-service-account-credentials", true)
        .flag("leader-elect", false)
        // The default of 15 s makes tests of scaling slow; where a figure depends on it, its report says so.
        .flag("horizontal-pod-autoscaler-sync-period", "5s"))
}

fn scheduler(parts: &Parts, pki: &Pki) -> anyhow::Result<Service> {
    let service = Service::new("kube-scheduler", parts.program("kube-scheduler")?);
    Ok(as_user(service, pki, "kube-scheduler").flag("leader-elect", false))
}

fn as_user(service: Service, pki: &Pki, user: &str) -> Service {
    let kubeconfig = pki.path(&format!("{user}.kubeconfig"));
    service
        .path("kubeconfig", &kubeconfig)
        .path("authentication-kubeconfig", &kubeconfig)
        .path("authorization-kubeconfig", &kubeconfig)
}
