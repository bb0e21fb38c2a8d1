//! How many replicas there are, and what their end costs.

use std::time::Duration;

use futures_util::{FutureExt as _, future::join_all};
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    Group, Scene,
    manifests::App,
    place::Place,
    request::{get, send, verdict, within},
    sights::Sights,
};
use crate::wait;

/// Until the metrics have made as many replicas as there may be.
const SCALED_OUT: Duration = Duration::from_mins(2);
/// `scaledownPeriod` and two of KEDA's polling intervals; on a busy machine its loop is late.
const ASLEEP_SECONDS: u64 = 10 + 2 * 15 + 20;

pub(super) const GROUP: Group = Group {
    namespace: "parity-scaling",
    apps,
    scenes: &[
        Scene {
            title: "A replica that is asked to end while it answers",
            play: |place, sights| graceful_end(place, sights).boxed_local(),
        },
        Scene {
            title: "From zero to three and back, on concurrency",
            play: |place, sights| zero_to_three(place, sights).boxed_local(),
        },
        Scene {
            title: "From zero to one and back",
            play: |place, sights| zero_to_one(place, sights).boxed_local(),
        },
        Scene {
            title: "One replica at least",
            play: |place, sights| minimum(place, sights).boxed_local(),
        },
    ],
    left_out: &[
        (
            "a Deployment that has a HorizontalPodAutoscaler, or a ScaledObject, of the user's own",
            "`rouse local` has neither.",
        ),
        (
            "scaling in from several replicas to fewer, but not to none",
            "The autoscaler waits five minutes before it does, in both places; component tests of `rouse local` turn its clock.",
        ),
    ],
};

fn apps() -> Vec<App> {
    vec![
        App::new(
            "minimum",
            json!({ "hosts": ["minimum.test"], "replicas": { "min": 1, "max": 2 } }),
        )
        .written_with(1),
        App::new(
            "ending",
            json!({ "hosts": ["ending.test"], "scaledownPeriod": 60 }),
        ),
        App::new(
            "loaded",
            json!({
                "hosts": ["loaded.test"],
                "replicas": { "min": 0, "max": 3 },
                "scalingMetric": { "concurrency": { "targetValue": 2 } },
            }),
        ),
        App::new("single", json!({ "hosts": ["single.test"] })),
    ]
}

async fn minimum(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    // The last of the scenes: nothing was asked of it meanwhile, for longer than it takes others to fall asleep.
    let scaled = place.scaled("minimum");
    sights.saw("replicas, without a request", "[1]", format_args!("{scaled:?}"));
    let answer = get(place, "minimum.test", "/").await?;
    sights.saw(
        "a request",
        "200, x-keda-http-cold-start: false",
        verdict(&answer),
    );
    Ok(())
}

async fn graceful_end(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    let woken = get(place, "ending.test", "/").await?;
    sights.saw("woken", "200, x-keda-http-cold-start: true", verdict(&woken));
    let answer = send(place, Method::POST, "ending.test", "/delay/5", &[], "");
    let meanwhile = async {
        let counted = place.queued_at("ending", 1).await;
        // That it is counted does not say that it has reached the application.
        wait::until("the application has it", SCALED_OUT, async || {
            let executed = get(place, "ending.test", "/executed").await?;
            let executed: Value = serde_json::from_slice(&executed.body)?;
            if executed["in_flight"] == 1 {
                wait::done(())
            } else {
                wait::not_yet(executed.to_string())
            }
        })
        .await?;
        place.end_replicas("ending").await?;
        anyhow::Ok(counted)
    };
    let (answer, counted) = tokio::try_join!(answer, meanwhile)?;
    sights.saw("counted while it is answered", 1, counted);
    sights.saw(
        "what it is answered",
        "200, x-keda-http-cold-start: false",
        verdict(&answer),
    );
    let next = send(place, Method::POST, "ending.test", "/echo", &[], "body").await?;
    sights.saw("the next POST", 200, next.status.as_u16());
    let scaled = place.scaled("ending");
    sights.saw("replicas", "[0, 1]", format_args!("{scaled:?}"));
    Ok(())
}

async fn zero_to_three(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    let is_scaled_out = |scaled: &[u32]| scaled.last() == Some(&3);
    let scaled_out = place.scaled_until("loaded", SCALED_OUT, is_scaled_out);
    let clients = (0..8).map(|_| async {
        let mut answers = 0;
        // Until there are three replicas, and that has a bound.
        while !is_scaled_out(&place.scaled("loaded")) {
            let answer = get(place, "loaded.test", "/delay/1").await?;
            anyhow::ensure!(answer.status == 200, "under load: {}", answer.summary());
            answers += 1;
        }
        anyhow::Ok(answers)
    });
    let (scaled, clients) = tokio::select! {
        both = async { tokio::join!(scaled_out, join_all(clients)) } => both,
        () = sleep(SCALED_OUT + Duration::from_mins(1)) => anyhow::bail!("the load does not end"),
    };
    let scaled = scaled?;
    let mut lost = 0;
    for answers in clients {
        lost += u32::from(answers? == 0);
    }
    sights.saw("clients of 8 without an answer", 0, lost);
    sights.saw(
        "the first step",
        "[0, 1]",
        format_args!("{:?}", scaled.get(..2).unwrap_or_default()),
    );
    sights.saw(
        "the most replicas",
        3,
        scaled.iter().max().copied().unwrap_or_default(),
    );
    let asleep = place
        .scaled_until("loaded", Duration::from_secs(ASLEEP_SECONDS + 60), ends_at_zero)
        .await?;
    let tail = asleep.get(scaled.len() - 1..).unwrap_or_default();
    sights.saw("the way back", "[3, 0]", format_args!("{tail:?}"));
    Ok(())
}

fn ends_at_zero(scaled: &[u32]) -> bool {
    scaled.len() > 1 && scaled.last() == Some(&0)
}

async fn zero_to_one(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    let answer = get(place, "single.test", "/").await?;
    let answered = Instant::now();
    sights.saw("a request", "200, x-keda-http-cold-start: true", verdict(&answer));
    let scaled = place
        .scaled_until("single", Duration::from_secs(ASLEEP_SECONDS + 60), ends_at_zero)
        .await?;
    sights.saw("replicas", "[0, 1, 0]", format_args!("{scaled:?}"));
    sights.saw(
        "asleep after, with scaledownPeriod: 10",
        format_args!("10 to {ASLEEP_SECONDS} s"),
        within(answered.elapsed(), 10, ASLEEP_SECONDS),
    );
    // Until its endpoint is gone too, a replica that is to end may still answer.
    place.gone("single").await?;
    let answer = get(place, "single.test", "/").await?;
    sights.saw(
        "the next request",
        "200, x-keda-http-cold-start: true",
        verdict(&answer),
    );
    Ok(())
}
