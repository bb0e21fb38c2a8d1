//! One of two interceptors is lost, in three ways, while each holds a request and traffic flows through both: killed, cut off
//! from the network, stopped. The other goes on, and no application goes to zero for want of the lost one's word.

use std::{net::SocketAddr, time::Duration};

use futures_util::FutureExt as _;
use rustix::process::Signal;
use tokio::time::Instant;

use super::{
    applications::{self, Application, Up},
    interceptors::{self, Interceptor},
    traffic::{self, Stream},
};
use crate::{
    case::{Case, Need},
    cluster::http::{self, Answer},
    keda,
    trial::Trial,
};

const NAMESPACE: &str = "lost-interceptor";
/// What traffic flows to by the Service and by the interceptor that stays.
const WARM: &str = "warm";
/// What only the interceptor that is lost has requests for.
const LONE: &str = "lone";
/// What both hold a request for.
const COLD: &str = "cold";
/// What is woken while one is lost.
const LATER: &str = "later";
const COLD_ROUTE: &str = "lost-interceptor/cold";
const LONE_ROUTE: &str = "lost-interceptor/lone";
const NEEDS: &[Need] = &[Need::Rouse, Need::OwnNodes];
const BOUND: Duration = Duration::from_mins(1);
/// Longer than any fault here with a wake after it.
const ANSWER_BOUND: Duration = Duration::from_mins(3);
/// How many clients keep a connection to each interceptor.
const CLIENTS: usize = 4;
/// How long traffic goes on after the last answer: two polls of KEDA, in which a wrong scale to zero would show.
const AFTERWARDS: Duration = Duration::from_secs(35);

pub(super) const KILLED_INTERCEPTOR_LOSES_ONLY_WHAT_IT_HELD: Case = Case {
    name: "killed_interceptor_loses_only_what_it_held",
    about: "One of two interceptors is killed (SIGKILL). Both hold a request, each has clients that keep their connections, and \
            traffic comes by the Service too. What the killed one held is lost, and its clients see that: the connection \
            ends, no half answer is taken for a whole one. Nobody else loses anything. A connection that is refused until the \
            Service leaves the dead one out was held by nobody, and is counted apart. The application that only the killed \
            one had requests for stays up while its counts are gone.",
    needs: NEEDS,
    smoke: true,
    bound: Duration::from_mins(4),
    run: |trial| killed(trial).boxed_local(),
};

async fn killed(trial: &mut Trial) -> anyhow::Result<()> {
    let scene = Scene::set_up(trial).await?;
    let cluster = trial.cluster().clone();
    let Scene { lost, other, .. } = &scene;
    let streams = scene.streams(Duration::from_secs(20));
    let fault = async {
        let held = http::get(lost.proxy(), COLD, "/", ANSWER_BOUND);
        let (killed_at, held_by_lost, held_by_other) = tokio::join!(
            async {
                scene.both_hold().await?;
                cluster
                    .signal_pod(keda::NAMESPACE, &lost.pod, Signal::KILL)
                    .await?;
                anyhow::Ok(Instant::now())
            },
            held,
            scene.held_by(other),
        );
        anyhow::ensure!(
            held_by_lost.is_err(),
            "what the killed one held was answered: {held_by_lost:?}"
        );
        let again = http::get(other.proxy(), COLD, "/", ANSWER_BOUND).await?;
        anyhow::ensure!(again.status == 200, "sent again: {}", again.summary());
        cluster
            .wait_for_available(keda::NAMESPACE, "keda-add-ons-http-interceptor", BOUND)
            .await?;
        Ok((killed_at?, held_by_other?, held_by_lost))
    };
    let (flows, outcome) = Box::pin(traffic::during(&streams, AFTERWARDS, fault)).await;
    let (killed_at, answer, lost_answer) = outcome?;
    trial
        .evidence
        .note(format_args!("Held by the one that stayed: {}", answer.summary()));
    if let Err(error) = lost_answer {
        trial
            .evidence
            .note(format_args!("Held by the killed one: {error:#}"));
    }
    let [by_lost, by_other, by_service] = &flows[..] else {
        anyhow::bail!("three streams have three flows");
    };
    by_lost.check_killed(trial, killed_at, BOUND)?;
    by_other.check(trial)?;
    by_service.check_killed(trial, killed_at, Duration::from_secs(20))?;
    scene.lone.is_unchanged(&cluster).await?;
    scene.is_over(trial).await
}

