//! One run of a case: what it may use, what it has to clean up, and what it saw.

use std::{fs, net::SocketAddr, time::Duration};

use anyhow::Context as _;

use crate::{
    cluster::{
        Cluster,
        http::{self, Answer},
    },
    evidence::Evidence,
    keda,
    say::say,
};

const PUT_BACK_BOUND: Duration = Duration::from_mins(2);

/// What a case is given.
#[derive(Debug)]
pub struct Trial {
    cluster: Cluster,
    /// What it saw.
    pub evidence: Evidence,
    /// Manifests to delete at the end, the last first.
    applied: Vec<String>,
    /// Nodes to remove at the end.
    nodes: Vec<String>,
    /// What every case shares and this one has changed, to be put back at the end.
    shared: Vec<Shared>,
}

/// What cases share. One that takes it away says so before it does: it is put back whatever comes of the case.
#[derive(Debug, Clone)]
pub enum Shared {
    /// KEDA, with its definitions.
    Keda,
    /// Rouse's release, as it was installed at first.
    Rouse,
    /// The versions of a custom resource's definition.
    Versions {
        /// The definition's name.
        definition: String,
        /// Its `spec.versions` as they are to be.
        versions: serde_json::Value,
    },
}

impl Trial {
    pub(crate) fn new(cluster: Cluster, evidence: Evidence) -> Self {
        Self {
            cluster,
            evidence,
            applied: Vec::new(),
            nodes: Vec::new(),
            shared: Vec::new(),
        }
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Applies manifests, which are deleted when the case ends.
    pub async fn apply(&mut self, manifests: &str) -> anyhow::Result<()> {
        self.applied.push(manifests.to_owned());
        let output = self.cluster.apply(manifests).await?;
        self.evidence.command("kubectl apply -f -", &output);
        Ok(())
    }

    /// Applies a file of the workspace, as it is; what it describes is deleted when the case ends.
    pub async fn apply_file(&mut self, path: &str) -> anyhow::Result<()> {
        let file = self.cluster.workspace().join(path);
        let manifests = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        self.applied.push(manifests.clone());
        let output = self.cluster.apply(&manifests).await?;
        self.evidence
            .command(format_args!("kubectl apply -f {path}"), &output);
        Ok(())
    }

    /// Makes a namespace, which is deleted with all that is in it when the case ends.
    pub async fn namespace(&mut self, name: &str) -> anyhow::Result<()> {
        let namespace =
            serde_json::json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        self.apply(&namespace.to_string()).await
    }

    /// Runs kubectl and puts the command and what it wrote into the evidence.
    pub async fn kubectl(&mut self, command: &str) -> anyhow::Result<String> {
        let output = self.cluster.kubectl(command.split_whitespace()).await?;
        self.evidence.command(format_args!("kubectl {command}"), &output);
        Ok(output)
    }

    /// GETs a path and puts it with its time into the evidence, as the command that a person would type.
    pub async fn get(
        &mut self,
        addr: SocketAddr,
        host: &str,
        path: &str,
        bound: Duration,
    ) -> anyhow::Result<Answer> {
        let answer = http::get(addr, host, path, bound).await?;
        let command = format!("time curl -H 'Host: {host}' http://{addr}{path}");
        self.evidence.command(command, &answer.summary());
        Ok(answer)
    }

    /// Has the node with this name removed when the case ends, its Node object too, if that is still there.
    pub fn remove_node_at_end(&mut self, name: &str) {
        self.nodes.push(name.to_owned());
    }

    /// Has what cases share put back when the case ends, before what it applied is deleted: that needs it. What is named first
    /// is put back first.
    pub fn put_back_at_end(&mut self, shared: Shared) {
        self.shared.push(shared);
    }

    /// What the case was to find, for the log, as it goes on.
    pub fn step(&self, what: &str) {
        say(format_args!("     {what}"));
    }

    /// Takes away what the case made. Everything is tried; that something stays is a failure.
    pub(crate) async fn clean_up(&mut self) -> anyhow::Result<()> {
        let mut failures = Vec::new();
        // First the nodes: the pods of one that is lost go only when its Node object is gone.
        for name in std::mem::take(&mut self.nodes) {
            if let Err(error) = self.remove_node(&name).await {
                failures.push(format!("node {name}: {error:#}"));
            }
        }
        for shared in std::mem::take(&mut self.shared) {
            if let Err(error) = shared.put_back(&self.cluster).await {
                failures.push(format!("put back {shared:?}: {error:#}"));
            }
        }
        for manifests in std::mem::take(&mut self.applied).into_iter().rev() {
            if let Err(error) = self.cluster.delete(&manifests).await {
                failures.push(format!("{error:#}"));
            }
        }
        anyhow::ensure!(failures.is_empty(), "clean up: {}", failures.join("; "));
        Ok(())
    }

    async fn remove_node(&self, name: &str) -> anyhow::Result<()> {
        self.cluster
            .kubectl(["delete", "node", name, "--ignore-not-found"])
            .await?;
        self.cluster.node(name)?.remove().await
    }
}

impl Shared {
    async fn put_back(&self, cluster: &Cluster) -> anyhow::Result<()> {
        match self {
            Self::Keda => keda::put_back(cluster, PUT_BACK_BOUND).await,
            Self::Rouse => cluster.install_rouse(&[], PUT_BACK_BOUND).await.map(drop),
            Self::Versions { definition, versions } => cluster.set_versions(definition, versions).await,
        }
    }
}
