//! Routes that want what another has, or what no request can have: the interceptor does not serve them there, and the user
//! is told, in the words that a cluster puts into the route's status. Both follow from the index that the interceptor serves
//! by.

use std::collections::HashMap;

use http::HeaderName;
use rouse_api::HTTPScaledObject;
use rouse_routing::{HeaderMatch, HostOwnership, RouteId, RouteIndex, RouteKind, RouteSpec, Rule};

use super::error::DocumentRef;
use super::reader::Located;

/// One line for each host and path that a route claims and does not get. Of routes that want the same the oldest has it.
pub(super) fn warnings(routes: &[Located<HTTPScaledObject>]) -> Vec<String> {
    let mut index = RouteIndex::new(HostOwnership::default());
    let mut places: HashMap<RouteId, &DocumentRef> = HashMap::new();
    for Located { object, at } in routes {
        let Some(spec) = claims(object) else { continue };
        places.insert(spec.id.clone(), at);
        index.apply(spec);
    }
    let conflicts: Vec<_> = index
        .conflicts()
        .map(|conflict| (conflict.route.clone(), conflict.to_string()))
        .collect();
    let rejections = index
        .rejections()
        .map(|(route, rejection)| (route.clone(), rejection.to_string()));
    conflicts
        .into_iter()
        .chain(rejections)
        .map(|(route, words)| match places.get(&route) {
            Some(at) => format!("{at}: {words}"),
            None => words,
        })
        .collect()
}

/// What a route claims; `None` where the reader has found it invalid.
fn claims(route: &HTTPScaledObject) -> Option<RouteSpec<()>> {
    let metadata = &route.metadata;
    let headers = route.spec.headers.iter().map(|header| {
        Some(HeaderMatch {
            name: HeaderName::try_from(&header.name).ok()?,
            value: header.value.clone(),
        })
    });
    Some(RouteSpec {
        id: RouteId::new(
            RouteKind::HttpScaledObject,
            metadata.namespace.as_deref()?,
            metadata.name.as_deref()?,
        ),
        created: metadata.creation_timestamp.as_ref()?.0,
        rules: vec![Rule {
            hosts: route.spec.hosts.clone(),
            paths: route.spec.path_prefixes.clone(),
            headers: headers.collect::<Option<_>>()?,
        }],
        value: (),
    })
}
