//! The cloud that the cluster would run in: machines for Karpenter's nodes, addresses for load balancers.
//!
//! Level-triggered: it looks at what there is several times a second and acts on the difference. A look that fails, for
//! the API server is stopped in some tests, changes nothing and is followed by another.

use std::{
    fs::{File, TryLockError},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    runtime, task,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{load_balancer, machines, ours};
use crate::{
    cluster::{Cluster, OwnCluster},
    say::say,
};

const PERIOD: Duration = Duration::from_millis(250);

/// The cloud at work, until it is stopped or dropped. Machines and addresses stay.
#[derive(Debug)]
pub struct Cloud {
    stop: DropGuard,
    work: JoinHandle<()>,
    /// Locked: two clouds would start, and remove, each other's machines.
    lock: File,
}

impl Cloud {
    /// Starts it for a cluster of our own, whose network the calling thread is in. It has a thread of its own, which starting
    /// a machine keeps busy. None where another process is the cluster's cloud already.
    pub fn start(cluster: &Cluster) -> anyhow::Result<Option<Self>> {
        let own = ours(cluster)?.clone();
        let lock = own.places().state().join("cloud.lock");
        let lock = File::create(&lock).with_context(|| format!("make {}", lock.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error).context("lock the cloud's place"),
        }
        let cluster = cluster.clone();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the cloud's runtime")?;
        let work = thread::Builder::new()
            .name("cloud".to_owned())
            .spawn(move || runtime.block_on(run(cluster, own, stopped)))
            .context("start the cloud's thread")?;
        let stop = stop.drop_guard();
        Ok(Some(Self { stop, work, lock }))
    }

    /// Ends it, when what it is at is done: a machine is not left half started.
    pub async fn stop(self) {
        drop(self.stop);
        let ended = task::spawn_blocking(move || self.work.join().is_ok()).await;
        if !ended.unwrap_or(false) {
            say("the cloud panicked");
        }
        drop(self.lock);
    }
}

async fn run(cluster: Cluster, own: OwnCluster, stop: CancellationToken) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = Vec::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let looks = [
            machines::follow(&cluster, &own).await,
            load_balancer::balance(&cluster.client(), &own).await,
        ];
        let wrong: Vec<_> = looks
            .into_iter()
            .filter_map(Result::err)
            .map(|error| format!("{error:#}"))
            .collect();
        // What is wrong is said once, until something else is.
        for one in wrong.iter().filter(|&one| !said.contains(one)) {
            say(format_args!("     the cloud: {one}"));
        }
        said = wrong;
    }
}
