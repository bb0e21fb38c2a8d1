//! KEDA taken away, as its users do it, and put back. For the cases of a cluster without it.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::{NAMESPACE, manifests};
use crate::cluster::Cluster;

/// The release's name, as the users have it.
pub const RELEASE: &str = "keda";
/// The groups of its definitions.
pub const GROUPS: [&str; 2] = ["keda.sh", "eventing.keda.sh"];

const SCALED_OBJECT: (&str, &str) = ("keda.sh/v1alpha1", "ScaledObject");
/// What separates the manifests of a file.
const SEPARATOR: &str = "\n---\n";

/// Takes KEDA away in the order that leaves nothing behind: its definitions go while its operator is there to take its
/// finalizers off.
pub async fn remove(cluster: &Cluster, bound: Duration) -> anyhow::Result<()> {
    let (definitions, rest): (Vec<_>, Vec<_>) = without_namespace(cluster)
        .await?
        .into_iter()
        .partition(|manifest| is_of_kind(manifest, "CustomResourceDefinition"));
    cluster.delete(&definitions.join(SEPARATOR)).await?;
    cluster.wait_for_no_definitions_of(&GROUPS, bound).await?;
    cluster.delete(&rest.join(SEPARATOR)).await.map(drop)
}

/// Installs KEDA again, whatever has become of it, and waits until it is ready.
pub async fn put_back(cluster: &Cluster, bound: Duration) -> anyhow::Result<()> {
    let is_gone = cluster.definitions_of(&GROUPS).await?.is_empty();
    if !is_gone && !is_whole(cluster).await? {
        // What was applied to a definition on its way out would go with it, and what keeps it there may be without anybody
        // to take its finalizer off.
        let_go(cluster).await?;
        cluster.wait_for_no_definitions_of(&GROUPS, bound).await?;
    }
    let manifests = fs::read_to_string(manifests(cluster.parts()).await?).context("read KEDA's manifests")?;
    cluster.apply_server_side(&manifests).await?;
    cluster.wait_for_keda(bound).await
}

/// Makes a Helm release of the KEDA that is there, as its users have it: a chart of the same manifests, the definitions among
/// its templates as in KEDA's own, taken over. Only its namespace is left out.
pub async fn as_release(cluster: &Cluster) -> anyhow::Result<()> {
    let own = cluster
        .as_own()
        .context("KEDA is made a release in a cluster of our own only")?;
    let chart: PathBuf = own.places().state().join("keda-chart");
    let templates = chart.join("templates");
    fs::create_dir_all(&templates).with_context(|| format!("make {}", templates.display()))?;
    let version = cluster.parts().version("keda-operator")?;
    let metadata = json!({ "apiVersion": "v2", "name": RELEASE, "version": version });
    fs::write(chart.join("Chart.yaml"), metadata.to_string()).context("write KEDA's Chart.yaml")?;
    let manifests = without_namespace(cluster).await?.join(SEPARATOR);
    anyhow::ensure!(
        !manifests.contains("{{"),
        "KEDA's manifests would be taken for templates"
    );
    fs::write(templates.join("keda.yaml"), manifests).context("write KEDA's manifests")?;
    // Of an installation that was cut short, with which Helm would refuse another.
    let remembered = format!("--selector=owner=helm,name={RELEASE}");
    let forget = [
        "delete",
        "secrets",
        "--namespace",
        NAMESPACE,
        "--ignore-not-found",
    ];
    cluster
        .kubectl(forget.into_iter().chain([remembered.as_str()]))
        .await?;
    let chart = chart.display().to_string();
    let install = ["upgrade", "--install", RELEASE, &chart, "--namespace", NAMESPACE];
    let take_over = ["--take-ownership", "--force-conflicts"];
    cluster.helm(install.into_iter().chain(take_over)).await?;
    cluster.wait_for_keda(Duration::from_mins(2)).await
}

/// KEDA's manifests but that of the namespace, which Rouse is in too.
async fn without_namespace(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let manifests = fs::read_to_string(manifests(cluster.parts()).await?).context("read KEDA's manifests")?;
    let all = manifests.split(SEPARATOR).map(str::to_owned);
    Ok(all
        .filter(|manifest| !is_of_kind(manifest, "Namespace"))
        .collect())
}

fn is_of_kind(manifest: &str, kind: &str) -> bool {
    manifest
        .lines()
        .any(|line| line.strip_prefix("kind: ") == Some(kind))
}

/// Whether its definitions are all there to stay.
async fn is_whole(cluster: &Cluster) -> anyhow::Result<bool> {
    let going = cluster
        .kubectl([
            "get",
            "customresourcedefinitions",
            "--output=jsonpath={range .items[?(@.metadata.deletionTimestamp)]}{.spec.group} {end}",
        ])
        .await?;
    Ok(!going.split_whitespace().any(|group| GROUPS.contains(&group)))
}

/// Takes the finalizers off every ScaledObject that is being deleted.
async fn let_go(cluster: &Cluster) -> anyhow::Result<()> {
    let all = cluster.dynamic(SCALED_OBJECT.0, SCALED_OBJECT.1, "");
    let found = match all.list(&ListParams::default()).await {
        Ok(found) => found.items,
        // The definition has gone meanwhile.
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        Err(error) => return Err(error).context("list ScaledObjects"),
    };
    let nothing = json!({ "metadata": { "finalizers": null } });
    for object in found {
        let metadata = object.metadata;
        let (Some(name), Some(namespace)) = (metadata.name, metadata.namespace) else {
            continue;
        };
        if metadata.deletion_timestamp.is_none() {
            continue;
        }
        let api = cluster.dynamic(SCALED_OBJECT.0, SCALED_OBJECT.1, &namespace);
        match api
            .patch(&name, &PatchParams::default(), &Patch::Merge(&nothing))
            .await
        {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error).with_context(|| format!("let go of {namespace}/{name}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifests_kind_is_its_own_and_not_that_of_what_it_names() {
        let binding = "apiVersion: v1\nkind: RoleBinding\nroleRef:\n  kind: Role\n";
        assert!(is_of_kind(binding, "RoleBinding"));
        assert!(!is_of_kind(binding, "Role"));
    }
}
