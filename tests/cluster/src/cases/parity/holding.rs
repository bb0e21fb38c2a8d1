//! How long and how many requests are held, and how a hold ends.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use futures_util::{FutureExt as _, future::join_all};
use http::Method;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet, time::Instant};

use super::{
    Group, Scene,
    manifests::App,
    place::Place,
    request::{Http2, fields, get, nothing, send, text, told, verdict, within},
    sights::Sights,
};
use crate::wait;

/// How many requests of a route an interceptor holds when nothing else is set, in both places.
const MOST_PENDING: u64 = 1_000;
/// Below what a client may have open on one connection.
const STREAMS: u64 = 250;
/// Far more than it takes to fill one of several interceptors.
const MOST_SENT: u64 = 12_000;
const SETTLED_BOUND: Duration = Duration::from_secs(30);

pub(super) const GROUP: Group = Group {
    namespace: "parity-holding",
    apps,
    scenes: &[
        Scene {
            title: "An application that does not get ready in time",
            play: |place, sights| readiness_timeout(place, sights).boxed_local(),
        },
        Scene {
            title: "… with a fallback",
            play: |place, sights| fallback(place, sights).boxed_local(),
        },
        Scene {
            title: "A client that leaves while its POST is held",
            play: |place, sights| client_leaves(place, sights).boxed_local(),
        },
        Scene {
            title: "More requests than may be held",
            play: |place, sights| pending_limit(place, sights).boxed_local(),
        },
        Scene {
            title: "An application without a probe that listens 2 s late",
            play: |place, sights| late_listener(place, sights).boxed_local(),
        },
        Scene {
            title: "An application that breaks its connection off",
            play: |place, sights| broken_off(place, sights).boxed_local(),
        },
        Scene {
            title: "An application that takes longer than it may",
            play: |place, sights| response_header_timeout(place, sights).boxed_local(),
        },
    ],
    left_out: &[
        (
            "a route whose Service, or whose port, does not exist",
            "`rouse local` does not start with such manifests; the words are compared in parity_with_rouse_local_messages.",
        ),
        (
            "an interceptor that is replaced while requests are held",
            "`rouse local` is one process. In the cluster: addon_graceful_shutdown.",
        ),
    ],
};

fn apps() -> Vec<App> {
    vec![
        App::new(
            "never",
            json!({ "hosts": ["never.test"], "timeouts": { "conditionWait": "10s" } }),
        )
        .probed_at("/status/503"),
        App::new(
            "failing-over",
            json!({
                "hosts": ["failing-over.test"],
                "coldStartTimeoutFailoverRef": { "service": "spare", "port": 8000, "timeoutSeconds": 2 },
            }),
        )
        .probed_at("/status/503"),
        App::always("spare"),
        App::new("slow", json!({ "hosts": ["slow.test"] })).with_arguments(&["--ready-delay=4s"]),
        App::new(
            "full",
            json!({ "hosts": ["full.test"], "timeouts": { "conditionWait": "120s" } }),
        )
        .probed_at("/status/503"),
        App::new("late", json!({ "hosts": ["late.test"] }))
            .unprobed()
            .with_arguments(&["--listen-delay=2s"]),
        App::new("aborting-post", json!({ "hosts": ["aborting-post.test"] }))
            .with_arguments(&["--abort-requests=1"]),
        App::new("aborting-get", json!({ "hosts": ["aborting-get.test"] }))
            .with_arguments(&["--abort-requests=1"]),
        App::new(
            "lazy",
            json!({ "hosts": ["lazy.test"], "timeouts": { "responseHeader": "1s" } }),
        ),
    ]
}

async fn readiness_timeout(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    let http2 = Http2::connect(place).await?;
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    let mut held = Box::pin(async {
        tokio::try_join!(
            get(place, "never.test", "/"),
            send(place, Method::POST, "never.test", "/echo", &[], "body"),
            http2.send(Method::POST, "never.test", "/a.B/C", &grpc, nothing()),
        )
    });
    let counted = tokio::select! {
        ended = &mut held => anyhow::bail!("it was to be held: {ended:?}"),
        counted = place.queued_at("never", 3) => counted,
    };
    sights.saw("counted while three are held", 3, counted);
    let (answer, post, call) = held.await?;
    sights.saw("GET", "504, rouse-error: readiness_timeout", verdict(&answer));
    sights.saw("its body", text(b"Gateway Timeout\n"), text(&answer.body));
    sights.saw_alike("its header", fields(&answer.headers));
    sights.saw(
        "its time, with conditionWait: 10s",
        "10 to 20 s",
        within(answer.total, 10, 20),
    );
    sights.saw("POST", "504, rouse-error: readiness_timeout", verdict(&post));
    sights.saw(
        "a gRPC call",
        "200, grpc-status: 4, grpc-message: readiness_timeout",
        told(call.status, &call.headers, &["grpc-status", "grpc-message"]),
    );
    sights.saw("counted afterwards", 0, place.queued_at("never", 0).await);
    Ok(())
}

