//! The ReferenceGrants that let HTTPRoutes of other namespaces send requests to the interceptor.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::json;

use super::super::{
    desired::{Desired, Subject, derived_name},
    observed::{Observed, WrittenObject},
    resource::{GATEWAY_GROUP, Kind, ReferenceGrant, Resource},
};
use crate::observed::ObjectName;

/// One grant for each namespace that has an HTTPRoute to the interceptor, or gets one of `routes`, and no other grant. It names the namespace, the
/// kind HTTPRoute and the one Service, and belongs to this Service: it goes with it.
pub(super) fn plan(observed: &Observed, routes: &[Desired]) -> Vec<Desired> {
    let Some(interceptor) = observed.interceptor().filter(|_| observed.grants.is_complete()) else {
        return Vec::new();
    };
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Service".to_owned(),
        name: observed.settings.interceptor.name.to_string(),
        uid: interceptor.uid,
        controller: None,
        block_owner_deletion: None,
    };
    let of_others: Vec<&Resource<ReferenceGrant>> = observed
        .grants
        .within(&observed.settings.interceptor.namespace)
        .filter(|grant| !grant.is_ours())
        .collect();
    needing(observed, routes)
        .into_iter()
        .filter(|namespace| !of_others.iter().any(|grant| covers(observed, grant, namespace)))
        .map(|namespace| Desired {
            object: object_for(observed, namespace),
            subject: Subject::Namespace(namespace.to_owned()),
            owner: owner.clone(),
            annotations: BTreeMap::new(),
            spec: json!({
                "from": [{"group": GATEWAY_GROUP, "kind": "HTTPRoute", "namespace": namespace}],
                "to": [{"group": "", "kind": "Service", "name": &*observed.settings.interceptor.name}],
            }),
            is_update: false,
        })
        .collect()
}

/// The grant for a namespace.
fn object_for(observed: &Observed, namespace: &str) -> WrittenObject {
    WrittenObject {
        kind: Kind::ReferenceGrant,
        name: ObjectName::new(
            Arc::clone(&observed.settings.interceptor.namespace),
            derived_name("rouse-httproutes-", namespace),
        ),
    }
}

/// The grants that let HTTPRoutes of a namespace refer to the interceptor's Service.
pub(super) fn covering<'a>(
    observed: &'a Observed,
    namespace: &'a str,
) -> impl Iterator<Item = &'a Resource<ReferenceGrant>> {
    observed
        .grants
        .within(&observed.settings.interceptor.namespace)
        .filter(move |grant| covers(observed, grant, namespace))
}

fn needing<'a>(observed: &'a Observed, routes: &'a [Desired]) -> BTreeSet<&'a str> {
    let written = routes.iter().map(|route| &*route.object.name.namespace);
    observed
        .http_routes
        .values()
        .filter(|route| observed.uses_interceptor(route))
        .map(Resource::namespace)
        .chain(written)
        .filter(|namespace| {
            **namespace != *observed.settings.interceptor.namespace && observed.scope.covers(namespace)
        })
        .collect()
}

/// Whether a grant lets HTTPRoutes of a namespace refer to the interceptor's Service.
fn covers(observed: &Observed, grant: &Resource<ReferenceGrant>, namespace: &str) -> bool {
    let spec = &grant.body.spec;
    !grant.is_going()
        && spec.from.iter().any(|from| {
            from.group == GATEWAY_GROUP && from.kind == "HTTPRoute" && from.namespace == namespace
        })
        && spec.to.iter().any(|to| {
            to.group.is_empty()
                && to.kind == "Service"
                && to
                    .name
                    .as_ref()
                    .is_none_or(|name| name.is_empty() || **name == *observed.settings.interceptor.name)
        })
}
