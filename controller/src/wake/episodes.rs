//! Since when each route waits, and when to look at its workload. Pure, with the time as an argument.
//!
//! ```text
//! (none) ── a request is held ──▶ waiting ── patience ──▶ looking ── nothing to do now ──▶ waiting, longer
//!                                                            └── scaled by us ──▶ woken
//! any ── an endpoint is ready, or the demand is over ──▶ (none)
//! ```
//!
//! One episode is one wake: what it has scaled once it never scales again, or it would fight with whoever takes it back.

use std::{collections::HashMap, time::Duration};

use rouse_routing::RouteId;
use tokio::time::Instant;

use crate::observed::Workload;

/// From the first word of a wait to the first look, at least.
const MOMENT: Duration = Duration::from_secs(1);

/// Before the second look; it doubles with each further one. Short, because what the first has found passes: a call failed,
/// or the workload had replicas and was being scaled in.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Between looks, at most, and so the longest that a workload sleeps which is scaled in while requests are held.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The routes that wait, each with its episode. Bounded by them.
#[derive(Debug)]
pub(crate) struct Episodes {
    patience: Duration,
    open: HashMap<RouteId, Episode>,
}

#[derive(Debug)]
struct Episode {
    since: Instant,
    /// When to look at the workload. `None` while somebody does, and when there is nothing left to do.
    look_at: Option<Instant>,
    pause: Duration,
    /// What the last look came to, in words. Empty before the first.
    result: String,
    /// What has been scaled in this episode.
    woken: Vec<Workload>,
}

/// When to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// Everything has been scaled.
    Never,
    /// There was nothing to do, or it failed: later with each time.
    Later,
    /// The look was cut short: as soon as possible.
    Soon,
}

impl Episodes {
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            patience,
            open: HashMap::new(),
        }
    }

    /// Begins episodes for those that wait now and did not before, and ends those of the others.
    ///
    /// Each has the time since which its requests are held: they may have been before the endpoints were gone. KEDA, which
    /// hears of that when this process does, has a moment all the same.
    pub(crate) fn follow(&mut self, waiting: &HashMap<RouteId, Instant>, now: Instant) {
        self.open.retain(|id, _| waiting.contains_key(id));
        for (id, since) in waiting {
            if !self.open.contains_key(id) {
                let earliest = now + MOMENT.min(self.patience);
                let episode = Episode {
                    since: *since,
                    look_at: Some(earliest.max(*since + self.patience)),
                    pause: FIRST_PAUSE,
                    result: String::new(),
                    woken: Vec::new(),
                };
                self.open.insert(id.clone(), episode);
            }
        }
    }

    /// When the next route is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.open.values().filter_map(|episode| episode.look_at).min()
    }

    /// Takes the route that has been due for longest, with the time since which it waits; one that nobody has looked at before
    /// any other. Whoever takes it looks at it, and then says how that [ended](Self::looked).
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(RouteId, Instant)> {
        let due = self.open.iter_mut().filter_map(|(id, episode)| {
            let look_at = episode.look_at?;
            (look_at <= now).then_some((look_at, id, episode))
        });
        let (_, id, episode) =
            due.min_by_key(|(look_at, _, episode)| (!episode.result.is_empty(), *look_at))?;
        episode.look_at = None;
        Some((id.clone(), episode.since))
    }

    /// A look has ended, in which `woken` were scaled. Of no consequence where the episode has ended too; counted for the new
    /// one where the route waits again already.
    pub(crate) fn looked(&mut self, id: &RouteId, woken: Vec<Workload>, again: Again, now: Instant) {
        let Some(episode) = self.open.get_mut(id) else {
            return;
        };
        episode.woken.extend(woken);
        episode.look_at = match again {
            Again::Never => None,
            Again::Soon => Some(now),
            Again::Later => {
                let look_at = now + episode.pause;
                episode.pause = (episode.pause * 2).min(LONGEST_PAUSE);
                Some(look_at)
            }
        };
    }

    /// Notes what a look has come to, in words, and says whether that is news: the look before came to something else, or
    /// there was none in this episode.
    pub(crate) fn is_news(&mut self, id: &RouteId, result: &str) -> bool {
        let Some(episode) = self.open.get_mut(id) else {
            return true;
        };
        let is_news = episode.result != result;
        if is_news {
            result.clone_into(&mut episode.result);
        }
        is_news
    }

    /// Whether the workload has been scaled in an episode that is not over: of this route or another of the same workload.
    pub(crate) fn is_woken(&self, workload: &Workload) -> bool {
        self.open.values().any(|episode| episode.woken.contains(workload))
    }
}

#[cfg(test)]
mod tests;
