//! One interceptor's share of the picture, owned by the task that listens to it. Dropping it takes the share out.

use std::{collections::HashSet, sync::Arc};

use ahash::RandomState;
use rouse_proto::load::{LoadReport, RouteKind as ProtoKind, RouteLoad, TargetState};
use rouse_routing::{RouteId, RouteKind};

use super::{Picture, peer::Peer, route::Retirement, target::TargetId};

/// After this many entries of one report other tasks get their turn.
const ENTRIES_PER_TURN: usize = 256;

/// Why a report cannot be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReportError {
    #[error("the stream's first report is not a full one")]
    NotFull,
    #[error("the boot id changed in the middle of a stream")]
    BootIdChanged,
}

/// Applies one interceptor's reports.
#[derive(Debug)]
pub(crate) struct Session {
    picture: Arc<Picture>,
    peer: Arc<Peer>,
    /// The process whose counts stand.
    boot_id: Option<u64>,
    /// Whether the running stream has brought its full report.
    synced: bool,
    routes: HashSet<RouteId, RandomState>,
    targets: HashSet<TargetId, RandomState>,
}

impl Session {
    pub(crate) fn new(picture: Arc<Picture>, peer: Arc<Peer>) -> Self {
        Self {
            picture,
            peer,
            boot_id: None,
            synced: false,
            routes: HashSet::default(),
            targets: HashSet::default(),
        }
    }

    /// Whom it belongs to.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Takes one report over. Says whether it is the first of its stream.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: of a dropped call a part of the report is in the picture. End the stream then.
    pub(crate) async fn apply(&mut self, report: LoadReport) -> Result<bool, ReportError> {
        match (report.full, self.synced) {
            (false, false) => return Err(ReportError::NotFull),
            (false, true) if self.boot_id != Some(report.boot_id) => return Err(ReportError::BootIdChanged),
            _ => {}
        }
        if self.boot_id != Some(report.boot_id) {
            // Another process: what the old one held is gone with it.
            self.withdraw();
            self.boot_id = Some(report.boot_id);
        }

        // Targets first: whether a request is an edge depends on them.
        let mut entries = 0;
        let mut named_targets = HashSet::with_hasher(RandomState::new());
        for target in &report.targets {
            named_targets.extend(self.apply_target(report.boot_id, target).filter(|_| report.full));
            pause_sometimes(&mut entries).await;
        }
        let mut named_routes = HashSet::with_hasher(RandomState::new());
        for route in &report.routes {
            named_routes.extend(
                self.apply_route(report.boot_id, route, report.full)
                    .filter(|_| report.full),
            );
            pause_sometimes(&mut entries).await;
        }
        if report.full {
            // What the report does not name does not exist. Until then it stays in the sets, which are what is taken
            // out of the picture when this future or the session is dropped.
            let unnamed: Vec<_> = self.routes.difference(&named_routes).cloned().collect();
            for route in unnamed {
                self.peer
                    .count(self.picture.retire(&route, report.boot_id, Retirement::Removed));
                pause_sometimes(&mut entries).await;
            }
            self.routes = named_routes;
            let unnamed: Vec<_> = self.targets.difference(&named_targets).cloned().collect();
            for target in unnamed {
                self.picture.retract_target(&target, report.boot_id);
                pause_sometimes(&mut entries).await;
            }
            self.targets = named_targets;
        }
        let first = !self.synced;
        self.synced = true;
        if self.peer.reported(report.draining, self.picture.now()) {
            self.picture.progress();
        }
        Ok(first)
    }

    /// The stream has ended: the counts stand, but they are no longer news. Says whether it had been heard until now.
    pub(crate) fn lost(&mut self) -> bool {
        self.synced = false;
        let was_live = self.peer.fell_silent(self.picture.now());
        if let Some(boot_id) = self.boot_id {
            for target in &self.targets {
                self.picture.lose_target(target, boot_id);
            }
        }
        was_live
    }

    /// Takes the interceptor's share out of the picture. Its counters are remembered, in case it returns. Says whether
    /// there was a share.
    pub(crate) fn withdraw(&mut self) -> bool {
        let Some(boot_id) = self.boot_id.take() else {
            return false;
        };
        for route in self.routes.drain() {
            self.peer
                .count(self.picture.retire(&route, boot_id, Retirement::Unheard));
        }
        for target in self.targets.drain() {
            self.picture.retract_target(&target, boot_id);
        }
        true
    }

    /// Returns the target, unless it was removed.
    fn apply_target(&mut self, boot_id: u64, target: &TargetState) -> Option<TargetId> {
        let id = TargetId::of(target.target.as_ref()?);
        if target.removed {
            self.picture.retract_target(&id, boot_id);
            self.targets.remove(&id);
            return None;
        }
        self.picture
            .report_target(&id, boot_id, target.ready_endpoints > 0);
        self.targets.insert(id.clone());
        Some(id)
    }

    /// Returns the route, unless it was removed.
    fn apply_route(&mut self, boot_id: u64, load: &RouteLoad, full: bool) -> Option<RouteId> {
        let kind = match load.kind() {
            ProtoKind::HttpScaledObject => RouteKind::HttpScaledObject,
            ProtoKind::InterceptorRoute => RouteKind::InterceptorRoute,
            // A kind of a later version: nothing here can ask for it.
            ProtoKind::Unspecified => return None,
        };
        let id = RouteId::new(kind, load.namespace.as_str(), load.name.as_str());
        if load.removed {
            self.peer
                .count(self.picture.retire(&id, boot_id, Retirement::Removed));
            self.routes.remove(&id);
            return None;
        }
        self.peer
            .count(self.picture.report_route(&id, boot_id, load, full));
        self.routes.insert(id.clone());
        Some(id)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.peer.fell_silent(self.picture.now());
        self.withdraw();
    }
}

async fn pause_sometimes(entries: &mut usize) {
    *entries += 1;
    if entries.is_multiple_of(ENTRIES_PER_TURN) {
        tokio::task::yield_now().await;
    }
}
