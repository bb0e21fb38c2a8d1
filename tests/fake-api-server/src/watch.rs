//! Watches: from a version on, or from the beginning; ended by their timeout, by a fault, or with their kind.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::Frame;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    kinds::Kind,
    list,
    query::Query,
    server::Shared,
    status::Refusal,
    store::{Change, Store},
};

/// Between bookmarks, where nothing changes.
const BOOKMARK_INTERVAL: Duration = Duration::from_mins(1);

/// Of a watch that does not say how long it wants to last.
const LONGEST_WATCH: Duration = Duration::from_mins(30);

/// Events on their way to a client that reads slowly.
const WATCH_BUFFER: usize = 256;

/// What to watch.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) query: Query,
    pub(crate) is_metadata_only: bool,
}

/// The lines of a watch, as a body.
#[derive(Debug)]
pub(crate) struct WatchBody {
    lines: mpsc::Receiver<Bytes>,
}

impl http_body::Body for WatchBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.lines
            .poll_recv(ctx)
            .map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

/// Counts an open watch.
struct OpenGuard {
    shared: Arc<Shared>,
    plural: String,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.shared.watch_closed(&self.plural);
    }
}

impl Watch {
    /// Begins the watch; its body ends with it.
    pub(crate) fn start(self, shared: &Arc<Shared>) -> WatchBody {
        let (tx, lines) = mpsc::channel(WATCH_BUFFER);
        let (first, cursor) = self.first_events(&shared.store.lock());
        shared.watch_opened(&self.kind.plural);
        let guard = OpenGuard {
            shared: Arc::clone(shared),
            plural: self.kind.plural.clone(),
        };
        let cut = shared.watch_cut();
        tokio::spawn(async move {
            tokio::select! {
                () = cut.cancelled() => {}
                () = tx.closed() => {}
                () = self.run(&guard.shared, first, cursor, &tx) => {}
            }
        });
        WatchBody { lines }
    }

    /// What is sent at once, and the version from which changes follow; `None` if the watch is over already.
    fn first_events(&self, store: &Store) -> (Vec<Bytes>, Option<u64>) {
        let asked = self.query.resource_version.as_deref().unwrap_or("0");
        let is_from_start = self.query.sends_initial_events || asked == "0";
        if is_from_start {
            let objects = store.list(&self.kind, &self.namespace).map(|(_, object)| object);
            let matching = objects.filter(|object| self.query.selector.matches(object));
            let mut lines: Vec<Bytes> = matching.map(|object| self.event("ADDED", object)).collect();
            if self.query.sends_initial_events {
                lines.push(self.bookmark(store.version(), true));
            }
            return (lines, Some(store.version()));
        }
        match asked.parse::<u64>() {
            Ok(version) if version >= store.compacted() => (Vec::new(), Some(version)),
            Ok(_) => (vec![line("ERROR", &Refusal::expired().body)], None),
            Err(_) => (
                vec![line(
                    "ERROR",
                    &Refusal::bad_request("invalid resource version").body,
                )],
                None,
            ),
        }
    }

    async fn run(&self, shared: &Shared, first: Vec<Bytes>, cursor: Option<u64>, tx: &mpsc::Sender<Bytes>) {
        let lasts = self.query.timeout.unwrap_or(LONGEST_WATCH).min(LONGEST_WATCH);
        let deadline = Instant::now() + lasts;
        for line in first {
            shared.until_watches_flow().await;
            if tx.send(line).await.is_err() {
                return;
            }
        }
        let Some(mut cursor) = cursor else { return };
        let mut changes = shared.changed.subscribe();
        let mut bookmarks = shared.bookmarks_asked();
        let mut bookmark_at = Instant::now() + BOOKMARK_INTERVAL;
        loop {
            shared.until_watches_flow().await;
            changes.mark_unchanged();
            let Some((lines, version)) = self.events_after(&shared.store.lock(), cursor) else {
                return;
            };
            cursor = version;
            for line in lines {
                shared.until_watches_flow().await;
                if tx.send(line).await.is_err() {
                    return;
                }
            }
            let asked = shared.bookmarks_asked();
            if self.query.allows_bookmarks && (asked != bookmarks || Instant::now() >= bookmark_at) {
                bookmarks = asked;
                bookmark_at = Instant::now() + BOOKMARK_INTERVAL;
                if tx.send(self.bookmark(cursor, false)).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = sleep_until(bookmark_at) => {}
                () = sleep_until(deadline) => {
                    // A watch that is stalled does not end either.
                    shared.until_watches_flow().await;
                    return;
                }
            }
        }
    }

    /// The changes after `cursor` as this watch sees them; `None` once the kind is gone.
    fn events_after(&self, store: &Store, cursor: u64) -> Option<(Vec<Bytes>, u64)> {
        if !store.kinds().contains(&self.kind) {
            return None;
        }
        let key = self.kind.key();
        let changes = store.changes_after(cursor).filter(|change| change.key == key);
        let lines = changes.filter_map(|change| self.seen(change)).collect();
        Some((lines, store.version().max(cursor)))
    }

    /// An object that begins to match is added, one that ceases to is deleted.
    fn seen(&self, change: &Change) -> Option<Bytes> {
        let of = change.object["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default();
        if !self.namespace.is_empty() && of != self.namespace {
            return None;
        }
        let selector = &self.query.selector;
        let before = change
            .before
            .as_ref()
            .is_some_and(|before| selector.matches(before));
        let after = !change.is_deletion && selector.matches(&change.object);
        match (before, after) {
            (false, true) => Some(self.event("ADDED", &change.object)),
            (true, true) => Some(self.event("MODIFIED", &change.object)),
            (true, false) => Some(self.event("DELETED", &change.object)),
            (false, false) => None,
        }
    }

    fn event(&self, kind: &str, object: &Value) -> Bytes {
        let object = list::in_version(&self.kind, object);
        if self.is_metadata_only {
            line(kind, &list::metadata_only(&object))
        } else {
            line(kind, &object)
        }
    }

    fn bookmark(&self, version: u64, ends_initial_events: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        if ends_initial_events {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let bookmark = json!({
            "apiVersion": self.kind.api_version(), "kind": self.kind.kind, "metadata": metadata,
        });
        line("BOOKMARK", &bookmark)
    }
}

fn line(kind: &str, object: &Value) -> Bytes {
    format!("{}\n", json!({"type": kind, "object": object})).into()
}
