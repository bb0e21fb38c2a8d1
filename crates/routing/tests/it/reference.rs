//! The rules as documented, without an index: every claim is compared with every request.

use std::{cmp::Reverse, collections::BTreeSet};

use http::HeaderMap;
use rouse_routing::{ConflictKind, HostOwnership, RouteId, RouteSpec, Rule};

use crate::properties::Request;

type Spec = RouteSpec<u32>;

pub(crate) fn lookup(routes: &[Spec], ownership: HostOwnership, request: &Request) -> Option<u32> {
    let host = normal(&request.host);
    let path = decode(request.path.trim_start_matches('/'));
    let mut matches = Vec::new();
    for route in routes {
        for rule in &route.rules {
            for claimed in hosts(rule) {
                let Some(width) = host_width(&claimed, &host) else {
                    continue;
                };
                if ownership == HostOwnership::FirstNamespace
                    && owner(routes, &claimed) != *route.id.namespace
                {
                    continue;
                }
                for prefix in paths(rule) {
                    if !is_prefix(&prefix, &path) || !headers_match(rule, &request.headers) {
                        continue;
                    }
                    matches.push((
                        (width, Reverse(prefix.len()), specificity(rule), age(route)),
                        route.value,
                    ));
                }
            }
        }
    }
    matches.into_iter().min().map(|(_, value)| value)
}

/// Host, path, the route that does not serve them, the one that does, and why.
pub(crate) type Lost = (String, String, RouteId, RouteId, ConflictKind);

/// Every claim that loses to another route's.
pub(crate) fn conflicts(routes: &[Spec], ownership: HostOwnership) -> BTreeSet<Lost> {
    let mut lost = BTreeSet::new();
    for (route, host, path, headers) in claims(routes) {
        let owner = claims(routes)
            .filter(|claim| claim.1 == host)
            .map(|claim| claim.0)
            .min_by_key(|route| age(route));
        let owner = owner.unwrap();
        let is_owned = |route: &Spec| {
            ownership == HostOwnership::FirstNamespace && route.id.namespace != owner.id.namespace
        };
        let (serving, kind) = if is_owned(route) {
            (owner, ConflictKind::HostOwned)
        } else {
            let same =
                claims(routes).filter(|claim| (&claim.1, &claim.2, &claim.3) == (&host, &path, &headers));
            let oldest = same
                .map(|claim| claim.0)
                .filter(|route| !is_owned(route))
                .min_by_key(|route| age(route));
            (oldest.unwrap(), ConflictKind::SameMatch)
        };
        if serving.id != route.id {
            lost.insert((
                host,
                format!("/{path}"),
                route.id.clone(),
                serving.id.clone(),
                kind,
            ));
        }
    }
    lost
}

type Headers<'a> = BTreeSet<(&'a str, Option<&'a str>)>;

fn claims(routes: &[Spec]) -> impl Iterator<Item = (&Spec, String, String, Headers<'_>)> {
    let rules = routes
        .iter()
        .flat_map(|route| route.rules.iter().map(move |rule| (route, rule)));
    rules.flat_map(|(route, rule)| {
        let headers: Headers<'_> = rule
            .headers
            .iter()
            .map(|header| (header.name.as_str(), header.value.as_deref()))
            .collect();
        let pairs = hosts(rule)
            .into_iter()
            .flat_map(|host| paths(rule).into_iter().map(move |path| (host.clone(), path)));
        pairs.map(move |(host, path)| (route, host, path, headers.clone()))
    })
}

fn age(route: &Spec) -> impl Ord {
    (
        route.created,
        route.id.namespace.clone(),
        route.id.name.clone(),
        Reverse(route.id.kind),
    )
}

fn owner(routes: &[Spec], claimed: &str) -> String {
    let claims = |route: &&Spec| {
        route
            .rules
            .iter()
            .any(|rule| hosts(rule).contains(&claimed.to_string()))
    };
    let oldest = routes.iter().filter(claims).min_by_key(|route| age(route));
    oldest.unwrap().id.namespace.to_string()
}

fn hosts(rule: &Rule) -> Vec<String> {
    if rule.hosts.is_empty() {
        return vec!["*".to_string()];
    }
    let normal = rule.hosts.iter().map(|host| {
        if host.is_empty() {
            "*".to_string()
        } else {
            normal(host)
        }
    });
    normal.collect()
}

fn paths(rule: &Rule) -> Vec<String> {
    if rule.paths.is_empty() {
        return vec![String::new()];
    }
    rule.paths
        .iter()
        .map(|path| path.trim_matches('/').to_string())
        .collect()
}

/// How wide a claimed host is that takes in this one: the smaller, the more specific.
fn host_width(claimed: &str, host: &str) -> Option<Reverse<usize>> {
    let is_literal_pattern = host == "*" || host.starts_with("*.");
    if claimed == "*" {
        Some(Reverse(0))
    } else if is_literal_pattern {
        None
    } else if claimed == host {
        Some(Reverse(usize::MAX))
    } else {
        let dotted = claimed.strip_prefix('*')?;
        (host.len() > dotted.len() && host.ends_with(dotted)).then_some(Reverse(dotted.len()))
    }
}

fn normal(host: &str) -> String {
    let without_port = match host.find(']') {
        Some(end) if host.starts_with('[') => &host[1..end],
        _ if host.matches(':').count() == 1 => &host[..host.find(':').unwrap()],
        _ => host,
    };
    without_port
        .strip_suffix('.')
        .unwrap_or(without_port)
        .to_lowercase()
}

fn is_prefix(prefix: &str, path: &[Option<u8>]) -> bool {
    let prefix: Vec<_> = prefix.bytes().map(Some).collect();
    prefix.is_empty()
        || path.starts_with(&prefix) && matches!(path.get(prefix.len()), None | Some(Some(b'/')))
}

/// `None` stands for an encoded slash.
fn decode(path: &str) -> Vec<Option<u8>> {
    let mut decoded = Vec::new();
    let mut rest = path.as_bytes();
    while let Some(first) = rest.first() {
        let escape = rest.get(1..3).and_then(|hex| std::str::from_utf8(hex).ok());
        let escape = escape.filter(|hex| *first == b'%' && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let (byte, length) = match escape {
            Some(hex) => (u8::from_str_radix(hex, 16).ok().filter(|byte| *byte != b'/'), 3),
            None => (Some(*first), 1),
        };
        decoded.push(byte);
        rest = &rest[length..];
    }
    decoded
}

fn headers_match(rule: &Rule, headers: &HeaderMap) -> bool {
    rule.headers.iter().all(|header| {
        let sent: Vec<_> = headers.get_all(&header.name).iter().collect();
        match &header.value {
            None => !sent.is_empty(),
            Some(value) => sent.iter().any(|sent| *sent == value),
        }
    })
}

fn specificity(rule: &Rule) -> Reverse<(usize, usize)> {
    let mut headers: Vec<_> = rule
        .headers
        .iter()
        .map(|header| (header.name.as_str(), &header.value))
        .collect();
    headers.sort();
    headers.dedup();
    Reverse((
        headers.iter().filter(|(_, value)| value.is_some()).count(),
        headers.len(),
    ))
}
