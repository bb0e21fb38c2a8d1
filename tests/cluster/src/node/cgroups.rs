//! The cgroups below which a node's pods are, in the machine's hierarchies: one per controller (v1), or one for all (v2).

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;

use super::Node;
use crate::{process::Process, wait};

const MOUNTED: &str = "/sys/fs/cgroup";
const REMOVE_BOUND: Duration = Duration::from_secs(20);

/// The cgroup of a whole cluster, below each hierarchy.
pub(super) fn root(cluster: &str) -> String {
    format!("rouse-cluster-{cluster}")
}

/// Makes the node's cgroups: the kubelet wants its root to exist.
pub(super) fn make(node: &Node) -> anyhow::Result<()> {
    for hierarchy in hierarchies()? {
        let mut cgroup = hierarchy.clone();
        for part in node.cgroup().split('/') {
            let parent = cgroup.clone();
            cgroup.push(part);
            fs::create_dir_all(&cgroup).with_context(|| format!("make the cgroup {}", cgroup.display()))?;
            // A new cpuset (v1) has no CPUs and no memory, and takes no process until it has.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let inherited = fs::read_to_string(parent.join(file)).unwrap_or_default();
                if hierarchy.ends_with("cpuset") && !inherited.trim().is_empty() {
                    fs::write(cgroup.join(file), inherited)
                        .with_context(|| format!("write {file} of {}", cgroup.display()))?;
                }
            }
        }
    }
    Ok(())
}

/// Removes the cgroups of a cluster, `NAME`, or of a node of it, `NAME/NODE`, whose processes have been killed.
pub(crate) async fn remove(what: &str) -> anyhow::Result<()> {
    for hierarchy in hierarchies()? {
        let cgroup = hierarchy.join(root(what));
        wait::until(
            &format!("{} is gone", cgroup.display()),
            REMOVE_BOUND,
            async || {
                remove_tree(&cgroup)?;
                wait::done(())
            },
        )
        .await?;
    }
    Ok(())
}

/// The processes in the cgroup of a container.
pub(super) fn processes_of(node: &Node, container: &str) -> anyhow::Result<Vec<Process>> {
    for hierarchy in hierarchies()? {
        if let Some(cgroup) = find(&hierarchy.join(node.cgroup()), container) {
            let ids = fs::read_to_string(cgroup.join("cgroup.procs"))
                .context("read the processes of a container")?;
            return Ok(ids
                .lines()
                .filter_map(|id| Process::find(id.parse().ok()?))
                .collect());
        }
    }
    anyhow::bail!("node {} has no container {container}", node.name())
}

/// The mounted hierarchies: with v2, the mount itself.
fn hierarchies() -> anyhow::Result<Vec<PathBuf>> {
    let mounted = Path::new(MOUNTED);
    if mounted.join("cgroup.controllers").exists() {
        return Ok(vec![mounted.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(mounted).context("list the cgroup hierarchies")? {
        let entry = entry?;
        // `cpu` may be a link to `cpu,cpuacct`.
        if entry.file_type()?.is_dir() && entry.path().join("cgroup.procs").exists() {
            found.push(entry.path());
        }
    }
    anyhow::ensure!(
        !found.is_empty(),
        "no cgroup hierarchy is mounted below {MOUNTED}"
    );
    Ok(found)
}

fn remove_tree(cgroup: &Path) -> anyhow::Result<()> {
    for child in children(cgroup) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(cgroup) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("remove the cgroup {}", cgroup.display())),
    }
}

fn find(cgroup: &Path, name: &str) -> Option<PathBuf> {
    children(cgroup).find_map(|child| {
        if child.ends_with(name) {
            Some(child)
        } else {
            find(&child, name)
        }
    })
}

fn children(cgroup: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}
