//! Events on HTTPRoutes whose deadlines or policies stand against what Rouse needs.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;

use super::{
    observed::Collection,
    plan::Remark,
    resource::{HttpRoute, Kind},
};
use crate::{
    event::{Events, Notice},
    observed::ObjectName,
};

/// Tells of each remark once.
#[derive(Debug)]
pub(super) struct Reporting {
    events: Events,
    /// What was told. Bounded by the remarks that there are.
    told: BTreeMap<ObjectName, Remark>,
}

impl Reporting {
    pub(super) fn new(events: Events) -> Self {
        Self {
            events,
            told: BTreeMap::new(),
        }
    }

    /// Tells of what has come up since the last call. To be called by the leader only.
    pub(super) fn tell(&mut self, remarks: &BTreeMap<ObjectName, Remark>, routes: &Collection<HttpRoute>) {
        self.told.retain(|name, _| remarks.contains_key(name));
        for (name, remark) in remarks {
            if self.told.get(name) == Some(remark) {
                continue;
            }
            self.told.insert(name.clone(), remark.clone());
            let Some(route) = routes.objects.get(name) else {
                continue;
            };
            self.events.publish(Notice {
                about: ObjectReference {
                    api_version: Some(format!("{}/{}", Kind::HttpRoute.group(), routes.version)),
                    kind: Some(Kind::HttpRoute.kind().to_owned()),
                    namespace: route.metadata.namespace.clone(),
                    name: route.metadata.name.clone(),
                    uid: route.metadata.uid.clone(),
                    ..ObjectReference::default()
                },
                is_warning: true,
                reason: remark.reason,
                action: "CheckTimeouts",
                note: remark.message.clone(),
            });
        }
    }
}
