//! Where the harness keeps what: the workspace, the cache of parts, the state of a running cluster.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// Directories that a [room](crate::room) covers with empty ones of its own, so nothing that the harness keeps may be there.
pub(crate) const COVERED: [&str; 3] = ["/run", "/var/lib", "/var/log"];

/// The directories of one cluster of this machine.
#[derive(Debug, Clone)]
pub struct Places {
    name: String,
    workspace: PathBuf,
    cache: PathBuf,
    state: PathBuf,
}

impl Places {
    /// The directories of the cluster `name`.
    pub fn find(name: &str) -> anyhow::Result<Self> {
        anyhow::ensure!(
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
            "the name of a cluster is made of a-z, 0-9 and -, not {name:?}"
        );
        // What `cargo run` says now: clones that share a target directory may share this program too.
        let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let workspace = Path::new(&package)
            .ancestors()
            .nth(2)
            .context("find the root of the workspace")?;
        let places = Self {
            name: name.to_owned(),
            workspace: workspace.to_owned(),
            cache: base("XDG_CACHE_HOME", ".cache")?.join("rouse/cluster"),
            state: base("XDG_STATE_HOME", ".local/state")?
                .join("rouse/cluster")
                .join(name),
        };
        for kept in [&places.workspace, &places.cache, &places.state] {
            let covered = COVERED.iter().find(|covered| kept.starts_with(covered));
            if let Some(covered) = covered {
                anyhow::bail!(
                    "{} cannot be used: {covered} is not what it seems to the cluster's processes. Set XDG_CACHE_HOME and \
                     XDG_STATE_HOME to other directories",
                    kept.display()
                );
            }
        }
        Ok(places)
    }

    /// The cluster's name: several may run on one machine.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The root of the workspace.
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// Where built and downloaded parts are kept, for all clusters and clones of this user.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// What belongs to the running cluster and goes with it: processes, logs, certificates, etcd's data, images.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The folder of the Go modules that pin the parts.
    pub(crate) fn go_modules(&self) -> PathBuf {
        self.workspace.join("tests/cluster/parts")
    }
}

fn base(variable: &str, below_home: &str) -> anyhow::Result<PathBuf> {
    match env::var_os(variable).filter(|value| !value.is_empty()) {
        Some(directory) => Ok(PathBuf::from(directory)),
        None => Ok(PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(below_home)),
    }
}
