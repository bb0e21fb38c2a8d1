//! Random tables and requests against a reference that scans all rules, and the laws that an index obeys.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::select};
use rouse_routing::{
    Conflict, HeaderMatch, HostOwnership, RouteId, RouteIndex, RouteKind, RouteSpec, RouteTable, Rule,
};

use crate::reference;

type Spec = RouteSpec<u32>;

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

// Few different words, so that requests meet routes and routes meet each other.

fn host() -> impl Strategy<Value = String> {
    let label = || select(vec!["a", "b", "C"]);
    let name = vec(label(), 1..4).prop_map(|labels| labels.join("."));
    let front = select(vec!["", "", "", "*."]);
    let back = select(vec!["", "", "", ".", ":80", ".:80"]);
    prop_oneof![
        8 => (front, name, back).prop_map(|(front, name, back)| format!("{front}{name}{back}")),
        1 => select(vec!["*", "[::1]", "[::1]:80", "::1"]).prop_map(str::to_string),
    ]
}

fn claimed_host() -> impl Strategy<Value = String> {
    prop_oneof![12 => host(), 1 => Just(String::new())]
}

fn path() -> impl Strategy<Value = String> {
    let segment = select(vec![
        "a", "b", "ab", "a.b", "a-b", "", ".", "..", "%61", "%2F", "a%2fb", "%", "%4", "\u{e9}", "%C3%A9",
    ]);
    let front = select(vec!["/", "/", "/", "", "//"]);
    (front, vec(segment, 0..5)).prop_map(|(front, segments)| format!("{front}{}", segments.join("/")))
}

fn value() -> impl Strategy<Value = &'static str> {
    select(vec!["", "1", "2"])
}

fn name() -> impl Strategy<Value = HeaderName> {
    select(vec!["x-a", "x-b"]).prop_map(HeaderName::from_static)
}

fn rule() -> impl Strategy<Value = Rule> {
    let header = (name(), proptest::option::of(value()));
    let headers = prop_oneof![2 => Just(Vec::new()), 1 => vec(header, 1..3)];
    (vec(claimed_host(), 0..3), vec(path(), 0..3), headers).prop_map(|(hosts, paths, headers)| Rule {
        hosts,
        paths,
        headers: headers
            .into_iter()
            .map(|(name, value)| HeaderMatch {
                name,
                value: value.map(str::to_string),
            })
            .collect(),
    })
}

fn id() -> impl Strategy<Value = RouteId> {
    let kind = select(vec![RouteKind::HttpScaledObject, RouteKind::InterceptorRoute]);
    let namespace = select(vec!["red", "blue"]);
    (kind, namespace, 0..6_u8)
        .prop_map(|(kind, namespace, name)| RouteId::new(kind, namespace, name.to_string()))
}

fn spec() -> impl Strategy<Value = Spec> {
    (id(), 0..3_i64, vec(rule(), 0..4), any::<u32>()).prop_map(|(id, created, rules, value)| RouteSpec {
        id,
        created: Timestamp::from_second(created).unwrap(),
        rules,
        value,
    })
}

/// Routes of different objects.
fn routes() -> impl Strategy<Value = Vec<Spec>> {
    vec(spec(), 0..12).prop_map(|mut routes| {
        routes.sort_by(|a, b| a.id.cmp(&b.id));
        routes.dedup_by(|a, b| a.id == b.id);
        routes
    })
}

fn request() -> impl Strategy<Value = Request> {
    let headers = vec((name(), value()), 0..3);
    (
        prop_oneof![12 => host(), 1 => Just(String::new())],
        path(),
        headers,
    )
        .prop_map(|(host, path, headers)| Request {
            host,
            path,
            headers: headers
                .into_iter()
                .fold(HeaderMap::new(), |mut headers, (name, value)| {
                    headers.append(name, HeaderValue::from_static(value));
                    headers
                }),
        })
}

fn ownership() -> impl Strategy<Value = HostOwnership> {
    select(vec![HostOwnership::FirstNamespace, HostOwnership::Shared])
}

fn index_of(routes: &[Spec], ownership: HostOwnership) -> RouteIndex<u32> {
    let mut index = RouteIndex::new(ownership);
    for route in routes {
        index.apply(route.clone());
    }
    index
}

fn answers(table: &RouteTable<u32>, requests: &[Request]) -> Vec<Option<u32>> {
    let lookup = |request: &Request| {
        table
            .lookup(&request.host, &request.path, &request.headers)
            .copied()
    };
    requests.iter().map(lookup).collect()
}

/// All that can be seen of an index.
fn outcome(index: &mut RouteIndex<u32>, requests: &[Request]) -> (Vec<Option<u32>>, Vec<Conflict>) {
    let answers = answers(&index.table(), requests);
    (answers, index.conflicts().cloned().collect())
}

