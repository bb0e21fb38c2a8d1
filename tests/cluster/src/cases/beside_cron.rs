//! The HTTP trigger beside a cron trigger, in one ScaledObject of the user's own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::{
    addon::{
        interceptors, load, objects,
        site::{COLD_BOUND, READY_BOUND, reach_proxy, replicas_stay},
    },
    example::Example,
    triggers,
};
use crate::{
    case::{Case, Need},
    cluster::Cluster,
    trial::Trial,
};

const NAMESPACE: &str = "default";
const NAME: &str = "chatbot";
const HOST: &str = "chatbot.example.com";
/// From the window's opening until it closes: what the user's exercise has.
const OPEN: Duration = Duration::from_mins(2);
/// Before the window opens: until everything is ready, and a look at zero.
const SET_UP: Duration = Duration::from_secs(35);
/// Until KEDA's poll, the HPA's look, and new pods.
const SCALED_BOUND: Duration = Duration::from_secs(50);
/// The manifest's.
const COOLDOWN: Duration = Duration::from_secs(30);
/// From the end of the last request: the linger of 30 s at most, the cooldown, two polls and a busy machine.
const ASLEEP_BOUND: Duration = Duration::from_secs(100);

pub(super) const HTTP_TRIGGER_BESIDE_CRON: Case = Case {
    name: "http_trigger_beside_cron",
    about: "One ScaledObject with the HTTP trigger and a cron trigger, from `examples/compose/cron.yaml`. The window is that of \
            the user's exercise, 2 minutes of every 5 (`*/5` to `2-59/5`, `cooldownPeriod: 30`), with minutes that come soon. In \
            the window there are cron's replicas without a request; more requests than these can take make more replicas; \
            without requests they are cron's again. When the window is over, requests keep one, and it goes only when \
            they have ended and `cooldownPeriod` is over.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(9),
    run: |trial| http_trigger_beside_cron(trial).boxed_local(),
};

async fn http_trigger_beside_cron(trial: &mut Trial) -> anyhow::Result<()> {
    /// For the target of 20 in the manifest; 61 to 80 make four.
    const CLIENTS: usize = 70;
    let cluster = trial.cluster().clone();
    let deployment = (NAMESPACE, NAME);
    let window = Window::next()?;
    set_up(trial, &window).await?;
    let proxy = reach_proxy(&cluster).await?;

    let asleep = async |before: u64| {
        let left = window.until(Duration::ZERO);
        let duration = left.saturating_sub(Duration::from_secs(before));
        replicas_stay(&cluster, deployment, 0..=0, duration).await
    };
    asleep(12).await?;
    trial.evidence.note("Before the window:");
    triggers::show(trial, NAMESPACE, NAME).await?;
    asleep(1).await?;

    let opening = window.until(Duration::ZERO) + SCALED_BOUND;
    cluster.wait_for_replicas(NAMESPACE, NAME, 2, opening).await?;
    tell(trial, &window, 2, "the window is open, and there is no request");
    replicas_stay(&cluster, deployment, 2..=2, Duration::from_secs(10)).await?;
    triggers::show(trial, NAMESPACE, NAME).await?;
    let in_flight = in_flight(&cluster).await?;
    anyhow::ensure!(in_flight == 0, "{in_flight} requests that nobody sent");

    let scaled_out = async {
        cluster
            .wait_for_replicas(NAMESPACE, NAME, 4, SCALED_BOUND)
            .await?;
        replicas_stay(&cluster, deployment, 4..=4, Duration::from_secs(6)).await?;
        let what = "70 requests at a time, and 20 are for one replica";
        tell(trial, &window, 4, what);
        triggers::show(trial, NAMESPACE, NAME).await
    };
    load::clients_while(
        (proxy.addr(), HOST, "/delay/2"),
        CLIENTS,
        scaled_out.boxed_local(),
    )
    .await?;

    cluster
        .wait_for_replicas(NAMESPACE, NAME, 2, SCALED_BOUND)
        .await?;
    tell(trial, &window, 2, "these have ended, and the window is open");
    triggers::show(trial, NAMESPACE, NAME).await?;
    let idle = window.until(OPEN.saturating_sub(Duration::from_secs(15)));
    replicas_stay(&cluster, deployment, 2..=2, idle).await?;
    window.is_open("the replicas of the idle window were looked at")?;

    let let_go = async {
        let open = window.until(OPEN.saturating_sub(Duration::from_secs(1)));
        replicas_stay(&cluster, deployment, 2..=2, open).await?;
        cluster.wait_for_replicas(NAMESPACE, NAME, 1, SCALED_BOUND).await
    };
    load::clients_while((proxy.addr(), HOST, "/delay/2"), 2, let_go.boxed_local()).await?;
    tell(
        trial,
        &window,
        1,
        "the window is closed, and there are two requests at a time",
    );
    triggers::show(trial, NAMESPACE, NAME).await?;

    // One request for longer than the cooldown after the window.
    let path = format!("/delay/{}", COOLDOWN.as_secs() + 10);
    let ongoing = trial.get(proxy.addr(), HOST, &path, COLD_BOUND);
    let kept = replicas_stay(&cluster, deployment, 1..=1, COOLDOWN + Duration::from_secs(9));
    let (ongoing, kept) = tokio::join!(ongoing, kept);
    let (ongoing, ended) = (ongoing?, Instant::now());
    kept?;
    anyhow::ensure!(ongoing.status == 200, "the last request: {}", ongoing.summary());
    tell(trial, &window, 1, "the last request has ended");

    cluster
        .wait_for_desired_replicas(NAMESPACE, NAME, 0, ASLEEP_BOUND)
        .await?;
    let idle = ended.elapsed();
    tell(trial, &window, 0, "all are idle");
    trial.evidence.note(format_args!(
        "Scaled to zero {:.0} s after the last request ended; `cooldownPeriod` is {} s.",
        idle.as_secs_f64(),
        COOLDOWN.as_secs()
    ));
    triggers::show(trial, NAMESPACE, NAME).await?;
    // KEDA keeps the time of its last poll in whole seconds.
    anyhow::ensure!(
        idle + Duration::from_secs(1) >= COOLDOWN,
        "it was scaled to zero {idle:?} after the last request, before the cooldown was over"
    );
    Ok(())
}

