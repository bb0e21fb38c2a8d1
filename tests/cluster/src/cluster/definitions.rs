//! Definitions of custom resources: which versions they serve, and their end.

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::Cluster;
use crate::wait;

impl Cluster {
    /// The names of the definitions of these API groups that there are, also those on their way out.
    pub async fn definitions_of(&self, groups: &[&str]) -> anyhow::Result<Vec<String>> {
        let found = self.definitions().list(&ListParams::default()).await?;
        let of_groups = found
            .items
            .into_iter()
            .filter(|definition| groups.contains(&definition.spec.group.as_str()));
        Ok(of_groups
            .filter_map(|definition| definition.metadata.name)
            .collect())
    }

    /// Waits until no definition of these API groups is left.
    pub async fn wait_for_no_definitions_of(&self, groups: &[&str], bound: Duration) -> anyhow::Result<()> {
        let what = format!("no definitions of {} are left", groups.join(", "));
        wait::until(&what, bound, async || {
            let left = self.definitions_of(groups).await?;
            if left.is_empty() {
                wait::done(())
            } else {
                wait::not_yet(left.join(", "))
            }
        })
        .await
    }

    /// The `spec.versions` of a definition.
    pub async fn versions(&self, definition: &str) -> anyhow::Result<Value> {
        let found = self.definitions().get(definition).await?;
        serde_json::to_value(found.spec.versions).context("write the versions")
    }

    /// Replaces the `spec.versions` of a definition.
    pub async fn set_versions(&self, definition: &str, versions: &Value) -> anyhow::Result<()> {
        let patch = json!({ "spec": { "versions": versions } });
        let patch = Patch::Merge(&patch);
        self.definitions()
            .patch(definition, &PatchParams::default(), &patch)
            .await
            .with_context(|| format!("set the versions of {definition}"))?;
        Ok(())
    }

    fn definitions(&self) -> Api<CustomResourceDefinition> {
        Api::all(self.client())
    }
}
