//! From the events of one watch to a sink.
//!
//! An object that cannot be read is told of once for each way in which it is wrong, and counted. If an earlier version of
//! it could be read, that version stays in use, as with one that can be read and not be served: a mistake in an object
//! that serves requests must not end the service. It goes when it is deleted, or repaired into what replaces it.

use std::{collections::HashMap, pin::pin, time::Duration};

use futures_util::{Stream, StreamExt};
use kube::{
    Resource,
    runtime::watcher::{self, DefaultBackoff, Event},
};
use tokio::time::{Instant, sleep};

use crate::{
    guard::{Guarded, Unreadable},
    health::WatchHealth,
    listed::Listed,
    sink::Sink,
    trouble::{Reason, Trouble},
};

/// The longest pause between two attempts. Below the 30 s of kube's own: held requests wait for what the next attempt
/// tells. Also how soon a kind is served whose CustomResourceDefinition is installed late.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// After this long without a failure the pauses begin anew.
const CALM: Duration = Duration::from_mins(1);

/// What the driver says of the watch's first steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// All objects are known.
    Listed,
    /// The cluster does not have the kind.
    Missing,
    /// The API server does not let us.
    Forbidden,
}

/// One watch on its way to its sink.
pub(crate) struct Driver<'a, S> {
    pub(crate) sink: &'a S,
    pub(crate) health: &'a WatchHealth,
    /// As in [`Sink::reset`].
    pub(crate) within: Option<&'a str>,
    /// `HTTPScaledObject`
    pub(crate) kind: &'static str,
    /// `httpscaledobjects.http.keda.sh/v1alpha1`
    pub(crate) resource: String,
}

impl<S> Driver<'_, S> {
    /// Takes events until the watch cannot go on and has to be begun anew, with a list. `step` may be called many times.
    pub(crate) async fn run<K>(
        &self,
        events: impl Stream<Item = watcher::Result<Event<Guarded<K>>>>,
        mut step: impl FnMut(Step),
    ) where
        K: Resource<DynamicType = ()>,
        S: Sink<K>,
    {
        let mut events = pin!(events);
        let mut pauses = Pauses::default();
        let mut listed = Listed::default();
        let mut unreadable = UnreadableObjects::default();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => {
                    listed = Listed::default();
                    // It says that a list is about to be asked for, not that there was an answer.
                    continue;
                }
                Ok(Event::InitApply(object)) => {
                    let (namespace, name) = name_of(&object);
                    listed.insert(namespace, name);
                    self.apply(object, &mut unreadable);
                }
                Ok(Event::InitDone) => {
                    self.sink.reset(self.within, &listed);
                    unreadable.retain(&listed);
                    listed = Listed::default();
                    self.health.listed();
                    step(Step::Listed);
                }
                Ok(Event::Apply(object)) => self.apply(object, &mut unreadable),
                Ok(Event::Delete(object)) => {
                    let (namespace, name) = name_of(&object);
                    unreadable.forget(namespace, name);
                    self.sink.delete(namespace, name);
                    self.health.event();
                }
                Err(error) => {
                    listed = Listed::default();
                    if let Some(trouble) = Trouble::of(&error, &self.resource) {
                        tracing::debug!(kind = self.kind, %error, "watch failed");
                        match trouble.reason {
                            Reason::Missing => step(Step::Missing),
                            Reason::Forbidden => step(Step::Forbidden),
                            Reason::Unreachable | Reason::Failed => {}
                        }
                        self.health.fails(trouble);
                    } else {
                        // It answers, so what comes next is not another attempt of the same.
                        pauses.reset();
                    }
                    sleep(pauses.next()).await;
                    if has_lost_its_place(&error) {
                        return;
                    }
                    continue;
                }
            }
            pauses.reset();
            self.health.set_unreadable(unreadable.objects.len());
        }
    }

    fn apply<K>(&self, object: Guarded<K>, unreadable: &mut UnreadableObjects)
    where
        K: Resource<DynamicType = ()>,
        S: Sink<K>,
    {
        match object.0 {
            Ok(object) => {
                let metadata = object.meta();
                let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
                if unreadable.forget(namespace.unwrap_or_default(), name.unwrap_or_default()) {
                    tracing::info!(kind = self.kind, namespace, name, "object can be read again");
                }
                self.sink.apply(object);
            }
            Err(error) => unreadable.tell(self.kind, &error),
        }
        self.health.event();
    }
}

/// API servers say in the stream that a watch begins too far in the past, and kube's watcher then lists. What stands between
/// may say it by the status of the answer, and then it would ask for the same place for ever.
fn has_lost_its_place(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410)
}

fn name_of<K: Resource>(object: &K) -> (&str, &str) {
    let metadata = object.meta();
    (
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

/// The objects that exist and cannot be read, with what was last told of each. Bounded by the objects that exist.
#[derive(Debug, Default)]
struct UnreadableObjects {
    objects: HashMap<(String, String), String>,
}

impl UnreadableObjects {
    fn tell(&mut self, kind: &'static str, unreadable: &Unreadable) {
        let text = unreadable.to_string();
        let (namespace, name) = (&unreadable.metadata.namespace, &unreadable.metadata.name);
        let key = (
            namespace.clone().unwrap_or_default(),
            name.clone().unwrap_or_default(),
        );
        if self.objects.get(&key) == Some(&text) {
            return;
        }
        tracing::warn!(
            kind,
            namespace = key.0,
            name = key.1,
            field = unreadable.field,
            error = unreadable.error,
            "object cannot be read, skipped; its last good version stays in use"
        );
        self.objects.insert(key, text);
    }

    /// Says whether it was one of them.
    fn forget(&mut self, namespace: &str, name: &str) -> bool {
        // Nearly always empty, and then nothing is allocated.
        !self.objects.is_empty()
            && self
                .objects
                .remove(&(namespace.to_owned(), name.to_owned()))
                .is_some()
    }

    fn retain(&mut self, listed: &Listed) {
        self.objects
            .retain(|(namespace, name), _| listed.contains(namespace, name));
    }
}

/// The pauses between attempts.
#[derive(Default)]
struct Pauses {
    backoff: DefaultBackoff,
    last: Option<Instant>,
}

impl Pauses {
    fn next(&mut self) -> Duration {
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last > CALM) {
            self.reset();
        }
        self.last = Some(now);
        self.backoff.next().unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
    }

    fn reset(&mut self) {
        self.last = None;
        self.backoff = DefaultBackoff::default();
    }
}

#[cfg(test)]
mod tests;
