//! Which Services wait for a node, as the status of their routes says.
//!
//! The controller sees pods that fit on no node and says so in the condition `WaitingForNode` of each route that sends to
//! them. Several routes may send to one Service: it waits as long as one of them says so.

use std::{collections::HashMap, sync::Arc};

use ahash::RandomState;
use parking_lot::Mutex;
use rouse_routing::RouteId;

use crate::index::IndexHandle;

/// Namespace and name.
type Service = (Arc<str>, Arc<str>);

/// Told of each route, it tells the index of Services. Bounded by the routes that say that they wait.
#[derive(Debug)]
pub(super) struct WaitingForNode {
    index: IndexHandle,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    routes: HashMap<RouteId, Service, RandomState>,
    /// How many of the routes name each Service.
    services: HashMap<Service, usize, RandomState>,
}

impl WaitingForNode {
    pub(super) fn new(index: IndexHandle) -> Self {
        Self {
            index,
            state: Mutex::default(),
        }
    }

    /// The route's target `service` waits for a node; `None`: the route says no such thing, or is gone.
    pub(super) fn set(&self, route: &RouteId, service: Option<&str>) {
        let mut state = self.state.lock();
        let known = state.routes.get(route).map(|(_, service)| &**service);
        if known == service {
            return;
        }
        // The new one first, so that a Service that two routes name does not cease to wait in between.
        if let Some(service) = service {
            let service: Service = (Arc::clone(&route.namespace), Arc::from(service));
            *state.services.entry(service.clone()).or_default() += 1;
            self.index.set_waiting_for_node(&service.0, &service.1, true);
            if let Some(before) = state.routes.insert(route.clone(), service) {
                self.drop_one(&mut state, &before);
            }
        } else if let Some(before) = state.routes.remove(route) {
            self.drop_one(&mut state, &before);
        }
    }

    fn drop_one(&self, state: &mut State, service: &Service) {
        let Some(count) = state.services.get_mut(service) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            state.services.remove(service);
            self.index.set_waiting_for_node(&service.0, &service.1, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rouse_routing::{HostOwnership, RouteKind, RouteTable};

    use super::*;
    use crate::{
        index::Publisher,
        plan::{RouteConfig, TargetConfig, TargetKey},
    };

    /// Notes which targets wait for a node.
    #[derive(Debug, Clone, Default)]
    struct Recorder(Arc<Mutex<HashMap<String, bool>>>);

    impl Publisher for Recorder {
        type Route = RouteId;

        fn targets(&self, upserted: &[(TargetKey, TargetConfig)], _: &[TargetKey]) {
            for (key, config) in upserted {
                self.0
                    .lock()
                    .insert(key.service.to_string(), config.waiting_for_node);
            }
        }

        fn route(&self, config: &RouteConfig) -> RouteId {
            config.id.clone()
        }

        fn routes(&self, _: Arc<RouteTable<RouteId>>, _: &[RouteId]) {}
    }

    fn route(name: &str, service: &str) -> rouse_api::HTTPScaledObject {
        serde_json::from_value(serde_json::json!({
            "metadata": { "namespace": "shop", "name": name },
            "spec": {
                "hosts": [format!("{name}.test")],
                "scaleTargetRef": { "name": service, "service": service, "port": 80 },
            },
        }))
        .unwrap()
    }

    fn id(name: &str) -> RouteId {
        RouteId::new(RouteKind::HttpScaledObject, "shop", name)
    }

    #[test]
    fn a_service_waits_as_long_as_one_of_its_routes_says_so() {
        let recorder = Recorder::default();
        let (index, _tables) = IndexHandle::new(recorder.clone(), HostOwnership::FirstNamespace);
        for (name, service) in [("one", "web"), ("two", "web"), ("three", "api")] {
            index.apply_http_scaled_object(route(name, service));
        }
        let waits = |service: &str| recorder.0.lock()[service];
        let waiting = WaitingForNode::new(index);
        assert!(!waits("web"));
        waiting.set(&id("one"), Some("web"));
        waiting.set(&id("one"), Some("web"));
        waiting.set(&id("two"), Some("web"));
        assert!(waits("web") && !waits("api"));
        waiting.set(&id("one"), None);
        assert!(waits("web"), "the other still says so");
        waiting.set(&id("two"), Some("api"));
        assert!(!waits("web") && waits("api"), "the route has another target");
        waiting.set(&id("two"), None);
        assert!(!waits("api"));
        let state = waiting.state.lock();
        assert!(state.routes.is_empty() && state.services.is_empty());
    }
}
