use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::advance;

use super::*;
use hpa::Measurement;

/// A scaler whose answers the test sets. It lingers as the real one does, by the test's own arithmetic.
#[derive(Debug, Clone, Default)]
struct FakeScaler {
    state: Arc<Mutex<Answers>>,
    push: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Answers {
    active_until: Option<Instant>,
    is_unavailable: bool,
    value: f64,
    polls: Vec<Instant>,
}

impl FakeScaler {
    fn is_active_now(&self) -> bool {
        self.state
            .lock()
            .active_until
            .is_some_and(|until| Instant::now() < until)
    }
}

impl Scaler for FakeScaler {
    async fn is_active(&self) -> Result<bool, ScalerError> {
        self.state.lock().polls.push(Instant::now());
        if self.state.lock().is_unavailable {
            return Err(tonic::Status::unavailable("no picture").into());
        }
        Ok(self.is_active_now())
    }

    async fn measure(&self) -> Result<Vec<Measurement>, ScalerError> {
        Ok(vec![Measurement {
            value: self.state.lock().value,
            target: 100.0,
        }])
    }

    async fn pushes(&self, activity: &mpsc::Sender<bool>) -> Result<(), ScalerError> {
        loop {
            self.push.notified().await;
            if activity.send(self.is_active_now()).await.is_err() {
                return Ok(());
            }
        }
    }
}

struct Running {
    scaler: FakeScaler,
    workload: ScaleHandle,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Running {
    fn start(replicas: u32, cooldown: u64) -> Self {
        let scaler = FakeScaler::default();
        let (workload, _) = ScaleHandle::new(replicas);
        let stop = CancellationToken::new();
        let scaling = ScalingLoop {
            scaler: scaler.clone(),
            workload: workload.clone(),
            limits: Limits {
                min: 0,
                max: 5,
                cooldown: Duration::from_secs(cooldown),
                initial_cooldown: Duration::from_hours(1),
            },
            polling_interval: Duration::from_secs(1),
            narrator: Narrator::to(std::io::sink()),
            subject: "default/web".to_owned(),
        };
        tokio::spawn(scaling.run(stop.clone()));
        Self {
            scaler,
            workload,
            stop,
        }
    }

    fn active_for(&self, time: Duration) {
        self.scaler.state.lock().active_until = Some(Instant::now() + time);
    }

    /// Lets time pass in small steps, as it does.
    async fn pass(&self, millis: u64) {
        for _ in 0..millis {
            advance(Duration::from_millis(1)).await;
            tokio::task::yield_now().await;
        }
    }

    /// Advances in small steps until the workload has this many replicas; gives the time it took.
    async fn until(&self, replicas: u32) -> Duration {
        let begun = Instant::now();
        while self.workload.replicas() != replicas {
            self.pass(1).await;
            assert!(
                begun.elapsed() < Duration::from_secs(1000),
                "never came to {replicas} replicas"
            );
        }
        begun.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_wakes_at_once() {
    let running = Running::start(0, 10);
    running.pass(1300).await;
    running.active_for(Duration::from_mins(1));
    running.scaler.push.notify_one();
    assert!(running.until(1).await <= Duration::from_millis(2));
}

#[tokio::test(start_paused = true)]
async fn a_pushed_false_is_ignored_and_a_poll_wakes_too() {
    let running = Running::start(0, 10);
    running.pass(300).await;
    running.scaler.push.notify_one();
    running.pass(5).await;
    assert_eq!(running.workload.replicas(), 0);
    running.active_for(Duration::from_mins(1));
    assert!(running.until(1).await <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn zero_comes_within_the_period_and_one_polling_interval_after_the_lingering() {
    // The scaler lingers one polling interval after the last byte; the second interval of the promise is left for the
    // process to end in. The last byte is placed all over a tick.
    for offset in [0, 1, 250, 499, 500, 750, 999] {
        let running = Running::start(1, 10);
        running.active_for(Duration::from_millis(3000 + offset + 1000));
        running.pass(3000 + offset).await;
        let took = running.until(0).await;
        let earliest = Duration::from_millis(9_990);
        let latest = Duration::from_millis(11_010);
        assert!(
            (earliest..=latest).contains(&took),
            "last byte {offset} ms after a tick: zero after {took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_at_the_end_of_the_cooldown_keeps_the_replica() {
    let running = Running::start(1, 10);
    running.active_for(Duration::from_millis(1500));
    // Last seen active by the poll after 1 s, so the cooldown ends after 11 s. A request comes just before.
    running.pass(10_900).await;
    assert_eq!(running.workload.replicas(), 1);
    running.active_for(Duration::from_secs(1));
    let took = running.until(0).await;
    assert!(took >= Duration::from_secs(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_scaler_changes_nothing() {
    let running = Running::start(1, 10);
    running.active_for(Duration::from_millis(1500));
    running.pass(1200).await;
    running.scaler.state.lock().is_unavailable = true;
    running.pass(30_000).await;
    assert_eq!(running.workload.replicas(), 1);
    running.scaler.state.lock().is_unavailable = false;
    assert!(running.until(0).await <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn load_scales_out_at_the_next_poll() {
    let running = Running::start(1, 10);
    running.active_for(Duration::from_hours(1));
    running.scaler.state.lock().value = 500.0;
    assert!(running.until(5).await <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn polls_do_not_drift() {
    let running = Running::start(0, 10);
    running.pass(20_500).await;
    let polls = running.scaler.state.lock().polls.clone();
    assert_eq!(polls.len(), 21);
    for (number, poll) in (0_u64..).zip(&polls) {
        let late = poll
            .duration_since(polls[0])
            .abs_diff(Duration::from_secs(number));
        assert!(late <= Duration::from_millis(2), "poll {number} was {late:?} off");
    }
}

#[tokio::test(start_paused = true)]
async fn faults_are_told_once_and_not_in_the_first_seconds() {
    let mut faults = Faults::new();
    assert!((0..20).all(|_| !faults.count()), "the scaler is still starting");
    advance(QUIET_AT_START).await;
    assert!(faults.count(), "it lasts");
    assert!(!faults.count(), "once is enough");
    faults.worked("default/web");
    assert!(!faults.count(), "a single answer that did not come is no fault");
    assert!(faults.count());
}
