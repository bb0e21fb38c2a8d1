//! The loop: something has changed, so observe, plan, tell, and as the leader carry the plan out.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use parking_lot::RwLock;
use rouse_kubernetes::lease::Leadership;
use rouse_routing::RouteId;
use serde::de::DeserializeOwned;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{
    apply::{Applier, REST},
    observed::Observed,
    ownership::Ownership,
    plan::{Plan, plan},
    report::Reporting,
    resource::{Gateway, GatewayClass, HttpRoute, Kind, ReferenceGrant, Service, TrafficPolicy},
    route_object::{RouteObject, served},
    settings::{GatewaySettings, ScopeWatch},
    watch::{Place, RECHECK, Source, SourceWatch},
};
use crate::{
    condition::{ConditionSource, Finding},
    parts::Parts,
};

/// What comes within this time is one change: an `apply` of several objects, a list.
const COALESCE: Duration = Duration::from_millis(50);

/// A plan looks at everything, so the next one waits this many times as long as the last one took: of a core, it never
/// takes more than a tenth.
const WAIT_PER_PLAN: u32 = 9;

/// The conditions that are found, shared with whoever asks.
type Conditions = Arc<RwLock<BTreeMap<RouteId, Finding>>>;

/// Answers for the condition `GatewayReady`. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct GatewayConditions {
    conditions: Conditions,
}

/// The watches' ends.
struct Sources {
    service: Arc<Source<Service>>,
    http_routes: Arc<Source<HttpRoute>>,
    gateways: Arc<Source<Gateway>>,
    gateway_classes: Arc<Source<GatewayClass>>,
    grants: Arc<Source<ReferenceGrant>>,
    policies: Arc<Source<TrafficPolicy>>,
}

struct Loop {
    parts: Parts,
    settings: Arc<GatewaySettings>,
    sources: Sources,
    scope: ScopeWatch,
    changed: Arc<Notify>,
    conditions: Conditions,
    applier: Applier,
    reporting: Reporting,
    /// What the last plan was made from.
    route_objects: Vec<RouteObject>,
    /// How long it took.
    took: Duration,
}

/// Starts the watches and the loop on the current runtime; they end with `parts.shutdown`.
///
/// The routes have to be known before this process leads: what no route asks for is taken away then.
pub(crate) fn start(parts: &Parts, settings: GatewaySettings, scope: ScopeWatch) -> GatewayConditions {
    let conditions = GatewayConditions::default();
    let ownership = Ownership::new(&settings.interceptor.namespace);
    let changed = Arc::new(Notify::new());
    // What is known from the start is looked at as well.
    changed.notify_one();
    let work = Loop {
        sources: Sources::start(parts, &settings, &scope, &ownership, &changed),
        settings: Arc::new(settings),
        applier: Applier::new(parts.client.clone(), ownership),
        scope,
        changed,
        conditions: Arc::clone(&conditions.conditions),
        reporting: Reporting::new(parts.events.clone()),
        route_objects: Vec::new(),
        took: Duration::ZERO,
        parts: parts.clone(),
    };
    let shutdown = parts.shutdown.clone();
    tokio::spawn(async move {
        shutdown.run_until_cancelled(work.run()).await;
    });
    conditions
}

// === impl GatewayConditions ===

impl ConditionSource for GatewayConditions {
    fn condition(&self, route: &RouteId) -> Option<Finding> {
        self.conditions.read().get(route).cloned()
    }
}

impl fmt::Debug for GatewayConditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayConditions")
            .field("conditions", &self.conditions.read().len())
            .finish()
    }
}

// === impl Sources ===

impl Sources {
    fn start(
        parts: &Parts,
        settings: &GatewaySettings,
        scope: &ScopeWatch,
        ownership: &Ownership,
        changed: &Arc<Notify>,
    ) -> Self {
        let watching = Watching {
            parts,
            ownership,
            changed,
        };
        let interceptor = &settings.interceptor;
        let within = || Place::Scope(scope.clone());
        let beside = |name| Place::Namespace(Arc::clone(&interceptor.namespace), name);
        Self {
            service: watching.start(Kind::Service, beside(Some(Arc::clone(&interceptor.name)))),
            grants: watching.start(Kind::ReferenceGrant, beside(None)),
            http_routes: watching.start(Kind::HttpRoute, within()),
            policies: watching.start(Kind::BackendTrafficPolicy, within()),
            gateways: watching.start(Kind::Gateway, Place::Everywhere),
            gateway_classes: watching.start(Kind::GatewayClass, Place::Everywhere),
        }
    }

