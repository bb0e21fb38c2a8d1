//! Rouse itself, installed as its users do: one Helm release.

use std::time::Duration;

use crate::{cluster::Cluster, keda::NAMESPACE};

/// The release's name, as the users have it.
pub const RELEASE: &str = "keda-http";
/// Its chart, in the workspace.
pub const CHART: &str = "charts/rouse";
/// Its Deployments, in the namespace of KEDA.
pub const DEPLOYMENTS: [&str; 3] = [
    "keda-add-ons-http-controller-manager",
    "keda-add-ons-http-interceptor",
    "keda-add-ons-http-external-scaler",
];

impl Cluster {
    /// Installs the chart, or upgrades its release, with values set as `helm --set` takes them; waits until all is ready.
    pub async fn install_rouse(&self, values: &[&str], bound: Duration) -> anyhow::Result<String> {
        let arguments = [
            "upgrade",
            "--install",
            RELEASE,
            CHART,
            "--namespace",
            NAMESPACE,
            "--create-namespace",
            // Without values an upgrade takes those of the last release.
            "--reset-values",
        ];
        let values = values.iter().flat_map(|value| ["--set", *value]);
        let output = self.helm(arguments.into_iter().chain(values)).await?;
        for deployment in DEPLOYMENTS {
            self.wait_for_available(NAMESPACE, deployment, bound).await?;
        }
        Ok(output)
    }

    /// Uninstalls the release.
    pub async fn uninstall_rouse(&self) -> anyhow::Result<String> {
        self.helm(["uninstall", RELEASE, "--namespace", NAMESPACE]).await
    }

    /// Whether the workspace has the chart.
    pub fn has_chart(&self) -> bool {
        self.workspace().join(CHART).join("Chart.yaml").exists()
    }
}
