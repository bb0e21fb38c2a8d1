//! What Rouse is for: a request to an application at zero is held, the application wakes, the request is answered.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;

use crate::{
    case::{Case, Need},
    keda,
    trial::Trial,
};

const READY_BOUND: Duration = Duration::from_mins(1);
const COLD_BOUND: Duration = Duration::from_mins(1);
/// An answer that took no wake: orders of magnitude above what it takes, and below what a wake takes.
const WARM: Duration = Duration::from_millis(300);
/// The manifest's `scaledownPeriod` and two polling intervals of 15 s, and then the pod has to end.
const SCALED_DOWN: Duration = Duration::from_secs(60 + 2 * 15 + 15);

pub(super) const CHATBOT_WAKES_FROM_ZERO: Case = Case {
    name: "chatbot_wakes_from_zero",
    about: "The user's manifests, unmodified but for the content of the image, and the user's way to try them: a port-forward \
            to the interceptor and `curl` with the host. The first request wakes the application through KEDA and is \
            answered, the second takes milliseconds; after `scaledownPeriod` and at most two polling intervals the pod \
            is gone, and its HPA idle.",
    needs: &[Need::Rouse],
    smoke: true,
    bound: Duration::from_mins(6),
    run: |trial| chatbot_wakes_from_zero(trial).boxed_local(),
};

async fn chatbot_wakes_from_zero(trial: &mut Trial) -> anyhow::Result<()> {
    const HOST: &str = "chatbot.example.com";
    let cluster = trial.cluster().clone();
    trial.apply_file("examples/chatbot.yaml").await?;
    trial.apply_file("examples/chatbot-http-scaler.yaml").await?;
    let scaled_object = ("keda.sh/v1alpha1", "ScaledObject");
    let chatbot = ("default", "chatbot");
    cluster
        .wait_for_condition(scaled_object, chatbot, ("Ready", "True"), READY_BOUND)
        .await?;
    let http_scaled_object = ("http.keda.sh/v1alpha1", "HTTPScaledObject");
    cluster
        .wait_for_condition(http_scaled_object, chatbot, ("Ready", "True"), READY_BOUND)
        .await?;
    cluster
        .wait_for_replicas("default", "chatbot", 0, READY_BOUND)
        .await?;
    trial
        .kubectl("get httpscaledobject,scaledobject,hpa,deployment")
        .await?;

    let forward = cluster
        .port_forward(keda::NAMESPACE, "svc/keda-add-ons-http-interceptor-proxy", 8080)
        .await?;
    let cold = trial.get(forward.addr(), HOST, "/", COLD_BOUND).await?;
    anyhow::ensure!(cold.status == 200, "the cold request: {}", cold.summary());
    let warm = trial.get(forward.addr(), HOST, "/", COLD_BOUND).await?;
    let last = Instant::now();
    anyhow::ensure!(
        warm.status == 200 && warm.total < WARM,
        "the warm request: {}",
        warm.summary()
    );
    trial.kubectl("get pods").await?;

    let hpa = ("autoscaling/v2", "HorizontalPodAutoscaler");
    let active = ("ScalingActive", "True");
    cluster
        .wait_for_condition(hpa, ("default", "keda-hpa-chatbot"), active, READY_BOUND)
        .await?;
    trial.kubectl("get hpa").await?;
    cluster
        .wait_for_replicas("default", "chatbot", 0, SCALED_DOWN)
        .await?;
    let seconds = last.elapsed().as_secs();
    trial
        .evidence
        .note(format_args!("At zero {seconds} s after the last request:"));
    let inactive = ("ScalingActive", "False");
    cluster
        .wait_for_condition(hpa, ("default", "keda-hpa-chatbot"), inactive, READY_BOUND)
        .await?;
    trial.kubectl("get deployment,hpa").await?;
    Ok(())
}
