//! What comes from Debian: container runtime, network tools. Found by the files that are used; installed by apt as root.

use std::{fs, path::Path, time::Duration};

use tokio::process::Command;

use super::Parts;
use crate::{command, say::say};

const INSTALL_BOUND: Duration = Duration::from_mins(10);
const LOOK_BOUND: Duration = Duration::from_secs(20);

/// A Debian package, and the programs of it that are used.
struct Package {
    name: &'static str,
    /// Any of these paths will do; a machine may have the program from elsewhere.
    programs: &'static [(&'static str, &'static [&'static str])],
}

const PACKAGES: [Package; 6] = [
    Package {
        name: "containerd",
        programs: &[
            (
                "containerd",
                &["/usr/bin/containerd", "/usr/local/bin/containerd"],
            ),
            ("ctr", &["/usr/bin/ctr", "/usr/local/bin/ctr"]),
        ],
    },
    Package {
        name: "runc",
        programs: &[(
            "runc",
            &["/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc"],
        )],
    },
    Package {
        name: "containernetworking-plugins",
        programs: &[("cni-bridge", &["/usr/lib/cni/bridge", "/opt/cni/bin/bridge"])],
    },
    Package {
        name: "iptables",
        programs: &[("iptables", &["/usr/sbin/iptables", "/sbin/iptables"])],
    },
    Package {
        name: "iproute2",
        programs: &[("ip", &["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"])],
    },
    Package {
        name: "util-linux",
        programs: &[
            ("nsenter", &["/usr/bin/nsenter"]),
            ("unshare", &["/usr/bin/unshare"]),
        ],
    },
];

/// Finds the programs, and installs the packages of those that are missing.
pub(super) async fn provide(parts: &mut Parts) -> anyhow::Result<()> {
    explain_machine().await?;
    let mut missing = Vec::new();
    for package in &PACKAGES {
        if package.programs.iter().any(|(_, paths)| find(paths).is_none()) {
            missing.push(package.name);
        }
    }
    if !missing.is_empty() {
        install(&missing).await?;
    }
    for package in &PACKAGES {
        let version = version(package.name).await;
        for (name, paths) in package.programs {
            let Some(path) = find(paths) else {
                anyhow::bail!(
                    "{name} is in none of {}, though the Debian package {} is to bring it",
                    paths.join(", "),
                    package.name
                );
            };
            parts.add_program(name, path.into(), &version);
        }
    }
    Ok(())
}

fn find(paths: &[&'static str]) -> Option<&'static str> {
    paths.iter().copied().find(|path| Path::new(path).exists())
}

/// A cluster needs what a container usually may not do. Says so before anything is downloaded.
async fn explain_machine() -> anyhow::Result<()> {
    anyhow::ensure!(
        cfg!(target_os = "linux"),
        "the cluster runs on Linux only; set KUBECONFIG to run the tests against a cluster that exists"
    );
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "the cluster needs root: it makes namespaces, cgroups and mounts. Run it as root, or set KUBECONFIG to run the tests \
         against a cluster that exists (kind, k3d, minikube)"
    );
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "true"]);
    if let Err(error) = command::run(&mut unshare, LOOK_BOUND).await {
        anyhow::bail!(
            "this machine does not let root make network, mount and process namespaces (a container without privileges?): \
             {error:#}"
        );
    }
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    anyhow::ensure!(
        filesystems.contains("overlay"),
        "the kernel has no overlayfs, which holds the containers' files: try `modprobe overlay`"
    );
    let bridged = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
    anyhow::ensure!(
        bridged.exists(),
        "the kernel does not pass bridged packets to iptables, which Services need: try `modprobe br_netfilter`"
    );
    Ok(())
}

async fn install(packages: &[&str]) -> anyhow::Result<()> {
    say(format_args!("apt-get install {}", packages.join(" ")));
    let by_hand = format!("`apt-get install {}`", packages.join(" "));
    if !Path::new("/usr/bin/apt-get").exists() {
        anyhow::bail!("this is no Debian; install what {by_hand} would");
    }
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    // A package list that cannot be had anew may still do.
    if let Err(error) = command::run(apt().args(["update", "-q"]), INSTALL_BOUND).await {
        say(format_args!("{error:#}"));
    }
    let mut install = apt();
    install
        .args(["install", "-q", "-y", "--no-install-recommends"])
        .args(packages);
    if let Err(error) = command::run(&mut install, INSTALL_BOUND).await {
        anyhow::bail!("{by_hand} failed: {error:#}");
    }
    Ok(())
}

async fn version(package: &str) -> String {
    let mut query = Command::new("dpkg-query");
    query.args(["--showformat=${Version}", "--show", package]);
    command::run(&mut query, LOOK_BOUND)
        .await
        .unwrap_or_else(|_| "not from Debian".to_owned())
}
