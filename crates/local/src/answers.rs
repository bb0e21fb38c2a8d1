//! Tells the first answer after a wake.
//!
//! Listens to the load stream that the external scaler listens to, and asks the interceptor for nothing else. The
//! stream gathers changes for 100 ms, so an answer is known to have come *within* the time told, not at it. One entry
//! for each route that holds requests; the stream ends with the platform.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use rouse_proto::load::load_client::LoadClient;
use rouse_proto::load::{LoadReport, RouteLoad, TargetRef, WatchRequest};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use crate::narrate::Narrator;

/// Before the stream is opened again. Nothing depends on it but the lines on the terminal.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// Listens until `stop`.
pub(crate) async fn tell(admin: SocketAddr, narrator: Narrator, stop: CancellationToken) {
    let Ok(endpoint) = Endpoint::from_shared(format!("http://{admin}")) else {
        return;
    };
    let listen = async {
        loop {
            if let Err(error) = listen(endpoint.clone(), &narrator).await {
                tracing::debug!(%error, "the load stream ended");
            }
            sleep(REOPEN_PAUSE).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = listen => {}
    }
}

async fn listen(
    endpoint: Endpoint,
    narrator: &Narrator,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut client = LoadClient::new(endpoint.connect().await?);
    let mut stream = client.watch(WatchRequest {}).await?.into_inner();
    let mut picture = Picture::default();
    while let Some(report) = stream.message().await? {
        for answer in picture.take(report, Instant::now()) {
            narrator.event(
                &answer.route,
                format_args!("first answer within {} of the wake", answer.within),
            );
        }
    }
    Ok(())
}

/// The first answer of a route since its requests were held.
#[derive(Debug, PartialEq)]
struct Answer {
    route: String,
    within: Tenths,
}

/// A duration, rounded up to what the stream can tell.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tenths(u128);

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} s", self.0 / 10, self.0 % 10)
    }
}

#[derive(Debug, Default)]
struct Picture {
    ready: HashMap<TargetRef, u32>,
    targets: HashMap<(String, String), TargetRef>,
    holding: HashMap<(String, String), Holding>,
}

/// A route whose requests are held.
#[derive(Debug)]
struct Holding {
    since: Instant,
    /// Requests that were over before the target was ready: clients that left.
    finished: u64,
}

impl Picture {
    fn take(&mut self, report: LoadReport, now: Instant) -> Vec<Answer> {
        if report.full {
            *self = Self::default();
        }
        for state in report.targets {
            let Some(target) = state.target else { continue };
            if state.removed {
                self.ready.remove(&target);
            } else {
                self.ready.insert(target, state.ready_endpoints);
            }
        }
        report
            .routes
            .iter()
            .filter_map(|route| self.take_route(route, now))
            .collect()
    }

    fn take_route(&mut self, load: &RouteLoad, now: Instant) -> Option<Answer> {
        let key = (load.namespace.clone(), load.name.clone());
        if load.removed {
            self.holding.remove(&key);
            self.targets.remove(&key);
            return None;
        }
        if let Some(target) = &load.target {
            self.targets.insert(key.clone(), target.clone());
        }
        let is_ready = self
            .targets
            .get(&key)
            .and_then(|target| self.ready.get(target))
            .is_some_and(|ready| *ready > 0);
        let finished = load.requests_total.saturating_sub(load.concurrency);
        let Some(holding) = self.holding.get_mut(&key) else {
            if load.pending > 0 && !is_ready {
                self.holding.insert(key, Holding { since: now, finished });
            }
            return None;
        };
        if !is_ready {
            holding.finished = finished;
            if load.concurrency == 0 && !load.waking {
                self.holding.remove(&key);
            }
            return None;
        }
        if finished <= holding.finished {
            if load.concurrency == 0 {
                // Woken for clients that have all left: the next wake is another one.
                self.holding.remove(&key);
            }
            return None;
        }
        let elapsed = now.duration_since(holding.since);
        self.holding.remove(&key);
        Some(Answer {
            route: format!("{}/{}", key.0, key.1),
            within: Tenths(elapsed.as_millis() / 100 + 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use rouse_proto::load::TargetState;

    use super::*;

    fn target() -> TargetRef {
        TargetRef {
            namespace: "default".to_owned(),
            service: "web".to_owned(),
            port: "80".to_owned(),
        }
    }

    fn report(ready: u32, pending: u64, concurrency: u64, requests_total: u64) -> LoadReport {
        LoadReport {
            routes: vec![RouteLoad {
                namespace: "default".to_owned(),
                name: "web".to_owned(),
                concurrency,
                pending,
                requests_total,
                waking: ready == 0,
                target: Some(target()),
                ..RouteLoad::default()
            }],
            targets: vec![TargetState {
                target: Some(target()),
                ready_endpoints: ready,
                ..TargetState::default()
            }],
            ..LoadReport::default()
        }
    }

    #[test]
    fn the_first_answer_after_a_wake_is_told_once() {
        let (mut picture, start) = (Picture::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(picture.take(report(0, 1, 1, 1), at(0)).is_empty());
        assert!(picture.take(report(0, 2, 2, 2), at(1000)).is_empty());
        assert!(
            picture.take(report(1, 1, 2, 2), at(2000)).is_empty(),
            "released, not answered"
        );
        let [answer] = &picture.take(report(1, 0, 1, 2), at(2150))[..] else {
            panic!("one answer")
        };
        assert_eq!(
            (answer.route.as_str(), answer.within.to_string().as_str()),
            ("default/web", "2.2 s")
        );
        assert!(picture.take(report(1, 0, 0, 2), at(2300)).is_empty());
    }

    #[test]
    fn a_client_that_leaves_is_not_an_answer() {
        let (mut picture, now) = (Picture::default(), Instant::now());
        assert!(picture.take(report(0, 1, 1, 1), now).is_empty());
        assert!(picture.take(report(0, 0, 0, 1), now).is_empty());
        assert!(
            picture.take(report(1, 0, 1, 2), now).is_empty(),
            "the next one is still in flight"
        );
        assert_eq!(picture.take(report(1, 0, 0, 2), now).len(), 1);
    }

    #[test]
    fn a_wake_whose_clients_all_left_does_not_lengthen_the_next_one() {
        let (mut picture, start) = (Picture::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(picture.take(report(0, 1, 1, 1), at(0)).is_empty());
        assert!(picture.take(report(0, 0, 0, 1), at(300)).is_empty());
        assert!(picture.take(report(1, 0, 0, 1), at(3000)).is_empty());
        assert!(picture.take(report(0, 1, 1, 2), at(5000)).is_empty());
        let [answer] = &picture.take(report(1, 0, 0, 2), at(7950))[..] else {
            panic!("one answer")
        };
        assert_eq!(answer.within.to_string(), "3.0 s");
    }

    #[test]
    fn warm_traffic_is_not_told() {
        let (mut picture, now) = (Picture::default(), Instant::now());
        for requests in 1..5 {
            assert!(picture.take(report(1, 0, 0, requests), now).is_empty());
        }
        assert!(picture.holding.is_empty());
    }
}
