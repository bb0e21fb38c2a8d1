//! Routes and indexes that read like prose.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use rouse_routing::{
    HeaderMatch, HostOwnership, RouteId, RouteIndex, RouteKind, RouteSpec, RouteTable, Rule,
};

/// The value of a route is its name.
pub(crate) type Spec = RouteSpec<Arc<str>>;

#[derive(Debug, Clone)]
pub(crate) struct Route(pub(crate) Spec);

/// A route in the namespace `shop`, without rules.
pub(crate) fn route(name: &str) -> Route {
    Route(RouteSpec {
        id: id("shop", name),
        created: Timestamp::UNIX_EPOCH,
        rules: Vec::new(),
        value: name.into(),
    })
}

pub(crate) fn id(namespace: &str, name: &str) -> RouteId {
    RouteId::new(RouteKind::InterceptorRoute, namespace, name)
}

impl Route {
    pub(crate) fn namespace(mut self, namespace: &str) -> Self {
        self.0.id.namespace = namespace.into();
        self
    }

    pub(crate) fn kind(mut self, kind: RouteKind) -> Self {
        self.0.id.kind = kind;
        self
    }

    pub(crate) fn created(mut self, second: i64) -> Self {
        self.0.created = Timestamp::from_second(second).unwrap();
        self
    }

    pub(crate) fn value(mut self, value: &str) -> Self {
        self.0.value = value.into();
        self
    }

    pub(crate) fn rule(mut self, hosts: &[&str], paths: &[&str]) -> Self {
        let strings = |all: &[&str]| all.iter().map(ToString::to_string).collect();
        self.0.rules.push(Rule {
            hosts: strings(hosts),
            paths: strings(paths),
            headers: Vec::new(),
        });
        self
    }

    /// Adds a header to the last rule.
    pub(crate) fn header(mut self, name: &str, value: Option<&str>) -> Self {
        self.0.rules.last_mut().unwrap().headers.push(HeaderMatch {
            name: name.parse().unwrap(),
            value: value.map(str::to_string),
        });
        self
    }
}

pub(crate) fn headers(sent: &[(&str, &str)]) -> HeaderMap {
    sent.iter()
        .map(|(name, value)| {
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect()
}

/// Looks requests up and compares, chained.
#[derive(Debug)]
pub(crate) struct Served(pub(crate) Arc<RouteTable<Arc<str>>>);

/// The table of these routes; each host is shared between namespaces.
pub(crate) fn served(routes: Vec<Route>) -> Served {
    let mut index = RouteIndex::new(HostOwnership::Shared);
    for route in routes {
        index.apply(route.0);
    }
    Served(index.table())
}

impl Served {
    #[track_caller]
    pub(crate) fn gives(&self, host: &str, path: &str, expected: Option<&str>) -> &Self {
        self.gives_with(host, path, &HeaderMap::new(), expected)
    }

    #[track_caller]
    pub(crate) fn gives_with(
        &self,
        host: &str,
        path: &str,
        headers: &HeaderMap,
        expected: Option<&str>,
    ) -> &Self {
        let got = self.0.lookup(host, path, headers).map(AsRef::as_ref);
        assert_eq!(got, expected, "host {host:?}, path {path:?}, headers {headers:?}");
        self
    }
}