pub(super) const BLACK_HOLED_INTERCEPTOR_IS_DONE_WITHOUT: Case = Case {
    name: "black_holed_interceptor_is_done_without",
    about: "The packets of one of two interceptors vanish for 80 s, longer than its last counts stand (60 s). Meanwhile the \
            other serves its traffic, wakes an application and answers what it holds. The silent one has a request in \
            flight, for an application that nobody else has requests for: it is not called idle. When the network is back, \
            everything that the silent one had is answered as well.",
    needs: NEEDS,
    smoke: false,
    bound: Duration::from_mins(6),
    run: |trial| black_holed(trial).boxed_local(),
};

async fn black_holed(trial: &mut Trial) -> anyhow::Result<()> {
    const SILENT: Duration = Duration::from_secs(80);
    /// Its answer, after 60 s, finds no way back.
    const SLOW: &str = "/delay/60";
    let scene = Scene::set_up(trial).await?;
    let cluster = trial.cluster().clone();
    let Scene { lost, other, .. } = &scene;
    // What is on its way when the network goes is sent again by TCP, up to as long after as the network was gone.
    let streams = [
        scene.to_lost(WARM).with_patience(SILENT * 3),
        scene.to_other(),
        Stream::new("Traffic on new connections to the other", other.proxy(), WARM),
    ];
    let fault = async {
        scene.both_hold().await?;
        lost.has(LONE_ROUTE, 1, BOUND).await?;
        let cut = cluster.cut_off(keda::NAMESPACE, &lost.pod).await?;
        let silent = Instant::now();
        let meanwhile = async {
            let woken = http::get(other.proxy(), LATER, "/", BOUND).await?;
            anyhow::ensure!(woken.status == 200, "woken meanwhile: {}", woken.summary());
            tokio::time::sleep(SILENT.saturating_sub(silent.elapsed())).await; // the fault itself
            scene.lone.is_unchanged(&cluster).await?;
            anyhow::Ok(woken)
        }
        .await;
        cut.restore().await?;
        meanwhile
    };
    let slow = async {
        let answer = http::get(lost.proxy(), LONE, SLOW, ANSWER_BOUND).await?;
        // Idle from now on.
        scene.lone.is_unchanged(&cluster).await?;
        anyhow::ensure!(answer.status == 200, "in flight: {}", answer.summary());
        anyhow::ensure!(
            answer.total >= SILENT,
            "the silent interceptor answered: {}",
            answer.summary()
        );
        Ok(answer)
    };
    let work = async { tokio::try_join!(fault, slow, scene.held_by(lost), scene.held_by(other)) };
    let (flows, outcome) = Box::pin(traffic::during(&streams, AFTERWARDS, work)).await;
    let (woken, slow, by_lost, by_other) = outcome?;
    anyhow::ensure!(
        by_lost.total >= SILENT && by_other.total < SILENT,
        "held by the silent one: {}, by the other: {}",
        by_lost.summary(),
        by_other.summary()
    );
    for (what, answer) in [
        ("Woken meanwhile", &woken),
        ("Held by the other", &by_other),
        ("Held by the silent one", &by_lost),
        ("In flight at the silent one", &slow),
    ] {
        trial.evidence.note(format_args!("{what}: {}", answer.summary()));
    }
    for flow in &flows {
        flow.check(trial)?;
    }
    scene.is_over(trial).await
}

pub(super) const STOPPED_INTERCEPTOR_ANSWERS_WHEN_IT_GOES_ON: Case = Case {
    name: "stopped_interceptor_answers_when_it_goes_on",
    about: "One of two interceptors is stopped (SIGSTOP) for 30 s: its connections stay open, the kernel accepts new ones for \
            it, and nothing answers. Everything is answered in the end, what the other one has without delay.",
    needs: NEEDS,
    smoke: false,
    bound: Duration::from_mins(4),
    run: |trial| stopped(trial).boxed_local(),
};

