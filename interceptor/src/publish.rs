//! Applies what the index has worked out to the live state: targets at once, routes with their table.

use std::sync::Arc;

use parking_lot::Mutex;
use rouse_daemon::readiness::Blocker;
use rouse_routing::{RouteId, RouteTable};

use crate::{
    gate::Verdict,
    index::Publisher,
    plan::{RouteConfig, TargetConfig, TargetKey},
    route::{RouteSettings, RouteState},
    state::State,
    target::Target,
};

/// The one writer of the live state. Called by the index, one call at a time.
#[derive(Debug)]
pub(crate) struct LivePublisher {
    state: Arc<State>,
    /// Keeps the interceptor from being ready until the first routes are known.
    routes_known: Mutex<Option<Blocker>>,
}

impl LivePublisher {
    pub(crate) fn new(state: Arc<State>, routes_known: Blocker) -> Self {
        Self {
            state,
            routes_known: Mutex::new(Some(routes_known)),
        }
    }
}

impl Publisher for LivePublisher {
    type Route = Arc<RouteState>;

    /// Whoever waits for a target that becomes ready is served before this returns.
    fn targets(&self, upserted: &[(TargetKey, TargetConfig)], removed: &[TargetKey]) {
        for (key, config) in upserted {
            let target = self.state.target(key);
            target.update(config);
            self.state.hub.target_changed(key, target.ready_count());
        }
        for key in removed {
            if let Some((_, target)) = self.state.targets.remove(key) {
                target.update(&TargetConfig::default());
                self.state.hub.target_removed(key);
            }
        }
    }

    /// Requests that wait for a route's old target follow to its new one.
    fn route(&self, config: &RouteConfig) -> Arc<RouteState> {
        let state = &self.state;
        let target = state.target(&config.target);
        let fallback = config.fallback.as_ref().map(|key| state.target(key));
        let settings = RouteSettings::new(config, &state.config, Arc::clone(&target), fallback);
        let known = state.routes.get(&config.id).map(|route| Arc::clone(&route));
        if let Some(route) = known {
            let old = route.update(settings);
            if !Arc::ptr_eq(&old.target, &target) {
                old.target.gate().dismiss(&config.id, || Verdict::Retarget);
                route.report();
            }
            return route;
        }
        let metrics = state.metrics.for_route(&config.id);
        let route = Arc::new(RouteState::new(
            config.id.clone(),
            config.rate_window,
            settings,
            metrics,
            state.hub.clone(),
        ));
        state.routes.insert(config.id.clone(), Arc::clone(&route));
        state.hub.route_added(Arc::clone(&route) as _);
        route
    }

    /// Requests that wait for a removed route look for the one that has taken its place.
    fn routes(&self, table: Arc<RouteTable<Arc<RouteState>>>, removed: &[RouteId]) {
        self.state.table.store(table);
        self.state.tables.send_modify(|count| *count += 1);
        for id in removed {
            if let Some((_, route)) = self.state.routes.remove(id) {
                route.remove();
                route
                    .settings()
                    .target
                    .gate()
                    .dismiss(id, || Verdict::RouteRemoved);
                self.state.hub.route_removed(id);
            }
        }
    }

    fn synced(&self) {
        drop(self.routes_known.lock().take());
    }
}

impl State {
    /// The live target of `key`, made when it is first named.
    fn target(&self, key: &TargetKey) -> Arc<Target> {
        let make = || Target::new(key.clone(), Arc::clone(&self.target_settings));
        Arc::clone(&self.targets.entry(key.clone()).or_insert_with(make))
    }
}
