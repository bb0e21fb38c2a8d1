//! Load: at a steady rate, whatever the answers take, or so many requests at a time.

use std::{net::SocketAddr, time::Duration};

use futures_util::future::LocalBoxFuture;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::site::COLD_BOUND;
use crate::cluster::http::{self, Answer};

/// GETs a path this many times a second, each time on a connection of its own, for as long as `meanwhile` takes. Every request
/// has to be answered with 200.
pub(in crate::cases) async fn load_while<T>(
    (addr, host, path): (SocketAddr, &str, &str),
    per_second: u32,
    meanwhile: LocalBoxFuture<'_, anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let mut requests = JoinSet::new();
    let send = async {
        let mut ticks = interval(Duration::from_secs(1) / per_second);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (host, path) = (host.to_owned(), path.to_owned());
            requests.spawn(async move { http::get(addr, &host, &path, COLD_BOUND).await });
        }
    };
    let result = tokio::select! {
        result = meanwhile => result?,
        () = send => anyhow::bail!("the load never ends"),
    };
    all_answered(&mut requests).await?;
    Ok(result)
}

/// Has this many clients GET a path over and over, each on a connection of its own for each request, for as long as `meanwhile`
/// takes. Every request has to be answered with 200.
pub(in crate::cases) async fn clients_while<T>(
    (addr, host, path): (SocketAddr, &str, &str),
    clients: usize,
    meanwhile: LocalBoxFuture<'_, anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let enough = CancellationToken::new();
    let _ended = enough.clone().drop_guard();
    let mut looping = JoinSet::new();
    for _ in 0..clients {
        let (host, path, enough) = (host.to_owned(), path.to_owned(), enough.clone());
        looping.spawn(async move {
            loop {
                let answer = http::get(addr, &host, &path, COLD_BOUND).await;
                if enough.is_cancelled() || failure(&answer).is_some() {
                    return answer;
                }
            }
        });
    }
    let result = tokio::select! {
        result = meanwhile => result?,
        // None ends before it is told to, unless it fails.
        Some(ended) = looping.join_next() => anyhow::bail!("under load: {:?}", failure(&ended?)),
    };
    enough.cancel();
    all_answered(&mut looping).await?;
    Ok(result)
}

async fn all_answered(requests: &mut JoinSet<anyhow::Result<Answer>>) -> anyhow::Result<()> {
    let (mut sent, mut failed) = (0, Vec::new());
    while let Some(request) = requests.join_next().await {
        sent += 1;
        failed.extend(failure(&request?));
    }
    anyhow::ensure!(
        failed.is_empty(),
        "{} of {sent} requests failed: {:?}",
        failed.len(),
        failed.first()
    );
    Ok(())
}

/// GETs a path over and over, one request after the other, for as long as `meanwhile` takes, at most `most` times. Every request
/// has to be answered with 200.
pub(in crate::cases) async fn one_by_one_while<T>(
    (addr, host, path): (SocketAddr, &str, &str),
    most: u32,
    meanwhile: LocalBoxFuture<'_, anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let send = async {
        for _ in 0..most {
            if let Some(failure) = failure(&http::get(addr, host, path, COLD_BOUND).await) {
                return failure;
            }
        }
        format!("{most} requests were not enough")
    };
    tokio::select! {
        result = meanwhile => result,
        failure = send => anyhow::bail!(failure),
    }
}

/// Why this is not the answer that every request is to have.
pub(in crate::cases) fn failure(answer: &anyhow::Result<Answer>) -> Option<String> {
    match answer {
        Ok(answer) if answer.status == 200 => None,
        Ok(answer) => Some(answer.summary()),
        Err(error) => Some(format!("{error:#}")),
    }
}