async fn stopped(trial: &mut Trial) -> anyhow::Result<()> {
    const STOPPED: Duration = Duration::from_secs(30);
    let scene = Scene::set_up(trial).await?;
    let cluster = trial.cluster().clone();
    let Scene { lost, other, .. } = &scene;
    let streams = scene.streams(STOPPED * 2);
    let fault = async {
        scene.both_hold().await?;
        cluster
            .signal_pod(keda::NAMESPACE, &lost.pod, Signal::STOP)
            .await?;
        let stopped = Instant::now();
        let woken = http::get(other.proxy(), LATER, "/", STOPPED).await;
        tokio::time::sleep(STOPPED.saturating_sub(stopped.elapsed())).await; // the fault itself
        cluster
            .signal_pod(keda::NAMESPACE, &lost.pod, Signal::CONT)
            .await?;
        let woken = woken?;
        anyhow::ensure!(woken.status == 200, "woken meanwhile: {}", woken.summary());
        Ok(woken)
    };
    let held = async {
        tokio::try_join!(fault, scene.held_by(lost), async {
            let answer = scene.held_by(other).await?;
            anyhow::ensure!(
                answer.total < STOPPED,
                "the other interceptor waited for the stopped one: {}",
                answer.summary()
            );
            Ok(answer)
        })
    };
    let (flows, outcome) = Box::pin(traffic::during(&streams, AFTERWARDS, held)).await;
    let (woken, by_lost, by_other) = outcome?;
    for (what, answer) in [
        ("Woken meanwhile", &woken),
        ("Held by the other", &by_other),
        ("Held by the stopped one", &by_lost),
    ] {
        trial.evidence.note(format_args!("{what}: {}", answer.summary()));
    }
    for flow in &flows {
        flow.check(trial)?;
    }
    scene.lone.is_unchanged(&cluster).await?;
    scene.is_over(trial).await
}

/// Four applications, two of them up, and the two interceptors.
struct Scene {
    service: SocketAddr,
    /// The one to which something happens.
    lost: Interceptor,
    other: Interceptor,
    warm: Up,
    lone: Up,
}

impl Scene {
    async fn set_up(trial: &mut Trial) -> anyhow::Result<Self> {
        let applications = [(WARM, 0), (LONE, 0), (COLD, 8), (LATER, 8)]
            .map(|(name, ready_after)| Application { name, ready_after });
        let service = applications::set_up(trial, NAMESPACE, &applications).await?;
        let cluster = trial.cluster();
        let [lost, other] = interceptors::both(cluster, BOUND).await?;
        for name in [WARM, LONE] {
            applications::wake(other.proxy(), name).await?;
        }
        Ok(Self {
            service,
            lost,
            other,
            warm: Up::note(cluster, NAMESPACE, WARM).await?,
            lone: Up::note(cluster, NAMESPACE, LONE).await?,
        })
    }

    /// Traffic on kept connections to either interceptor, and on new ones by the Service.
    fn streams(&self, patience: Duration) -> [Stream; 3] {
        [
            self.to_lost(LONE).with_patience(patience),
            self.to_other(),
            Stream::new("Traffic on new connections by the Service", self.service, WARM)
                .with_patience(patience),
        ]
    }

    fn to_lost(&self, host: &str) -> Stream {
        Stream::new(
            "Traffic on kept connections to the one that is lost",
            self.lost.proxy(),
            host,
        )
        .on_kept_connections(CLIENTS)
    }

    fn to_other(&self) -> Stream {
        Stream::new(
            "Traffic on kept connections to the other",
            self.other.proxy(),
            WARM,
        )
        .on_kept_connections(CLIENTS)
    }

    /// Waits until each holds a request.
    async fn both_hold(&self) -> anyhow::Result<()> {
        self.lost.has(COLD_ROUTE, 1, BOUND).await?;
        self.other.has(COLD_ROUTE, 1, BOUND).await
    }

    async fn held_by(&self, interceptor: &Interceptor) -> anyhow::Result<Answer> {
        let answer = http::get(interceptor.proxy(), COLD, "/", ANSWER_BOUND).await?;
        anyhow::ensure!(
            answer.status == 200,
            "held by {}: {}",
            interceptor.pod,
            answer.summary()
        );
        Ok(answer)
    }

    /// Nothing that was in use has been scaled, and there are two interceptors again.
    async fn is_over(&self, trial: &mut Trial) -> anyhow::Result<()> {
        let cluster = trial.cluster().clone();
        self.warm.is_unchanged(&cluster).await?;
        trial.kubectl("get deployments -n lost-interceptor").await?;
        trial.kubectl("get pods -n keda").await?;
        cluster
            .wait_for_available(keda::NAMESPACE, "keda-add-ons-http-interceptor", BOUND)
            .await
    }
}
