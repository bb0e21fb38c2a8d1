//! KEDA itself works: what Rouse builds on.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use crate::{case::Case, trial::Trial};

pub(super) const CRON_TRIGGER_MAKES_AN_HPA: Case = Case {
    name: "cron_trigger_makes_an_hpa",
    about: "A ScaledObject with a cron trigger whose window is always open becomes Ready, gets its HPA, and scales the \
            Deployment from zero; KEDA's webhook refuses a second one for the same Deployment.",
    needs: &[],
    smoke: true,
    bound: Duration::from_mins(3),
    run: |trial| cron_trigger_makes_an_hpa(trial).boxed_local(),
};

async fn cron_trigger_makes_an_hpa(trial: &mut Trial) -> anyhow::Result<()> {
    const BOUND: Duration = Duration::from_mins(1);
    let cluster = trial.cluster().clone();
    trial.apply_file("examples/chatbot.yaml").await?;
    trial.apply(&scaled_object("chatbot-cron").to_string()).await?;
    cluster
        .wait_for_condition(
            ("keda.sh/v1alpha1", "ScaledObject"),
            ("default", "chatbot-cron"),
            ("Ready", "True"),
            BOUND,
        )
        .await?;
    cluster.wait_for_replicas("default", "chatbot", 2, BOUND).await?;
    trial.kubectl("get scaledobject,hpa,deployment").await?;
    let hpa = trial.kubectl("get hpa keda-hpa-chatbot-cron -o name").await?;
    anyhow::ensure!(hpa.contains("keda-hpa-chatbot-cron"), "no HPA: {hpa}");

    let refused = cluster.apply(&scaled_object("chatbot-again").to_string()).await;
    let Err(refused) = refused else {
        anyhow::bail!("KEDA's webhook lets two ScaledObjects have the same Deployment");
    };
    let refused = format!("{refused:#}");
    anyhow::ensure!(
        refused.contains("admission webhook"),
        "it was refused by another: {refused}"
    );
    trial.evidence.command(
        "kubectl apply -f - # a second ScaledObject for the Deployment",
        &refused,
    );
    Ok(())
}

/// Open from the start of every hour to one second before the next; that second is not met by chance in a minute's test,
/// for the cooldown bridges it.
fn scaled_object(name: &str) -> serde_json::Value {
    json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "scaleTargetRef": { "name": "chatbot" },
            "minReplicaCount": 0,
            "maxReplicaCount": 3,
            "cooldownPeriod": 300,
            "pollingInterval": 5,
            "triggers": [{
                "type": "cron",
                "metadata": {
                    "timezone": "Etc/UTC",
                    "start": "0 0 * * *",
                    "end": "59 23 * * *",
                    "desiredReplicas": "2",
                },
            }],
        },
    })
}
