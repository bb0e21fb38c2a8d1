use rouse_fake_api_server::{FakeApiServer, Fault};
use tokio::{task::JoinHandle, time::advance};

use super::*;

const NAMESPACE: &str = "keda";
const NAME: &str = "rouse-controller";

/// A candidate at work.
struct Candidate {
    leadership: watch::Receiver<Leadership>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Candidate {
    fn start(server: &FakeApiServer, identity: &str) -> Self {
        let config = LeaseConfig {
            namespace: NAMESPACE.to_owned(),
            name: NAME.to_owned(),
            identity: identity.to_owned(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        };
        let election = Election::new(server.memory_client(), config);
        let leadership = election.leadership();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(election.run(shutdown.clone()));
        Self {
            leadership,
            shutdown,
            task,
        }
    }

    fn is_leader(&self) -> bool {
        self.leadership.borrow().is_leader()
    }

    async fn leads(&mut self) -> CancellationToken {
        let leading = self.leadership.wait_for(Leadership::is_leader).await.unwrap();
        match &*leading {
            Leadership::Leader(term) => term.clone(),
            Leadership::Standby => unreachable!("waited for"),
        }
    }

    async fn stands_by(&mut self) {
        self.leadership
            .wait_for(|leadership| !leadership.is_leader())
            .await
            .unwrap();
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

async fn server() -> FakeApiServer {
    let server = FakeApiServer::start().await;
    server.create_namespace(NAMESPACE);
    server
}

fn lease(server: &FakeApiServer) -> LeaseSpec {
    let lease: Lease = server.get(NAMESPACE, NAME).expect("the lease");
    lease.spec.unwrap()
}

/// Lets time pass in steps in which everybody gets to do what they do.
async fn pass(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        advance(Duration::from_millis(500)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_and_the_second_waits() {
    let server = server().await;
    let mut first = Candidate::start(&server, "first");
    let term = first.leads().await;
    let second = Candidate::start(&server, "second");
    pass(Duration::from_mins(2)).await;
    assert!(first.is_leader());
    assert!(!term.is_cancelled(), "one term, renewed");
    assert!(!second.is_leader());
    let spec = lease(&server);
    assert_eq!(spec.holder_identity.as_deref(), Some("first"));
    assert_eq!(spec.lease_transitions, Some(0));
    assert_eq!(spec.lease_duration_seconds, Some(15));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_gives_the_lease_back() {
    let server = server().await;
    let mut first = Candidate::start(&server, "first");
    let term = first.leads().await;
    let mut second = Candidate::start(&server, "second");
    pass(Duration::from_secs(5)).await;
    first.stop().await;
    assert!(term.is_cancelled());
    let begun = Instant::now();
    second.leads().await;
    assert!(begun.elapsed() <= Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(lease(&server).lease_transitions, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_has_labelled_is_given_back_too() {
    let server = server().await;
    let mut first = Candidate::start(&server, "first");
    first.leads().await;
    let mut second = Candidate::start(&server, "second");
    pass(Duration::from_secs(5)).await;
    let mut labelled: Lease = server.get(NAMESPACE, NAME).expect("the lease");
    labelled.metadata.labels = Some([("team".to_owned(), "a".to_owned())].into());
    server.apply(&labelled);
    first.stop().await;
    let begun = Instant::now();
    second.leads().await;
    assert!(begun.elapsed() <= Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_told_to_stop_after_another_took_over_takes_nothing_away() {
    let server = server().await;
    let mut first = Candidate::start(&server, "first");
    first.leads().await;
    let mut taken: Lease = server.get(NAMESPACE, NAME).expect("the lease");
    taken.spec.as_mut().unwrap().holder_identity = Some("other".to_owned());
    server.apply(&taken);
    first.stop().await;
    assert_eq!(lease(&server).holder_identity.as_deref(), Some("other"));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_has_stopped_before_the_next_begins() {
    let server = server().await;
    let mut first = Candidate::start(&server, "first");
    let term = first.leads().await;
    let mut second = Candidate::start(&server, "second");
    pass(Duration::from_secs(7)).await;
    // Only the first one's renewals fail: the second only reads for now.
    server.inject(
        Fault::status(500)
            .on("leases")
            .verb(rouse_fake_api_server::Verb::Update)
            .times(5),
    );
    let begun = Instant::now();
    first.stands_by().await;
    let first_ended = begun.elapsed();
    assert!(term.is_cancelled());
    assert!(!second.is_leader());
    assert!(first_ended <= Duration::from_secs(10), "{first_ended:?}");
    first.stop().await;
    second.leads().await;
    assert!(begun.elapsed() > first_ended);
    assert!(
        begun.elapsed() <= Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_ends_the_term_at_the_deadline() {
    let server = server().await;
    let mut first = Candidate::start(&server, "first");
    let term = first.leads().await;
    server.stop_answering();
    let begun = Instant::now();
    term.cancelled().await;
    assert!(
        begun.elapsed() <= Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    first.stands_by().await;
    server.resume();
    first.leads().await;
}

#[tokio::test(start_paused = true)]
async fn a_short_trouble_costs_no_term() {
    let server = server().await;
    let mut first = Candidate::start(&server, "first");
    let term = first.leads().await;
    server.inject(Fault::status(500).on("leases").times(3));
    pass(Duration::from_secs(30)).await;
    assert!(!term.is_cancelled());
    assert!(first.is_leader());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_costs_no_term() {
    let server = server().await;
    let mut first = Candidate::start(&server, "first");
    let term = first.leads().await;
    server.inject(
        Fault::lose_answer()
            .on("leases")
            .verb(rouse_fake_api_server::Verb::Update),
    );
    pass(Duration::from_secs(30)).await;
    assert!(!term.is_cancelled(), "the lease is still its own");
}

#[tokio::test(start_paused = true)]
async fn times_in_the_lease_are_not_believed() {
    let server = server().await;
    // Another machine's clock is a year behind: by the times in it the lease has long run out.
    server.apply_json(serde_json::json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "namespace": NAMESPACE, "name": NAME },
        "spec": {
            "holderIdentity": "elsewhere", "leaseDurationSeconds": 15, "leaseTransitions": 4,
            "acquireTime": "2020-01-01T00:00:00.000000Z", "renewTime": "2020-01-01T00:00:00.000000Z",
        },
    }));
    let mut first = Candidate::start(&server, "first");
    pass(Duration::from_secs(14)).await;
    assert!(!first.is_leader());
    first.leads().await;
    assert_eq!(lease(&server).lease_transitions, Some(5));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_taken_away_ends_the_term() {
    let server = server().await;
    let mut first = Candidate::start(&server, "first");
    let term = first.leads().await;
    let mut taken: Lease = server.get(NAMESPACE, NAME).unwrap();
    taken.spec.get_or_insert_default().holder_identity = Some("thief".to_owned());
    server.apply(&taken);
    let begun = Instant::now();
    term.cancelled().await;
    assert!(begun.elapsed() <= Duration::from_secs(3), "{:?}", begun.elapsed());
    first.stands_by().await;
    assert_eq!(lease(&server).holder_identity.as_deref(), Some("thief"));
}

#[tokio::test(start_paused = true)]
async fn dropped_the_election_ends_its_term() {
    let server = server().await;
    let mut first = Candidate::start(&server, "first");
    let term = first.leads().await;
    first.task.abort();
    term.cancelled().await;
    assert!(!first.is_leader());
}