async fn set_up(trial: &mut Trial, window: &Window) -> anyhow::Result<()> {
    let cluster = trial.cluster().clone();
    trial.apply_file("examples/chatbot.yaml").await?;
    Example::read(&cluster, "examples/compose/cron.yaml")?
        .with("start: 0 8 * * 1-5", &[&format!("start: {}", window.start)])?
        .with("end: 0 18 * * 1-5", &[&format!("end: {}", window.end)])?
        .with("pollingInterval: 15", &triggers::QUICK)?
        .apply(trial)
        .await?;
    for kind in [objects::HTTP_SCALED_OBJECT, objects::SCALED_OBJECT] {
        cluster
            .wait_for_condition(kind, (NAMESPACE, NAME), ("Ready", "True"), READY_BOUND)
            .await?;
    }
    interceptors::wait_until_routed(&cluster, &[format!("{NAMESPACE}/{NAME}")]).await?;
    anyhow::ensure!(
        !window.until(Duration::ZERO).is_zero(),
        "the window opened before everything was ready"
    );
    Ok(())
}

async fn in_flight(cluster: &Cluster) -> anyhow::Result<u64> {
    let route = format!("{NAMESPACE}/{NAME}");
    let queues = interceptors::queues(cluster).await?;
    Ok(queues
        .iter()
        .filter_map(|queue| queue[&route]["Concurrency"].as_u64())
        .sum())
}

fn tell(trial: &mut Trial, window: &Window, replicas: i32, what: &str) {
    let seconds = window.opens.elapsed().as_secs();
    trial.step(&format!("replicas {replicas}: {what}"));
    trial.evidence.note(format_args!(
        "**{seconds} s after the window opened, replicas {replicas}: {what}.**"
    ));
}

/// A window of two minutes in every five.
#[derive(Debug)]
struct Window {
    opens: Instant,
    start: String,
    end: String,
}

impl Window {
    /// The next that opens after there was time to set up.
    fn next() -> anyhow::Result<Self> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("the clock is before 1970")?;
        let (opens_in, start, end) = next_window(now);
        Ok(Self {
            opens: Instant::now() + opens_in,
            start,
            end,
        })
    }

    /// How long it is until so long after the opening.
    fn until(&self, after: Duration) -> Duration {
        (self.opens + after).saturating_duration_since(Instant::now())
    }

    fn is_open(&self, what: &str) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.until(OPEN).is_zero(),
            "the window closed before {what}: the machine is too slow"
        );
        Ok(())
    }
}

/// How long it is until it opens, and its start and end in cron's words. Every time zone is whole minutes away, and the
/// manifest's is whole hours.
fn next_window(since_epoch: Duration) -> (Duration, String, String) {
    let minute = (since_epoch + SET_UP).as_secs() / 60 + 1;
    let opens_in = Duration::from_secs(minute * 60).saturating_sub(since_epoch);
    let closes = minute + OPEN.as_secs() / 60;
    let [start, end] = [minute, closes].map(|minute| format!("{}-59/5 * * * *", minute % 5));
    (opens_in, start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_opens_at_a_minute_that_comes_soon() {
        // 00:04:10, so that 00:05 leaves time to set up, and 00:04:40, so that it does not.
        let window = next_window(Duration::from_secs(250));
        let words = |start: &str, end: &str| (start.to_owned(), end.to_owned());
        assert_eq!(window.0, Duration::from_secs(50));
        assert_eq!((window.1, window.2), words("0-59/5 * * * *", "2-59/5 * * * *"));
        let window = next_window(Duration::from_secs(280));
        assert_eq!(window.0, Duration::from_secs(80));
        assert_eq!((window.1, window.2), words("1-59/5 * * * *", "3-59/5 * * * *"));
    }

    #[test]
    fn a_window_over_the_fifth_minute_is_the_same_length() {
        let (_, start, end) = next_window(Duration::from_mins(2));
        assert_eq!(
            (start.as_str(), end.as_str()),
            ("3-59/5 * * * *", "0-59/5 * * * *")
        );
    }
}
