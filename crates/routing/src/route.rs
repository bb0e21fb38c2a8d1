//! A route as the index keeps it: its rules turned round, so that each host finds what is claimed on it.

use std::{
    cmp::{Ordering, Reverse},
    sync::Arc,
};

use jiff::Timestamp;

use crate::{HostPattern, Rejection, RouteId, RouteSpec, Rule, header_set::HeaderSet, path::prefix_key};

/// The most pairs of host and path that one route may claim, over all its rules. Rules multiply hosts by paths, so that
/// an object of the size that the API server allows could otherwise ask for hundreds of millions of table entries. At
/// this limit a route takes at most a few MiB.
pub const MAX_MATCHES: usize = 4_000;

/// One object's claims.
#[derive(Debug)]
pub(crate) struct Route<T> {
    pub(crate) id: RouteId,
    pub(crate) created: Timestamp,
    pub(crate) value: T,
    /// Sorted, by host first.
    claims: Box<[Claim]>,
}

/// The paths and headers of one rule, on one of its hosts. The rule's other hosts share them.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    pub(crate) host: HostPattern,
    pub(crate) headers: Option<Arc<HeaderSet>>,
    /// Keys as [`prefix_key`] makes them, sorted, at least one.
    pub(crate) paths: Arc<[Arc<str>]>,
}

impl<T> Route<T> {
    /// Compiles a spec. What cannot be served is left out and named.
    pub(crate) fn compile(spec: RouteSpec<T>) -> (Self, Vec<Rejection>) {
        let mut claims = Vec::new();
        let mut rejections = Vec::new();
        for rule in &spec.rules {
            compile_rule(rule, &mut claims, &mut rejections);
        }
        claims.sort();
        claims.dedup();
        let matches: usize = claims.iter().map(|claim| claim.paths.len()).sum();
        if matches > MAX_MATCHES {
            claims.clear();
            rejections.push(Rejection::TooManyMatches(matches));
        }
        rejections.sort();
        rejections.dedup();
        let route = Self {
            id: spec.id,
            created: spec.created,
            value: spec.value,
            claims: claims.into(),
        };
        (route, rejections)
    }

    /// Whether both ask for the same, leaving the values aside.
    pub(crate) fn claims_as(&self, other: &Self) -> bool {
        self.created == other.created && self.claims == other.claims
    }

    /// Each host that the route claims, once.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &HostPattern> {
        self.claims
            .chunk_by(|a, b| a.host == b.host)
            .map(|claims| &claims[0].host)
    }

    /// What the route claims on one host.
    pub(crate) fn claims_on(&self, host: &HostPattern) -> &[Claim] {
        let start = self.claims.partition_point(|claim| claim.host < *host);
        let count = self.claims[start..].partition_point(|claim| claim.host == *host);
        &self.claims[start..start + count]
    }
}

fn compile_rule(rule: &Rule, claims: &mut Vec<Claim>, rejections: &mut Vec<Rejection>) {
    let mut paths: Vec<_> = rule.paths.iter().map(|path| prefix_key(path)).collect();
    if paths.is_empty() {
        paths.push(prefix_key("/"));
    }
    paths.sort();
    paths.dedup();
    let paths: Arc<[Arc<str>]> = paths.into();
    let headers = HeaderSet::new(&rule.headers).map(Arc::new);
    let mut claim = |host| {
        claims.push(Claim {
            host,
            headers: headers.clone(),
            paths: paths.clone(),
        });
    };
    if rule.hosts.is_empty() {
        claim(HostPattern::CatchAll);
    }
    for host in &rule.hosts {
        match HostPattern::parse(host) {
            Some(host) => claim(host),
            None => rejections.push(Rejection::InvalidHost(host.as_str().into())),
        }
    }
}

/// A route in the order in which routes win: oldest first, a total order over different objects.
#[derive(Debug)]
pub(crate) struct ByAge<T>(pub(crate) Arc<Route<T>>);

impl<T> ByAge<T> {
    fn key(&self) -> impl Ord {
        let RouteId {
            kind,
            namespace,
            name,
        } = &self.0.id;
        (self.0.created, namespace, name, Reverse(*kind))
    }
}

impl<T> Ord for ByAge<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<T> PartialOrd for ByAge<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for ByAge<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for ByAge<T> {}
