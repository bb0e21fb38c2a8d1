//! Routes that want the same requests: the interceptor serves the oldest, and the user is told.

use std::collections::HashMap;

use rouse_api::HTTPScaledObject;

use super::lookup::full_name;
use super::reader::Located;

/// One line for each pair of routes that want the same requests.
pub(super) fn warnings(routes: &[Located<HTTPScaledObject>]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut oldest_first: Vec<&Located<HTTPScaledObject>> = routes.iter().collect();
    oldest_first.sort_by_key(|route| {
        route
            .object
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0)
    });
    let mut serving: HashMap<Match, &Located<HTTPScaledObject>> = HashMap::new();
    for route in oldest_first {
        for wanted in matches_of(&route.object) {
            match serving.get(&wanted) {
                Some(first) if std::ptr::eq(*first, route) => {}
                Some(first) => warnings.push(format!(
                    "HTTPScaledObject {} ({}) and {} ({}) both match host {} and path {}{}: {} serves",
                    full_name(&first.object.metadata),
                    first.at,
                    full_name(&route.object.metadata),
                    route.at,
                    wanted.host,
                    wanted.path,
                    if wanted.headers.is_empty() {
                        ""
                    } else {
                        " with the same headers"
                    },
                    full_name(&first.object.metadata),
                )),
                None => {
                    serving.insert(wanted, route);
                }
            }
        }
    }
    warnings
}

/// What a route matches, in the form in which two routes are compared.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Match {
    host: String,
    path: String,
    headers: Vec<(String, Option<String>)>,
}

fn matches_of(route: &HTTPScaledObject) -> Vec<Match> {
    let or = |given: &[String], default: &str| {
        if given.is_empty() {
            vec![default.to_owned()]
        } else {
            given.to_vec()
        }
    };
    let mut headers: Vec<_> = route
        .spec
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), header.value.clone()))
        .collect();
    headers.sort();
    let mut matches = Vec::new();
    for host in or(&route.spec.hosts, "*") {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let without_port = host
            .rsplit_once(':')
            .filter(|(_, port)| port.parse::<u16>().is_ok());
        let host = without_port.map_or(host.as_str(), |(host, _)| host);
        for path in or(&route.spec.path_prefixes, "/") {
            let path = format!("/{}", path.trim_matches('/'));
            let wanted = Match {
                host: host.to_owned(),
                path,
                headers: headers.clone(),
            };
            if !matches.contains(&wanted) {
                matches.push(wanted);
            }
        }
    }
    matches
}