async fn fallback(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    let answer = get(place, "failing-over.test", "/").await?;
    // As the add-on: the header speaks of the target, which did not answer.
    sights.saw("status", "200", verdict(&answer));
    let info: Value = serde_json::from_slice(&answer.body).context("read what / answered")?;
    sights.saw(
        "who answers",
        "spare",
        info["message"].as_str().unwrap_or_default(),
    );
    sights.saw(
        "its time, with timeoutSeconds: 2",
        "2 to 7 s",
        within(answer.total, 2, 7),
    );
    Ok(())
}

async fn client_leaves(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(place.proxy()).await.context("connect")?;
    let request =
        "POST /echo HTTP/1.1\r\nhost: slow.test\r\nx-request-id: left\r\ncontent-length: 4\r\n\r\nbody";
    stream
        .write_all(request.as_bytes())
        .await
        .context("send a request")?;
    sights.saw("counted while it is held", 1, place.queued_at("slow", 1).await);
    drop(stream);
    sights.saw("counted after it has left", 0, place.queued_at("slow", 0).await);
    let headers = [("x-request-id", "stayed")];
    let answer = send(place, Method::POST, "slow.test", "/echo", &headers, "body").await?;
    sights.saw(
        "the next one",
        "200, x-keda-http-cold-start: true",
        verdict(&answer),
    );
    let executed = get(place, "slow.test", "/executed").await?;
    let executed: Value = serde_json::from_slice(&executed.body).context("read what /executed answered")?;
    sights.saw("what was executed", r#"{"stayed":1}"#, &executed["by_id"]);
    let scaled = place.scaled("slow");
    sights.saw("replicas", "[0, 1]", format_args!("{scaled:?}"));
    Ok(())
}

async fn pending_limit(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    let mut requests = JoinSet::new();
    let mut sent = 0;
    let mut refused = 0;
    let mut full = None;
    // The bound is each interceptor's own, and which one a connection ends in is not for the client to say: so many
    // connections as it takes until one of them is full.
    while full.is_none() && sent < MOST_SENT {
        let http2 = Arc::new(Http2::connect(place).await?);
        for _ in 0..STREAMS {
            let http2 = Arc::clone(&http2);
            requests.spawn(async move {
                let none = nothing();
                http2.send(Method::GET, "full.test", "/", &[], none).await
            });
            sent += 1;
        }
        wait::until("each is held or refused", SETTLED_BOUND, async || {
            while let Some(ended) = requests.try_join_next() {
                let answer = ended.context("a request panicked")??;
                anyhow::ensure!(answer.status == 503, "{}", answer.status);
                refused += 1;
            }
            match place.queued("full").await? {
                held if held + refused == sent => wait::done(()),
                held => wait::not_yet(format!("{held} held, {refused} refused of {sent}")),
            }
        })
        .await?;
        full = (refused > 0).then_some(http2);
    }
    let full = full.with_context(|| format!("none of {sent} is refused"))?;
    let most = place.most_queued("full").await?;
    sights.saw("held by an interceptor that is full", MOST_PENDING, most);
    let started = Instant::now();
    let none = nothing();
    let one_more = full.send(Method::GET, "full.test", "/", &[], none).await?;
    sights.saw(
        "one more",
        "503, rouse-error: pending_limit, retry-after: 1",
        told(
            one_more.status,
            &one_more.headers,
            &["rouse-error", "retry-after"],
        ),
    );
    sights.saw("its time", "0 to 5 s", within(started.elapsed(), 0, 5));
    sights.saw("its body", text(b"Service Unavailable\n"), text(&one_more.body));
    sights.saw_alike("its header", fields(&one_more.headers));
    drop(requests);
    sights.saw("counted after all have left", 0, place.queued_at("full", 0).await);
    Ok(())
}

async fn late_listener(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    let requests = (0..5).map(|_| send(place, Method::POST, "late.test", "/echo", &[], "body"));
    for (number, answer) in (1..).zip(join_all(requests).await) {
        let answer = answer?;
        let what = format!("POST {number} of 5");
        sights.saw(what, "200, x-keda-http-cold-start: true", verdict(&answer));
    }
    Ok(())
}

async fn broken_off(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    let answer = send(place, Method::POST, "aborting-post.test", "/echo", &[], "body").await?;
    sights.saw_alike("POST: the header", fields(&answer.headers));
    let shown = told(answer.status, &answer.headers, &["rouse-error"]);
    sights.saw("POST: not sent again", "502, rouse-error: upstream_reset", shown);
    let answer = get(place, "aborting-get.test", "/").await?;
    let shown = told(answer.status, &answer.headers, &["rouse-error"]);
    sights.saw("GET: sent again", "200", shown);
    Ok(())
}

async fn response_header_timeout(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    let answer = get(place, "lazy.test", "/").await?;
    sights.saw("woken", "200, x-keda-http-cold-start: true", verdict(&answer));
    let answer = get(place, "lazy.test", "/delay/8").await?;
    let shown = told(answer.status, &answer.headers, &["rouse-error"]);
    sights.saw(
        "/delay/8 with responseHeader: 1s",
        "504, rouse-error: response_header_timeout",
        shown,
    );
    sights.saw("its time", "1 to 6 s", within(answer.total, 1, 6));
    sights.saw_alike("its header", fields(&answer.headers));
    Ok(())
}
