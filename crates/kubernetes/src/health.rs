//! How the watches of a process are: for `/metrics`, for `/readyz`'s text and for the log.
//!
//! One [`KindHealth`] for each kind, one [`WatchHealth`] for each watch of it. Written by the watches, read when somebody
//! asks. The log has one line when a kind's watches fail in a new way and one when all of them work again, however many
//! there are and however often they try.

mod metrics;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use crate::trouble::{Reason, Trouble};

/// A watch that has heard nothing for this long is told of. Above the longest silence of one that is well: the API server
/// ends every watch after `transport::WATCH`, and one that does not end is given up 5 s later.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(45);

/// The watches of a process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    kinds: Arc<RwLock<Vec<Arc<KindHealth>>>>,
}

/// How many objects a kind's sink keeps.
pub(crate) struct Count(pub(crate) Box<dyn Fn() -> usize + Send + Sync>);

impl fmt::Debug for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Count").field(&(self.0)()).finish()
    }
}

/// The watches of one kind.
#[derive(Debug)]
pub(crate) struct KindHealth {
    /// `HTTPScaledObject`
    pub(crate) name: &'static str,
    count: Count,
    watches: Mutex<Vec<Arc<WatchHealth>>>,
    /// What the log was told last.
    told: Mutex<Option<Told>>,
    lists: AtomicU64,
    errors: [AtomicU64; Reason::ALL.len()],
}

/// What is wrong, as the log knows it.
#[derive(Debug)]
struct Told {
    reason: Reason,
    since: Instant,
}

/// One watch.
#[derive(Debug)]
pub(crate) struct WatchHealth {
    kind: Arc<KindHealth>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    trouble: Option<Trouble>,
    /// When the API server last sent anything, or the watch began.
    last_contact: Instant,
    /// When what is known was last known to be right: told, or left to stand by a watch that lived. The watch's beginning
    /// until then.
    last_good: Instant,
    /// When an object was last told of.
    last_event: Option<Instant>,
    unreadable: usize,
}

/// For how long what is known of a kind may have been wrong. Cheap to clone.
///
/// Not the age of the last word from the API server, which may have been a refusal, but of the last that bore on the
/// objects.
#[derive(Debug, Clone)]
pub struct Freshness {
    kind: Arc<KindHealth>,
}

/// The watches of one kind at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Summary {
    watches: usize,
    unreadable: usize,
    troubled: [usize; Reason::ALL.len()],
    /// Of the watch that has heard nothing for the longest time.
    contact_age: Option<Duration>,
    /// Of the watch that was told of an object last.
    event_age: Option<Duration>,
    trouble: Option<Trouble>,
}

impl Health {
    pub(crate) fn add(&self, name: &'static str, count: Count) -> Arc<KindHealth> {
        let kind = Arc::new(KindHealth {
            name,
            count,
            watches: Mutex::default(),
            told: Mutex::default(),
            lists: AtomicU64::new(0),
            errors: Default::default(),
        });
        self.kinds.write().push(Arc::clone(&kind));
        kind
    }

    /// What is wrong with the watches, for people; `None` if nothing is.
    pub(crate) fn remark(&self) -> Option<String> {
        let remarks: Vec<String> = self
            .kinds
            .read()
            .iter()
            .filter_map(|kind| kind.remark())
            .collect();
        (!remarks.is_empty()).then(|| remarks.join("; "))
    }
}

impl Freshness {
    /// The time since all of what is known was last known to be right, of the watch where that is longest ago.
    /// `Duration::MAX` where nothing is watched (any longer).
    pub fn age(&self) -> Duration {
        let now = Instant::now();
        let watches = self.kind.watches.lock();
        let ages = watches.iter().map(|watch| now - watch.state.lock().last_good);
        ages.max().unwrap_or(Duration::MAX)
    }
}

impl KindHealth {
    pub(crate) fn freshness(self: &Arc<Self>) -> Freshness {
        Freshness {
            kind: Arc::clone(self),
        }
    }

