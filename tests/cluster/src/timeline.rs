//! When things were first seen to hold, as watches see them: the times of a timeline. Used by cases that say where the time of a
//! cold start goes; each watch is a task of its own, which ends with its [`Milestones`].

use std::{fmt::Debug, time::Duration};

use anyhow::Context as _;
use futures_util::{StreamExt as _, pin_mut};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, timeout},
};

/// What may hold of an object, by the name of the milestone.
pub type Milestone<K> = (&'static str, fn(&K) -> bool);

/// The times of one kind's milestones, still being watched for.
#[derive(Debug)]
pub struct Milestones {
    /// Of one task; a set, because dropping it ends the task.
    task: JoinSet<anyhow::Result<Vec<(&'static str, Instant)>>>,
}

impl Milestones {
    /// Watches until each milestone has held of some object. Returns when the watch stands: what comes after is not missed. Its
    /// first list has to come within `bound`.
    pub async fn watch<K>(
        api: Api<K>,
        config: watcher::Config,
        milestones: &'static [Milestone<K>],
        bound: Duration,
    ) -> anyhow::Result<Self>
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        K::DynamicType: Sync,
    {
        let (stands, standing) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(see(api, config, milestones, stands));
        timeout(bound, standing)
            .await
            .with_context(|| format!("no first list within {bound:?}"))?
            .context("the watch ended")?;
        Ok(Self { task })
    }

    /// The times, once all have been seen, which has to be within `bound`.
    pub async fn all(mut self, bound: Duration) -> anyhow::Result<Vec<(&'static str, Instant)>> {
        timeout(bound, self.task.join_next())
            .await
            .with_context(|| format!("not every milestone was seen within {bound:?}"))?
            .context("no watch")?
            .context("the watch ended badly")?
    }
}

async fn see<K>(
    api: Api<K>,
    config: watcher::Config,
    milestones: &'static [Milestone<K>],
    stands: oneshot::Sender<()>,
) -> anyhow::Result<Vec<(&'static str, Instant)>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Sync,
{
    let mut stands = Some(stands);
    let mut seen: Vec<(&'static str, Instant)> = Vec::new();
    let events = watcher(api, config).default_backoff();
    pin_mut!(events);
    while seen.len() < milestones.len() {
        // An error is repeated by the watcher; the bound of `all` ends what never comes.
        let Some(event) = events.next().await else {
            anyhow::bail!("the watch ended");
        };
        match event {
            Ok(Event::InitDone) => {
                if let Some(stands) = stands.take() {
                    // Nobody waits any more: the case is being ended.
                    stands.send(()).ok();
                }
            }
            // What is on its way out belongs to an earlier case.
            Ok(Event::Apply(object) | Event::InitApply(object))
                if object.meta().deletion_timestamp.is_none() =>
            {
                for (name, holds) in milestones {
                    if seen.iter().all(|(earlier, _)| earlier != name) && holds(&object) {
                        seen.push((name, Instant::now()));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(seen)
}