    fn version(&self, kind: Kind) -> &'static str {
        match kind {
            Kind::HttpRoute => self.http_routes.version(),
            Kind::ReferenceGrant => self.grants.version(),
            Kind::BackendTrafficPolicy => self.policies.version(),
            Kind::Gateway | Kind::GatewayClass | Kind::Service => "",
        }
    }
}

struct Watching<'a> {
    parts: &'a Parts,
    ownership: &'a Ownership,
    changed: &'a Arc<Notify>,
}

impl Watching<'_> {
    fn start<T>(&self, kind: Kind, place: Place) -> Arc<Source<T>>
    where
        T: DeserializeOwned + Clone + fmt::Debug + Send + Sync + 'static,
    {
        let source = Source::new(self.changed);
        let watch = SourceWatch {
            client: self.parts.client.clone(),
            kind,
            place,
            ownership: self.ownership.clone(),
            source: Arc::clone(&source),
        };
        let shutdown = self.parts.shutdown.clone();
        tokio::spawn(async move {
            shutdown.run_until_cancelled(watch.run()).await;
        });
        source
    }
}

// === impl Loop ===

impl Loop {
    async fn run(mut self) {
        let mut routes = self.parts.observed.revision();
        let mut leadership = self.parts.leadership.clone();
        let mut again: Option<Instant> = None;
        loop {
            tokio::select! {
                () = self.changed.notified() => {}
                changed = routes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // Mostly it was a status. That is not looked at more often than a plan is made.
                    let begun = Instant::now();
                    if self.parts.observed.read(served) == self.route_objects {
                        sleep(COALESCE.max(begun.elapsed() * WAIT_PER_PLAN)).await;
                        continue;
                    }
                }
                () = self.scope.changed() => {}
                changed = leadership.changed() => if changed.is_err() { return },
                () = until(again) => {}
            }
            sleep(COALESCE.max(self.took * WAIT_PER_PLAN)).await;
            again = self.round().await.map(|wait| Instant::now() + wait);
        }
    }

    /// One round. Says when the next has to be, if nothing changes until then.
    async fn round(&mut self) -> Option<Duration> {
        let begun = Instant::now();
        let observed = self.observe()?;
        if !observed.is_settled() {
            return None;
        }
        let plan = plan(&observed);
        self.took = begun.elapsed();
        self.route_objects.clone_from(&observed.route_objects);
        self.publish(&plan);
        let leadership = self.parts.leadership.borrow().clone();
        match leadership {
            Leadership::Standby => None,
            Leadership::Leader(term) => term
                .run_until_cancelled(self.carry_out(&plan, &observed))
                .await
                .flatten(),
        }
    }

    fn observe(&self) -> Option<Observed> {
        Some(Observed {
            settings: Arc::clone(&self.settings),
            scope: self.scope.current()?,
            route_objects: self.parts.observed.read(served),
            service: self.sources.service.snapshot(),
            http_routes: self.sources.http_routes.snapshot(),
            gateways: self.sources.gateways.snapshot(),
            gateway_classes: self.sources.gateway_classes.snapshot(),
            grants: self.sources.grants.snapshot(),
            policies: self.sources.policies.snapshot(),
            refused: self.applier.refused().clone(),
        })
    }

    /// Has the routes reconciled whose condition has become another.
    fn publish(&self, plan: &Plan) {
        let before = std::mem::replace(&mut *self.conditions.write(), plan.conditions.clone());
        let gone = before.keys().filter(|id| !plan.conditions.contains_key(*id));
        let changed = plan
            .conditions
            .iter()
            .filter(|(id, condition)| before.get(*id) != Some(*condition))
            .map(|(id, _)| id);
        for id in gone.chain(changed) {
            self.parts.requeue.route(id.clone());
        }
    }

    async fn carry_out(&mut self, plan: &Plan, observed: &Observed) -> Option<Duration> {
        self.reporting.tell(&plan.remarks, &observed.http_routes);
        let sources = &self.sources;
        let round = self.applier.carry_out(plan, |kind| sources.version(kind)).await;
        if round.has_news {
            return Some(Duration::ZERO);
        }
        if !round.is_unfinished {
            return None;
        }
        let has_failed = !self.applier.refused().is_empty();
        Some(if has_failed { RECHECK } else { REST })
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