    /// A watch of the kind, until it is [removed](Self::remove).
    pub(crate) fn watch(self: &Arc<Self>) -> Arc<WatchHealth> {
        let watch = Arc::new(WatchHealth {
            kind: Arc::clone(self),
            state: Mutex::new(State {
                trouble: None,
                last_contact: Instant::now(),
                last_good: Instant::now(),
                last_event: None,
                unreadable: 0,
            }),
        });
        self.watches.lock().push(Arc::clone(&watch));
        watch
    }

    pub(crate) fn remove(&self, watch: &Arc<WatchHealth>) {
        self.watches.lock().retain(|known| !Arc::ptr_eq(known, watch));
        self.tell_recovery();
    }

    fn summary(&self) -> Summary {
        let now = Instant::now();
        let watches = self.watches.lock();
        let mut summary = Summary {
            watches: watches.len(),
            unreadable: 0,
            troubled: Default::default(),
            contact_age: None,
            event_age: None,
            trouble: None,
        };
        for watch in watches.iter() {
            let state = watch.state.lock();
            summary.unreadable += state.unreadable;
            summary.contact_age = summary.contact_age.max(Some(now - state.last_contact));
            let event_age = state.last_event.map(|event| now - event);
            summary.event_age = match (summary.event_age, event_age) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            if let Some(trouble) = &state.trouble {
                if let Some(count) = summary.troubled.get_mut(trouble.reason as usize) {
                    *count += 1;
                }
                summary.trouble.get_or_insert_with(|| trouble.clone());
            }
        }
        summary
    }

    fn remark(&self) -> Option<String> {
        let summary = self.summary();
        let age = summary.contact_age.unwrap_or_default();
        let silence = if age > SILENT_AFTER {
            format!(", no word for {}s", age.as_secs())
        } else {
            String::new()
        };
        match summary.trouble {
            Some(trouble) => Some(format!("watch of {}: {trouble}{silence}", self.name)),
            None if silence.is_empty() => None,
            None => Some(format!("watch of {}{silence}", self.name)),
        }
    }

    fn tell_trouble(&self, trouble: &Trouble) {
        let mut told = self.told.lock();
        if told.as_ref().is_some_and(|told| told.reason == trouble.reason) {
            return;
        }
        let since = told.as_ref().map_or_else(Instant::now, |told| told.since);
        *told = Some(Told {
            reason: trouble.reason,
            since,
        });
        drop(told);
        tracing::warn!(
            kind = self.name,
            reason = trouble.reason.name(),
            "watch does not work, what is known stays, tried again: {trouble}"
        );
    }

    fn tell_recovery(&self) {
        let mut told = self.told.lock();
        if told.is_none() || self.summary().trouble.is_some() {
            return;
        }
        if let Some(Told { since, .. }) = told.take() {
            tracing::info!(kind = self.name, after = ?since.elapsed(), "watch works again");
        }
    }
}

impl WatchHealth {
    /// The API server sent something.
    pub(crate) fn contact(&self) {
        self.state.lock().last_contact = Instant::now();
    }

    /// What is known is right at this moment.
    pub(crate) fn confirmed(&self) {
        self.state.lock().last_good = Instant::now();
    }

    /// The API server took a request.
    pub(crate) fn works(&self) {
        let mut state = self.state.lock();
        state.last_contact = Instant::now();
        let was_troubled = state.trouble.take().is_some();
        drop(state);
        if was_troubled {
            self.kind.tell_recovery();
        }
    }

    /// It told of an object.
    pub(crate) fn event(&self) {
        self.state.lock().last_event = Some(Instant::now());
        self.works();
    }

    /// A list of all objects is complete.
    pub(crate) fn listed(&self) {
        self.kind.lists.fetch_add(1, Ordering::Relaxed);
        self.confirmed();
        self.works();
    }

    /// How many objects exist that cannot be read.
    pub(crate) fn set_unreadable(&self, count: usize) {
        self.state.lock().unreadable = count;
    }

    /// An attempt failed.
    pub(crate) fn fails(&self, trouble: Trouble) {
        if let Some(count) = self.kind.errors.get(trouble.reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.kind.tell_trouble(&trouble);
        self.state.lock().trouble = Some(trouble);
    }
}
