//! A route as its object says it: either of the add-on's two resources, also one that cannot be read.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rouse_api::{
    FieldError, FieldWarning, HTTPScaledObject, HTTPScaledObjectSpec, InterceptorRoute, InterceptorRouteSpec,
    ServicePort,
    condition::Condition,
    http_scaled_object::{ORPHAN_SCALED_OBJECT_ANNOTATION, SKIP_SCALED_OBJECT_ANNOTATION},
};
use rouse_routing::{RouteId, RouteKind};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{ObjectName, Workload, WorkloadKind};

/// What of an object is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Route {
    pub(crate) id: RouteId,
    pub(crate) uid: Box<str>,
    /// Which version of the object this is; empty for one that was never in a cluster.
    pub(crate) resource_version: Box<str>,
    /// Which version of the spec.
    pub(crate) generation: i64,
    pub(crate) created: Timestamp,
    pub(crate) is_deleting: bool,
    pub(crate) finalizers: Box<[String]>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) spec: Spec,
    /// Why it cannot be served. Empty for a good object.
    pub(crate) problems: Box<[FieldError]>,
    /// What of it is served differently from how it is written.
    pub(crate) warnings: Box<[FieldWarning]>,
    pub(crate) status: RouteStatus,
}

/// What the object asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Spec {
    HttpScaledObject(Box<HTTPScaledObjectSpec>),
    InterceptorRoute(Box<InterceptorRouteSpec>),
    /// It cannot be read, for this reason. A definition of another version lets such objects through, and durations are any
    /// text to the API server.
    Unreadable(String),
}

/// The status as it is now.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RouteStatus {
    pub(crate) target_workload: Option<String>,
    pub(crate) target_service: Option<String>,
    pub(crate) conditions: Vec<Condition>,
}

/// A Service and its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) service: &'a str,
    /// `None` where validation refuses what is given.
    pub(crate) port: Option<ServicePort<'a>>,
}

impl Route {
    /// Reads an object. Never fails: what cannot be read is [`Spec::Unreadable`], so that its status can say so.
    pub(crate) fn read(kind: RouteKind, metadata: &ObjectMeta, spec: &Value, status: &Value) -> Self {
        let (spec, problems, warnings) = match kind {
            RouteKind::HttpScaledObject => match parse::<HTTPScaledObjectSpec>(spec) {
                Ok(spec) => {
                    let object = HTTPScaledObject {
                        metadata: ObjectMeta::default(),
                        spec,
                        status: None,
                    };
                    let (problems, warnings) = (object.validate(), object.warnings());
                    (Spec::HttpScaledObject(Box::new(object.spec)), problems, warnings)
                }
                Err(problem) => (Spec::Unreadable(problem), Vec::new(), Vec::new()),
            },
            RouteKind::InterceptorRoute => match parse::<InterceptorRouteSpec>(spec) {
                Ok(spec) => {
                    let object = InterceptorRoute {
                        metadata: ObjectMeta::default(),
                        spec,
                        status: None,
                    };
                    let (problems, warnings) = (object.validate(), object.warnings());
                    (Spec::InterceptorRoute(Box::new(object.spec)), problems, warnings)
                }
                Err(problem) => (Spec::Unreadable(problem), Vec::new(), Vec::new()),
            },
        };
        let name = ObjectName::of(metadata);
        let text = |value: Option<&str>| Box::from(value.unwrap_or_default());
        Self {
            id: RouteId::new(kind, name.namespace, name.name),
            uid: text(metadata.uid.as_deref()),
            resource_version: text(metadata.resource_version.as_deref()),
            generation: metadata.generation.unwrap_or_default(),
            created: metadata
                .creation_timestamp
                .as_ref()
                .map_or(Timestamp::UNIX_EPOCH, |created| created.0),
            is_deleting: metadata.deletion_timestamp.is_some(),
            finalizers: metadata.finalizers.clone().unwrap_or_default().into(),
            labels: metadata.labels.clone().unwrap_or_default(),
            annotations: metadata.annotations.clone().unwrap_or_default(),
            spec,
            problems: problems.into(),
            warnings: warnings.into(),
            status: RouteStatus::read(status),
        }
    }