#[derive(Debug, Clone)]
enum Step {
    Apply(Spec),
    Remove(RouteId),
    Publish,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => spec().prop_map(Step::Apply),
        2 => id().prop_map(Step::Remove),
        1 => Just(Step::Publish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn lookups_agree_with_the_reference(
        routes in routes(),
        ownership in ownership(),
        requests in vec(request(), 1..40),
    ) {
        let table = index_of(&routes, ownership).table();
        for request in requests {
            let got = table.lookup(&request.host, &request.path, &request.headers).copied();
            prop_assert_eq!(got, reference::lookup(&routes, ownership, &request), "{:?}", request);
        }
    }

    #[test]
    fn an_index_that_changed_step_by_step_equals_one_built_at_once(
        steps in vec(step(), 0..40),
        ownership in ownership(),
        requests in vec(request(), 1..20),
    ) {
        let mut index = RouteIndex::new(ownership);
        let mut left: Vec<Spec> = Vec::new();
        for step in steps {
            match step {
                Step::Apply(spec) => {
                    left.retain(|route| route.id != spec.id);
                    left.push(spec.clone());
                    index.apply(spec.clone());
                    prop_assert!(!index.apply(spec));
                }
                Step::Remove(id) => {
                    let before = left.len();
                    left.retain(|route| route.id != id);
                    prop_assert_eq!(index.remove(&id), left.len() < before);
                }
                Step::Publish => {
                    let table = index.table();
                    prop_assert!(Arc::ptr_eq(&table, &index.table()));
                }
            }
        }
        prop_assert_eq!(index.len(), left.len());
        prop_assert_eq!(outcome(&mut index, &requests), outcome(&mut index_of(&left, ownership), &requests));
    }

    #[test]
    fn the_order_of_application_does_not_matter(
        (routes, shuffled) in routes().prop_flat_map(|routes| (Just(routes.clone()), Just(routes).prop_shuffle())),
        ownership in ownership(),
        requests in vec(request(), 1..20),
    ) {
        let expected = outcome(&mut index_of(&routes, ownership), &requests);
        prop_assert_eq!(outcome(&mut index_of(&shuffled, ownership), &requests), expected);
    }

    #[test]
    fn removing_a_route_restores_what_was_before(
        routes in routes(),
        mut extra in spec(),
        ownership in ownership(),
        requests in vec(request(), 1..20),
    ) {
        extra.id.name = "extra".into();
        let mut index = index_of(&routes, ownership);
        let before = outcome(&mut index, &requests);
        index.apply(extra.clone());
        index.table();
        prop_assert!(index.remove(&extra.id));
        prop_assert_eq!(outcome(&mut index, &requests), before);
    }

    #[test]
    fn conflicts_agree_with_the_reference(routes in routes(), ownership in ownership()) {
        let mut index = index_of(&routes, ownership);
        let flat = |lost: &Conflict| {
            (lost.host.to_string(), lost.path.to_string(), lost.route.clone(), lost.serving.clone(), lost.kind)
        };
        let got: Vec<_> = index.conflicts().map(flat).collect();
        let expected = reference::conflicts(&routes, ownership);
        prop_assert_eq!(got.len(), expected.len());
        prop_assert_eq!(got.into_iter().collect::<std::collections::BTreeSet<_>>(), expected);
    }

    #[test]
    fn any_text_is_looked_up_without_panic(
        hosts in vec(any::<String>(), 0..4),
        paths in vec(any::<String>(), 0..4),
        host in any::<String>(),
        path in any::<String>(),
    ) {
        let rules = vec![
            Rule { hosts: hosts.clone(), paths: paths.clone(), headers: Vec::new() },
            Rule { hosts: Vec::new(), paths: paths.clone(), headers: Vec::new() },
        ];
        let id = RouteId::new(RouteKind::InterceptorRoute, "any", "any");
        let table = index_of(
            &[RouteSpec { id, created: Timestamp::UNIX_EPOCH, rules, value: 1 }],
            HostOwnership::FirstNamespace,
        )
        .table();
        table.lookup(&host, &path, &HeaderMap::new());
        for path in paths {
            // A prefix, with its escapes escaped, matches itself.
            prop_assert_eq!(table.lookup(&host, &path.replace('%', "%25"), &HeaderMap::new()), Some(&1));
        }
    }

    #[test]
    fn any_bytes_in_host_and_path_are_looked_up_without_panic(
        host in "[a.*:\\[\\]%A-Z]{0,300}",
        path in "[/%2fFaA.\u{e9}]{0,600}",
        claimed in vec("[a.*:\\[\\]A-Z]{0,260}", 0..4),
        prefixes in vec("[/%2fFaA.\u{e9}]{0,300}", 0..4),
    ) {
        let rules = vec![Rule { hosts: claimed, paths: prefixes, headers: Vec::new() }];
        let id = RouteId::new(RouteKind::InterceptorRoute, "any", "any");
        let table = index_of(
            &[RouteSpec { id, created: Timestamp::UNIX_EPOCH, rules, value: 1 }],
            HostOwnership::FirstNamespace,
        )
        .table();
        table.lookup(&host, &path, &HeaderMap::new());
    }
}
