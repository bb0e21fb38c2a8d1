//! The clients: one task for each kind of request.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, header::HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{ANSWER_BOUND, Fate, Kind, Sent, Tenant};
use crate::cluster::http::{self as client, Answer};

/// What POSTs carry and have to get back.
const BODY: &str = "every byte of this comes back";
/// Attempts of one request of which nothing was sent: its kept connection was closed before.
const UNSENT_ATTEMPTS: usize = 5;

/// Starts one client of each kind. Each ends after `stop`, when its last request has been answered.
pub(super) fn spawn(tenant: Tenant, stop: &CancellationToken) -> JoinSet<Vec<Sent>> {
    let mut lanes = JoinSet::new();
    let began = Instant::now();
    for kind in Kind::ALL {
        let lane = Lane { tenant, kind, began };
        let stop = stop.clone();
        if matches!(kind, Kind::KeptGet | Kind::KeptPost) {
            lanes.spawn(lane.one_after_the_other(stop));
        } else {
            lanes.spawn(lane.at_their_times(stop));
        }
    }
    lanes
}

/// One client.
#[derive(Debug, Clone, Copy)]
struct Lane {
    tenant: Tenant,
    kind: Kind,
    began: Instant,
}

impl Lane {
    /// On connections of their own.
    async fn at_their_times(self, stop: CancellationToken) -> Vec<Sent> {
        let mut requests = JoinSet::new();
        let mut sent = Vec::new();
        let mut ticks = self.ticks();
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            requests.spawn(async move {
                let started = Instant::now();
                let answer = match self.request() {
                    Ok(request) => client::send(self.tenant.proxy, request, ANSWER_BOUND).await,
                    Err(error) => Err(error),
                };
                self.noted(started, answer)
            });
            while let Some(done) = requests.try_join_next() {
                sent.push(done);
            }
        }
        while let Some(done) = requests.join_next().await {
            sent.push(done);
        }
        sent.into_iter()
            .map(|done| done.unwrap_or_else(|error| self.noted(Instant::now(), Err(error.into()))))
            .collect()
    }

    /// On one connection for as long as it lasts.
    async fn one_after_the_other(self, stop: CancellationToken) -> Vec<Sent> {
        let mut connection = None;
        let mut sent = Vec::new();
        let mut ticks = self.ticks();
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let started = Instant::now();
            let answer = timeout(ANSWER_BOUND, self.on_kept(&mut connection))
                .await
                .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer after {ANSWER_BOUND:?}")));
            if answer.is_err() {
                connection = None;
            }
            sent.push(self.noted(started, answer));
        }
        sent
    }

    async fn on_kept(self, kept: &mut Option<SendRequest<Full<Bytes>>>) -> anyhow::Result<Answer> {
        let started = Instant::now();
        let mut request = self.request()?;
        for _ in 0..UNSENT_ATTEMPTS {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => connect(self.tenant).await?,
            };
            if connection.ready().await.is_err() {
                continue;
            }
            match connection.try_send_request(request).await {
                Ok(answer) => {
                    let head = started.elapsed();
                    let (parts, body) = answer.into_parts();
                    let body = body.collect().await.context("read the body")?.to_bytes();
                    *kept = Some(connection);
                    return Ok(Answer {
                        status: parts.status,
                        headers: parts.headers,
                        body,
                        head,
                        total: started.elapsed(),
                    });
                }
                // The connection was closed in time, as every client has to expect.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error()).context("on a kept connection"),
                },
            }
        }
        anyhow::bail!("{UNSENT_ATTEMPTS} connections took no request")
    }

    fn request(self) -> anyhow::Result<Request<Full<Bytes>>> {
        let (method, path, body) = match self.kind {
            Kind::Get | Kind::KeptGet => (Method::GET, "/", ""),
            Kind::SlowGet => (Method::GET, "/delay/3", ""),
            Kind::Post | Kind::KeptPost => (Method::POST, "/echo", BODY),
            Kind::SlowPost => (Method::POST, "/delay/3", ""),
        };
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.tenant.host)
            .body(Full::new(Bytes::from_static(body.as_bytes())))
            .context("make a request")
    }

    fn ticks(self) -> tokio::time::Interval {
        let period = match self.kind {
            Kind::KeptGet | Kind::KeptPost => Duration::from_millis(100),
            Kind::Get | Kind::Post => Duration::from_millis(250),
            Kind::SlowGet | Kind::SlowPost => Duration::from_secs(1),
        };
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    fn noted(self, started: Instant, answer: anyhow::Result<Answer>) -> Sent {
        Sent {
            kind: self.kind,
            at: started.duration_since(self.began),
            took: started.elapsed(),
            fate: self.fate(answer),
        }
    }

    fn fate(self, answer: anyhow::Result<Answer>) -> Fate {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Fate::Lost(Arc::from(format!("{error:#}"))),
        };
        let echoed = !matches!(self.kind, Kind::Post | Kind::KeptPost) || answer.body == BODY;
        if answer.status == 200 && echoed {
            return Fate::Answered;
        }
        let reason = answer
            .headers
            .get("rouse-error")
            .and_then(|reason| reason.to_str().ok());
        if answer.status == 502 && reason == Some("upstream_reset") && !self.kind.is_safe() {
            return Fate::Told;
        }
        Fate::Lost(Arc::from(format!("{}, rouse-error {reason:?}", answer.summary())))
    }
}

async fn connect(tenant: Tenant) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(tenant.proxy).await.context("connect")?;
    stream.set_nodelay(true).context("set TCP_NODELAY")?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .context("start HTTP")?;
    // It ends with its sender; what breaks it the exchange says.
    drop(tokio::spawn(connection));
    Ok(sender)
}
