//! Which HTTPRoutes have to do with a host.

use std::collections::HashMap;

use rouse_routing::HostPattern;

use super::super::resource::{HttpRoute, Resource};

/// HTTPRoutes by host name.
#[derive(Debug, Default)]
pub(super) struct HostIndex<'a> {
    by_host: HashMap<HostPattern, Vec<&'a Resource<HttpRoute>>>,
}

/// How an HTTPRoute names a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// By itself.
    Exactly,
    /// By a wildcard above it, or by naming none.
    AsOneOfMany,
}

impl<'a> HostIndex<'a> {
    pub(super) fn new(routes: impl Iterator<Item = &'a Resource<HttpRoute>>) -> Self {
        let mut index = Self::default();
        for route in routes {
            for host in hosts(route) {
                index.by_host.entry(host).or_default().push(route);
            }
        }
        index
    }

    /// Every HTTPRoute that takes the whole of `host`, the ones that name it best first.
    pub(super) fn covering(&self, host: &HostPattern) -> Vec<(Naming, &'a Resource<HttpRoute>)> {
        let mut found = Vec::new();
        let mut add = |naming, host: &HostPattern| {
            let routes = self.by_host.get(host).into_iter().flatten();
            found.extend(routes.map(|route| (naming, *route)));
        };
        add(Naming::Exactly, host);
        let (HostPattern::Exact(name) | HostPattern::Wildcard(name)) = host else {
            return found;
        };
        let mut rest: &str = name;
        while let Some((_, parent)) = rest.split_once('.') {
            add(Naming::AsOneOfMany, &HostPattern::Wildcard(parent.into()));
            rest = parent;
        }
        add(Naming::AsOneOfMany, &HostPattern::CatchAll);
        found
    }
}

/// The hosts that an HTTPRoute names: every host, where it names none.
pub(super) fn hosts(route: &Resource<HttpRoute>) -> Vec<HostPattern> {
    let names = &route.body.spec.hostnames;
    if names.is_empty() {
        return vec![HostPattern::CatchAll];
    }
    names.iter().filter_map(|name| HostPattern::parse(name)).collect()
}

/// Whether `narrow` is a part of `wide`, or the same.
pub(super) fn is_part_of(narrow: &HostPattern, wide: &HostPattern) -> bool {
    match (narrow, wide) {
        (_, HostPattern::CatchAll) => true,
        (HostPattern::Exact(name), HostPattern::Wildcard(parent)) => is_below(name, parent),
        (HostPattern::Wildcard(name), HostPattern::Wildcard(parent)) => {
            name == parent || is_below(name, parent)
        }
        _ => narrow == wide,
    }
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent)
        .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

/// Whether the Gateway API takes a host for a host name: no address, nothing that DNS does not know, not every host.
pub(super) fn gateway_hostname(host: &HostPattern) -> Option<String> {
    let (HostPattern::Exact(name) | HostPattern::Wildcard(name)) = host else {
        return None;
    };
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    let text = host.to_string();
    (!is_address && text.len() <= 253 && name.split('.').all(is_label)).then_some(text)
}
