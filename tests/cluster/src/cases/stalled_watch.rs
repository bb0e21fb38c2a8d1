//! Connections to the API server on which nothing comes any longer and which nobody closes: a firewall has forgotten them.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::{FutureExt as _, future::try_join_all};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use tokio::time::Instant;

use super::{
    applications::{self, Application, Up},
    interceptors::{self, Interceptor},
    traffic::{self, Stream},
};
use crate::{
    case::{Case, Need},
    cluster::{
        Cluster, Stalled,
        http::{self, Answer},
    },
    keda,
    trial::Trial,
    wait,
};

const NAMESPACE: &str = "stalled-watch";
const WARM: &str = "warm";
const COLD: &str = "cold";
const COLD_ROUTE: &str = "stalled-watch/cold";
/// Made while the watches stall.
const NEW: Application = Application {
    name: "new",
    ready_after: 0,
};
const BOUND: Duration = Duration::from_mins(1);
const ANSWER_BOUND: Duration = Duration::from_mins(3);
const LOOK: Duration = Duration::from_secs(5);
/// Nothing is deaf for longer than 40 s; and the time that a busy machine takes to do something about it.
const DEAF: Duration = Duration::from_secs(40 + 15);
/// A watch that is well hears something at least every 30 s, which is how long one lasts.
const WELL: f64 = 31.0;
/// How long traffic goes on afterwards: two polls of KEDA, in which a wrong scale to zero would show.
const AFTERWARDS: Duration = Duration::from_secs(35);

pub(super) const STALLED_WATCHES_ARE_NOTICED_AND_REPLACED: Case = Case {
    name: "stalled_watches_are_noticed_and_replaced",
    about: "Every connection that Rouse's pods have to the API server stalls at once: packets vanish, nobody closes anything; \
            new connections work. Traffic goes on. A request that is held, whose endpoint nobody is told of, and an \
            application that is made meanwhile are answered as soon as the watches are begun anew, which is 40 s later at \
            most. `rouse_watch_contact_age_seconds` shows the silence and its end.",
    needs: &[Need::Rouse, Need::OwnNodes],
    smoke: false,
    bound: Duration::from_mins(5),
    run: |trial| stalled(trial).boxed_local(),
};

async fn stalled(trial: &mut Trial) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    let applications = [(WARM, 0), (COLD, 25)].map(|(name, ready_after)| Application { name, ready_after });
    let service = applications::set_up(trial, NAMESPACE, &applications).await?;
    let both = interceptors::both(&cluster, BOUND).await?; // before anything is up that would go back to zero meanwhile
    applications::wake(service, WARM).await?;
    let warm = Up::note(&cluster, NAMESPACE, WARM).await?;
    let streams = [
        Stream::new("Traffic on new connections", service, WARM),
        Stream::new("Traffic on kept connections", service, WARM).on_kept_connections(4),
    ];
    let work = async {
        let held = http::get(both[0].proxy(), COLD, "/", ANSWER_BOUND);
        let fault = async {
            both[0].has(COLD_ROUTE, 1, BOUND).await?;
            // Known to the scaler, so that the wake is on its way.
            cluster
                .wait_for_desired_replicas(NAMESPACE, COLD, 1, BOUND)
                .await?;
            let stalled = stall_all(&cluster).await?;
            let since = Instant::now();
            let connections: usize = stalled.iter().map(Stalled::count).sum();
            let found = async {
                trial.apply(&NEW.objects(NAMESPACE)).await?;
                let first = tokio::try_join!(known(&both[0]), known(&both[1]))?;
                anyhow::Ok((since.elapsed(), first))
            }
            .await;
            for one in stalled {
                one.restore().await?;
            }
            let (known_after, silences) = found?;
            let answer = http::get(both[1].proxy(), NEW.name, "/", ANSWER_BOUND).await?;
            Ok((connections, known_after, silences, answer, since))
        };
        let held = async {
            let answer = held.await?;
            anyhow::ensure!(answer.status == 200, "the held request: {}", answer.summary());
            anyhow::Ok((answer, Instant::now()))
        };
        tokio::try_join!(fault, held)
    };
    let (flows, outcome) = Box::pin(traffic::during(&streams, AFTERWARDS, work)).await;
    let ((connections, known_after, silences, new, since), (held, held_until)) = outcome?;
    trial.evidence.note(format_args!(
        "{connections} connections stalled. The longest silences that the interceptors' watches told of: {:.1} s and {:.1} s. \
         The new application's route was known to both after {:.1} s.",
        silences.0,
        silences.1,
        known_after.as_secs_f64()
    ));
    trial
        .evidence
        .note(format_args!("The new application: {}", new.summary()));
    let held_after = held_until.saturating_duration_since(since);
    trial.evidence.note(format_args!(
        "The held request: {}, {:.1} s after the connections stalled.",
        held.summary(),
        held_after.as_secs_f64()
    ));
    for flow in &flows {
        flow.check(trial)?;
    }
    anyhow::ensure!(new.status == 200, "the new application: {}", new.summary());
    anyhow::ensure!(
        silences.0 > WELL && silences.1 > WELL,
        "nothing stalled, or nobody tells of it: silences of {silences:?}"
    );
    anyhow::ensure!(
        held_until > since,
        "the held request was answered before anything stalled"
    );
    anyhow::ensure!(
        known_after <= DEAF && held_after <= DEAF,
        "the watches were deaf for longer than 40 s"
    );
    warm.is_unchanged(&cluster).await?;
    trial.kubectl("get pods -n keda").await.map(drop)
}

/// Has the connections to the API server stall, of every pod of Rouse.
async fn stall_all(cluster: &Cluster) -> anyhow::Result<Vec<Stalled>> {
    const API_SERVER: u16 = 443;
    let pods: Api<Pod> = Api::namespaced(cluster.client(), keda::NAMESPACE);
    let rouse = ListParams::default().labels("app.kubernetes.io/part-of=keda-add-ons-http");
    let pods = pods.list(&rouse).await.context("list the pods")?.items;
    let pods = pods.iter().filter_map(|pod| pod.metadata.name.as_deref());
    try_join_all(pods.map(|pod| cluster.stall(keda::NAMESPACE, pod, API_SERVER))).await
}

/// Waits until an interceptor knows the new application's route. Gives the longest silence that it told of meanwhile.
async fn known(interceptor: &Interceptor) -> anyhow::Result<f64> {
    let mut longest = 0.0_f64;
    let what = format!("{} knows the new route", interceptor.pod);
    wait::until(&what, ANSWER_BOUND, async || {
        let silence = contact_age(interceptor).await?;
        longest = longest.max(silence);
        let queue = interceptor.knows("stalled-watch/new").await?;
        if queue {
            wait::done(())
        } else {
            wait::not_yet(format!("silent for {silence} s"))
        }
    })
    .await?;
    Ok(longest)
}

/// Of the watch of routes.
async fn contact_age(interceptor: &Interceptor) -> anyhow::Result<f64> {
    const SERIES: &str = "rouse_watch_contact_age_seconds{kind=\"HTTPScaledObject\"} ";
    let answer: Answer = http::get(interceptor.admin(), "localhost", "/metrics", LOOK).await?;
    let text = String::from_utf8_lossy(&answer.body);
    let value = text.lines().find_map(|line| line.strip_prefix(SERIES));
    value
        .context("no such metric")?
        .parse()
        .context("a metric is a number")
}