    /// Whether it can be served, other routes aside.
    pub(crate) fn is_valid(&self) -> bool {
        self.problems.is_empty() && !matches!(self.spec, Spec::Unreadable(_))
    }

    /// Where its requests go.
    pub(crate) fn target(&self) -> Option<Target<'_>> {
        match &self.spec {
            Spec::HttpScaledObject(spec) => Some(Target {
                service: &spec.scale_target_ref.service,
                port: spec.scale_target_ref.service_port(),
            }),
            Spec::InterceptorRoute(spec) => Some(Target {
                service: &spec.target.service,
                port: spec.target.service_port(),
            }),
            Spec::Unreadable(_) => None,
        }
    }

    /// Where requests go that the target was not ready for.
    pub(crate) fn fallback(&self) -> Option<Target<'_>> {
        match &self.spec {
            Spec::HttpScaledObject(spec) => {
                let failover = spec.cold_start_timeout_failover_ref.as_ref()?;
                Some(Target {
                    service: &failover.service,
                    port: failover.service_port(),
                })
            }
            Spec::InterceptorRoute(spec) => {
                let fallback = &spec.cold_start.as_ref()?.fallback.as_ref()?.service;
                Some(Target {
                    service: &fallback.name,
                    port: fallback.service_port(),
                })
            }
            Spec::Unreadable(_) => None,
        }
    }

    /// The Services that it names.
    pub(crate) fn services(&self) -> impl Iterator<Item = ObjectName> {
        let targets = [self.target(), self.fallback()];
        targets
            .into_iter()
            .flatten()
            .map(|target| ObjectName::new(Arc::clone(&self.id.namespace), target.service))
    }

    /// The workload that it names. An InterceptorRoute names none: the ScaledObject that the user writes does.
    pub(crate) fn workload(&self) -> Option<Workload> {
        let Spec::HttpScaledObject(spec) = &self.spec else {
            return None;
        };
        let workload = spec.scale_target_ref.workload()?;
        let kind = WorkloadKind::of(workload.api_version, workload.kind);
        Some(Workload::new(&self.id.namespace, kind, workload.name))
    }

    /// Whether the ScaledObject is to be left to itself when the route goes.
    pub(crate) fn orphans_scaled_object(&self) -> bool {
        self.says(ORPHAN_SCALED_OBJECT_ANNOTATION)
    }

    /// Whether the user writes the ScaledObject.
    pub(crate) fn skips_scaled_object(&self) -> bool {
        self.says(SKIP_SCALED_OBJECT_ANNOTATION)
    }

    /// Whether a ScaledObject is to be made of it.
    pub(crate) fn wants_scaled_object(&self) -> bool {
        self.id.kind == RouteKind::HttpScaledObject
            && self.is_valid()
            && !self.is_deleting
            && !self.orphans_scaled_object()
            && !self.skips_scaled_object()
    }

    /// Whether this version of the object came after `other`.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        self.uid == other.uid && is_newer(&self.resource_version, &other.resource_version)
    }

    fn says(&self, annotation: &str) -> bool {
        self.annotations
            .get(annotation)
            .is_some_and(|value| value == "true")
    }
}

/// Whether the resource version `this` came after `that`. Versions are to be compared as numbers, and only those of one
/// kind of object; where one is none, nobody knows.
pub(super) fn is_newer(this: &str, that: &str) -> bool {
    matches!((this.parse::<u128>(), that.parse::<u128>()), (Ok(this), Ok(that)) if this > that)
}

impl RouteStatus {
    /// What cannot be read of it counts as not there: it will be written anew.
    fn read(status: &Value) -> Self {
        let text = |name: &str| status.get(name).and_then(Value::as_str).map(str::to_owned);
        let conditions = status.get("conditions").and_then(Value::as_array);
        Self {
            target_workload: text("targetWorkload"),
            target_service: text("targetService"),
            conditions: conditions
                .into_iter()
                .flatten()
                .filter_map(|condition| serde_json::from_value(condition.clone()).ok())
                .collect(),
        }
    }
}

fn parse<T: DeserializeOwned>(spec: &Value) -> Result<T, String> {
    serde_path_to_error::deserialize(spec).map_err(|error| match error.path().to_string().as_str() {
        "." => error.inner().to_string(),
        path => format!("spec.{path}: {}", error.inner()),
    })
}
