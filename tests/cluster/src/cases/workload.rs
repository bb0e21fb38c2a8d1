//! The user's application, before anything scales it.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::{net::TcpStream, time::timeout};

use crate::{case::Case, trial::Trial};

pub(super) const CHATBOT_ANSWERS_WHEN_SCALED_BY_HAND: Case = Case {
    name: "chatbot_answers_when_scaled_by_hand",
    about: "The user's own manifests, unmodified but for the content of the image: scaled to one by hand, a pod answers \
            through the Service and by `kubectl port-forward`; scaled to zero, it goes.",
    needs: &[],
    smoke: true,
    bound: Duration::from_mins(3),
    run: |trial| chatbot_answers_when_scaled_by_hand(trial).boxed_local(),
};

async fn chatbot_answers_when_scaled_by_hand(trial: &mut Trial) -> anyhow::Result<()> {
    const BOUND: Duration = Duration::from_mins(1);
    const CONNECT_BOUND: Duration = Duration::from_secs(1);
    let cluster = trial.cluster().clone();
    trial.apply_file("examples/chatbot.yaml").await?;
    trial.kubectl("scale deployment chatbot --replicas=1").await?;
    cluster.wait_for_replicas("default", "chatbot", 1, BOUND).await?;
    trial.kubectl("get pods -o wide").await?;

    // Ready without a probe is ready before it listens.
    let reach = cluster.reach("default", "chatbot", 8000).await?;
    cluster
        .wait_for("the pod listens", BOUND, async || {
            // Short: where kube-proxy does not know the Service yet, this attempt never succeeds, and the next one may.
            timeout(CONNECT_BOUND, TcpStream::connect(reach.addr())).await??;
            crate::wait::done(())
        })
        .await?;
    let answer = trial.get(reach.addr(), "chatbot", "/", BOUND).await?;
    anyhow::ensure!(answer.status == 200, "through the Service: {}", answer.summary());
    let forward = cluster.port_forward("default", "svc/chatbot", 8000).await?;
    let answer = trial.get(forward.addr(), "chatbot", "/", BOUND).await?;
    anyhow::ensure!(answer.status == 200, "by port-forward: {}", answer.summary());

    trial.kubectl("scale deployment chatbot --replicas=0").await?;
    cluster.wait_for_replicas("default", "chatbot", 0, BOUND).await
}
