//! What KEDA says of the triggers of a ScaledObject, for cases with more than one.

use std::collections::BTreeMap;

use anyhow::Context as _;

use super::addon::objects;
use crate::{cluster::Cluster, trial::Trial};

/// In place of the examples' line `pollingInterval: 15`: KEDA looks often, and the HPA takes back what is not needed at once,
/// not after its 300 s.
pub(super) const QUICK: [&str; 6] = [
    "pollingInterval: 5",
    "advanced:",
    "  horizontalPodAutoscalerConfig:",
    "    behavior:",
    "      scaleDown:",
    "        stabilizationWindowSeconds: 0",
];

/// Puts into the evidence which triggers are active, as of KEDA's last poll, and what there is.
pub(super) async fn show(trial: &mut Trial, namespace: &str, name: &str) -> anyhow::Result<()> {
    trial
        .kubectl(&format!(
            "get scaledobject {name} --namespace={namespace} --output=jsonpath={{.status.triggersActivity}}"
        ))
        .await?;
    trial
        .kubectl(&format!("get deployment,hpa --namespace={namespace}"))
        .await
        .map(drop)
}

/// Which metrics of a ScaledObject make it active, as of KEDA's last poll.
pub(super) async fn active(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
) -> anyhow::Result<BTreeMap<String, bool>> {
    let (api_version, kind) = objects::SCALED_OBJECT;
    let object = cluster.dynamic(api_version, kind, namespace).get(name).await?;
    let activity = object.data.pointer("/status/triggersActivity");
    let activity = activity.and_then(serde_json::Value::as_object);
    let activity = activity.with_context(|| format!("{name} does not say which triggers are active"))?;
    let is_active = |value: &serde_json::Value| value["isActive"].as_bool().unwrap_or(false);
    Ok(activity
        .iter()
        .map(|(metric, value)| (metric.clone(), is_active(value)))
        .collect())
}
