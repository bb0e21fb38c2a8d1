//! Steady traffic beside whatever a case does to the cluster, and what became of each request of it.
//!
//! A stream sends to one address for one host, 20 times a second. On new connections it does so whether or not the earlier
//! ones are answered, so a hang does not slow it down, up to 500 that are open at a time; on kept ones each client waits for
//! its answer. Bounded by the streams' patience: what is not answered by then is lost.

use std::{net::SocketAddr, time::Duration};

use ::http::{Method, Request, header::HOST};
use bytes::Bytes;
use futures_util::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use http_body_util::Full;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::http::{self, Answer, Kept},
    trial::Trial,
};

/// Between two requests of a stream, or of one of its clients.
const PERIOD: Duration = Duration::from_millis(50);

/// How many requests of a stream, on connections of their own, may be open: those of 25 s.
const OPEN: usize = 500;

/// What is sent, and where to.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    /// For the evidence.
    name: String,
    to: SocketAddr,
    host: String,
    method: Method,
    /// How many clients keep a connection each. None: every request has one of its own.
    kept: usize,
    patience: Duration,
}

impl Stream {
    /// GETs, each on a connection of its own.
    pub(super) fn new(name: impl Into<String>, to: SocketAddr, host: &str) -> Self {
        Self {
            name: name.into(),
            to,
            host: host.to_owned(),
            method: Method::GET,
            kept: 0,
            patience: Duration::from_secs(20),
        }
    }

    /// From this many clients, each of which keeps its connection.
    pub(super) fn on_kept_connections(mut self, clients: usize) -> Self {
        self.kept = clients;
        self
    }

    pub(super) fn with_method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// How long an answer may take; 20 s where nothing is said.
    pub(super) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn request(&self) -> anyhow::Result<Request<Full<Bytes>>> {
        let request = Request::builder()
            .method(&self.method)
            .uri("/")
            .header(HOST, &self.host);
        Ok(request.body(Full::default())?)
    }

    async fn run(&self, stop: &CancellationToken) -> Flow {
        let mut flow = Flow::new(self.name.clone());
        if self.kept == 0 {
            self.send_anew(stop, &mut flow).await;
        } else {
            let clients = (0..self.kept).map(|_| self.send_on(stop));
            for one in join_all(clients).await {
                flow.add(one);
            }
        }
        flow
    }

    async fn send_anew(&self, stop: &CancellationToken, flow: &mut Flow) {
        let mut open = FuturesUnordered::new();
        let mut ticks = ticks();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick(), if open.len() < OPEN => open.push(async {
                    let started = Instant::now();
                    let outcome = match self.request() {
                        Ok(request) => http::send(self.to, request, self.patience).await,
                        Err(error) => Err(error),
                    };
                    (started, outcome)
                }),
                Some((started, outcome)) = open.next() => flow.count(started, outcome),
            }
        }
        while let Some((started, outcome)) = open.next().await {
            flow.count(started, outcome);
        }
    }

    async fn send_on(&self, stop: &CancellationToken) -> Flow {
        let mut flow = Flow::new(String::new());
        let mut client = Kept::new(self.to);
        let mut ticks = ticks();
        while !stop.is_cancelled() {
            ticks.tick().await;
            let started = Instant::now();
            let outcome = match self.request() {
                Ok(request) => client.send(request, self.patience).await,
                Err(error) => Err(error),
            };
            flow.count(started, outcome);
        }
        flow.connections = client.opened();
        flow
    }
}

/// What became of a stream.
#[derive(Debug)]
pub(super) struct Flow {
    name: String,
    sent: usize,
    /// Connections, where they were kept.
    connections: usize,
    /// When a connection was refused. Nobody had that request.
    refused: Vec<Instant>,
    /// What was sent and not answered with 200.
    lost: Vec<Lost>,
    slowest: Duration,
}

#[derive(Debug)]
struct Lost {
    sent_at: Instant,
    instead: String,
}

impl Flow {
    fn new(name: String) -> Self {
        Self {
            name,
            sent: 0,
            connections: 0,
            refused: Vec::new(),
            lost: Vec::new(),
            slowest: Duration::ZERO,
        }
    }

    fn count(&mut self, sent_at: Instant, outcome: anyhow::Result<Answer>) {
        self.sent += 1;
        let instead = match outcome {
            Ok(answer) if answer.status == 200 => {
                self.slowest = self.slowest.max(answer.total);
                return;
            }
            Err(error) if http::is_refused(&error) => {
                self.refused.push(sent_at);
                return;
            }
            Ok(answer) => answer.summary(),
            Err(error) => format!("{error:#}"),
        };
        self.lost.push(Lost { sent_at, instead });
    }

    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.connections += other.connections;
        self.refused.extend(other.refused);
        self.lost.extend(other.lost);
        self.slowest = self.slowest.max(other.slowest);
    }

    /// Every request was answered with 200, and there were some.
    pub(super) fn check(&self, trial: &mut Trial) -> anyhow::Result<()> {
        self.note(trial);
        let first = self.lost.first().map(|lost| lost.instead.as_str());
        anyhow::ensure!(
            self.sent > 0 && self.lost.is_empty() && self.refused.is_empty(),
            "{}: of {} requests {} were lost and {} refused, the first lost: {first:?}",
            self.name,
            self.sent,
            self.lost.len(),
            self.refused.len(),
        );
        Ok(())
    }

    /// Only what was in somebody's hands when he was killed is lost, one request for each connection, and connections are
    /// refused only for so long after. What was lost is counted.
    pub(super) fn check_killed(
        &self,
        trial: &mut Trial,
        killed_at: Instant,
        refused_for: Duration,
    ) -> anyhow::Result<()> {
        /// From the signal to the end of its sockets, which accept until then.
        const DYING: Duration = Duration::from_millis(500);
        self.note(trial);
        for lost in &self.lost {
            let after = lost.sent_at.saturating_duration_since(killed_at);
            anyhow::ensure!(
                after <= DYING,
                "{}: sent {after:?} after the kill and lost: {}",
                self.name,
                lost.instead
            );
        }
        let refused = self.refused.iter().max().copied().unwrap_or(killed_at);
        let refused = refused.saturating_duration_since(killed_at);
        anyhow::ensure!(
            refused <= refused_for,
            "{}: refused for {refused:?} after the kill",
            self.name
        );
        anyhow::ensure!(
            self.sent > self.lost.len() + self.refused.len(),
            "{}: none of {} requests was answered",
            self.name,
            self.sent
        );
        Ok(())
    }

    fn note(&self, trial: &mut Trial) {
        let connections = match self.connections {
            0 => String::new(),
            count => format!(" on {count} connections"),
        };
        let refused = match self.refused.len() {
            0 => String::new(),
            count => format!(", {count} connections refused"),
        };
        trial.evidence.note(format_args!(
            "{}: {} requests{connections}, {} lost{refused}; the slowest answer took {:.3} s.",
            self.name,
            self.sent,
            self.lost.len(),
            self.slowest.as_secs_f64()
        ));
    }
}

/// Traffic for as long as `work` takes, and `afterwards` as long again.
pub(super) async fn during<T>(
    streams: &[Stream],
    afterwards: Duration,
    work: impl Future<Output = T>,
) -> (Vec<Flow>, T) {
    let stop = CancellationToken::new();
    let work = async {
        let result = work.await;
        tokio::time::sleep(afterwards).await; // traffic is to go on
        stop.cancel();
        result
    };
    tokio::join!(join_all(streams.iter().map(|stream| stream.run(&stop))), work)
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
