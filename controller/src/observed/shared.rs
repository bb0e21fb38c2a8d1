//! What is observed behind one lock: the watches write it, reconciling and the conditions read it. Each change asks for the routes
//! that it concerns once more; claims on hosts are settled together, 50 ms after the first of them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parking_lot::RwLock;
use rouse_routing::RouteId;
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use super::Observed;
use crate::queue::Requeue;

/// How long claims on hosts may come together before it is found out who gets them.
const SETTLE_AFTER: Duration = Duration::from_millis(50);

/// What is observed, shared by the watches, which change it, and those who read it. Cheap to clone.
///
/// The lock is held for one event or for one reading, never across an await.
#[derive(Debug, Clone)]
pub(crate) struct SharedObserved {
    observed: Arc<RwLock<Observed>>,
    requeue: Requeue,
    revision: Arc<watch::Sender<u64>>,
    unsettled: Arc<Notify>,
}

impl SharedObserved {
    /// Nothing observed yet. Routes that events concern go to `requeue`.
    pub(crate) fn new(requeue: Requeue) -> Self {
        Self {
            observed: Arc::default(),
            requeue,
            revision: Arc::new(watch::Sender::new(0)),
            unsettled: Arc::default(),
        }
    }

    /// Reads.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Observed) -> T) -> T {
        read(&self.observed.read())
    }

    /// Tells of one event, or of several that belong together.
    pub(crate) fn update(&self, update: impl FnOnce(&mut Observed)) {
        let (dirty, is_settled) = {
            let mut observed = self.observed.write();
            update(&mut observed);
            (observed.take_dirty(), observed.is_settled())
        };
        self.pass_on(dirty);
        if !is_settled {
            self.unsettled.notify_one();
        }
    }

    /// As [`update`](Self::update), by the reconciler of `id`, which goes on with what it tells here: it concerns others only.
    pub(crate) fn update_for(&self, id: &RouteId, update: impl FnOnce(&mut Observed)) {
        let dirty = {
            let mut observed = self.observed.write();
            // What is dirty already was so for other reasons.
            let before = observed.take_dirty();
            update(&mut observed);
            let mut dirty = observed.take_dirty();
            dirty.remove(id);
            dirty.extend(before);
            dirty
        };
        self.pass_on(dirty);
    }

    /// Finds out who gets which host, if that may have changed. To be called before claims are read.
    pub(crate) fn settle(&self) {
        if self.observed.read().is_settled() {
            return;
        }
        let dirty = {
            let mut observed = self.observed.write();
            observed.settle();
            observed.take_dirty()
        };
        self.pass_on(dirty);
    }

    /// Settles soon after every change, also of routes that nobody reads.
    pub(crate) async fn keep_settled(&self) {
        loop {
            self.unsettled.notified().await;
            sleep(SETTLE_AFTER).await;
            self.settle();
        }
    }

    fn pass_on(&self, dirty: BTreeSet<RouteId>) {
        if !dirty.is_empty() {
            self.revision.send_modify(|revision| *revision += 1);
        }
        for id in dirty {
            self.requeue.route(id);
        }
    }

    /// Changes whenever something of a route, or something that a route is concerned by, does. For areas that look at all
    /// routes: wait for a change, wait a moment for more, and [`read`](Self::read).
    pub(crate) fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Every route's id.
    pub(crate) fn route_ids(&self) -> Vec<RouteId> {
        self.read(|observed| observed.routes().map(|route| route.id.clone()).collect())
    }
}
