//! The interceptors are rolled out while both hold a request and traffic flows by their Service.

use std::time::Duration;

use futures_util::FutureExt as _;

use super::{
    applications::{self, Application, Up},
    interceptors,
    traffic::{self, Stream},
};
use crate::{
    case::{Case, Need},
    cluster::http,
    trial::Trial,
};

const NAMESPACE: &str = "interceptor-rollout";
const WARM: &str = "warm";
const COLD: &str = "cold";
const COLD_ROUTE: &str = "interceptor-rollout/cold";
const BOUND: Duration = Duration::from_mins(1);
const ANSWER_BOUND: Duration = Duration::from_mins(3);
/// How long traffic goes on after the rollout: two polls of KEDA, in which a wrong scale to zero would show.
const AFTERWARDS: Duration = Duration::from_secs(35);

pub(super) const ROLLOUT_OF_THE_INTERCEPTOR_LOSES_NOTHING: Case = Case {
    name: "rollout_of_the_interceptor_loses_nothing",
    about: "`kubectl rollout restart` of the interceptors while each holds a request whose application takes 25 s, and while \
            traffic flows by their Service, on new and on kept connections. None is lost: who leaves answers what he holds \
            first, and tells the others on their last answer to come on another connection.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(5),
    run: |trial| rolled_out(trial).boxed_local(),
};

async fn rolled_out(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let applications = [(WARM, 0), (COLD, 25)].map(|(name, ready_after)| Application { name, ready_after });
    let service = applications::set_up(trial, NAMESPACE, &applications).await?;
    let both = interceptors::both(&cluster, BOUND).await?; // before anything is up that would go back to zero meanwhile
    applications::wake(service, WARM).await?;
    let warm = Up::note(&cluster, NAMESPACE, WARM).await?;
    let streams = [
        Stream::new("Traffic on new connections", service, WARM),
        Stream::new("Traffic on kept connections", service, WARM).on_kept_connections(8),
    ];
    let held = async |one: &interceptors::Interceptor| {
        let answer = http::get(one.proxy(), COLD, "/", ANSWER_BOUND).await?;
        anyhow::ensure!(answer.status == 200, "held by {}: {}", one.pod, answer.summary());
        anyhow::Ok(answer)
    };
    let work = async {
        tokio::try_join!(
            async {
                for one in &both {
                    one.has(COLD_ROUTE, 1, BOUND).await?;
                }
                roll_out(trial).await
            },
            held(&both[0]),
            held(&both[1]),
        )
    };
    let (flows, outcome) = Box::pin(traffic::during(&streams, AFTERWARDS, work)).await;
    let ((), one, other) = outcome?;
    for answer in [one, other] {
        trial.evidence.note(format_args!("Held: {}", answer.summary()));
    }
    for flow in &flows {
        flow.check(trial)?;
    }
    warm.is_unchanged(&cluster).await?;
    trial.kubectl("get pods -n keda").await.map(drop)
}

/// Restarts the interceptors, and waits until those that came for them are ready.
pub(super) async fn roll_out(trial: &mut Trial) -> anyhow::Result<()> {
    trial
        .kubectl("rollout restart deployment -n keda keda-add-ons-http-interceptor")
        .await?;
    trial
        .kubectl("rollout status deployment -n keda keda-add-ons-http-interceptor --timeout=120s")
        .await?;
    trial.kubectl("get pods -n keda").await.map(drop)
}
