//! Rows 7 to 15: which route a request takes. Each application says its name, and sleeps until its first request.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use super::{
    objects::{self, Scaling},
    site::Site,
};
use crate::{
    case::{Case, Need},
    trial::Trial,
};

const BOUND: Duration = Duration::from_mins(5);

macro_rules! case {
    ($constant:ident, $name:literal, $run:ident, $about:literal) => {
        pub(in crate::cases) const $constant: Case = Case {
            name: $name,
            about: $about,
            needs: &[Need::Rouse],
            smoke: false,
            bound: BOUND,
            run: |trial| $run(trial).boxed_local(),
        };
    };
}

case!(
    HOST_ROUTING,
    "addon_host_routing",
    host_routing,
    "The add-on's HostRouting (row 7): of two routes with a host each, each serves its own."
);
case!(
    MULTIPLE_HOSTS,
    "addon_multiple_hosts",
    multiple_hosts,
    "The add-on's MultipleHosts (row 8): a route with two hosts serves both, and no third."
);
case!(
    WILDCARD_HOST,
    "addon_wildcard_host",
    wildcard_host,
    "The add-on's WildcardHost (row 9): an exact host comes before a wildcard that it matches, every other host below the \
     wildcard goes by it, and what matches neither is 404."
);
case!(
    PATH_ROUTING,
    "addon_path_routing",
    path_routing,
    "The add-on's PathRouting (row 10): of two routes with one host, each serves its own path; any other is 404."
);
case!(
    COMBINED_ROUTING,
    "addon_combined_routing",
    combined_routing,
    "The add-on's CombinedRouting (row 11): two routes with the same path and a host each serve their own; another host with \
     that path is 404, and so is another path of theirs."
);
case!(
    MULTIPLE_RULES_TO_SAME_BACKEND,
    "addon_multiple_rules_to_same_backend",
    multiple_rules_to_same_backend,
    "The add-on's MultipleRulesToSameBackend (row 12): both rules of a route lead to its target; what neither matches is 404."
);
case!(
    HEADER_ROUTING,
    "addon_header_routing",
    header_routing,
    "The add-on's HeaderRouting (row 13): of two routes with one host and a header's value each, each serves its own; without \
     the header, or with another value, it is 404."
);
case!(
    HEADER_PRESENCE_ROUTING,
    "addon_header_presence_routing",
    header_presence_routing,
    "The add-on's HeaderPresenceRouting (row 14): a header's value comes before its mere presence, and any other value goes by \
     the latter."
);
case!(
    PORT_NAME,
    "addon_port_name",
    port_name,
    "The add-on's PortName (row 15): a route may name its target's port by name."
);

async fn host_routing(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "addon-host-routing").await?;
    let (a, b) = (site.host("a"), site.host("b"));
    site.serve(&[
        ("app-a", json!([{ "hosts": [a] }])),
        ("app-b", json!([{ "hosts": [b] }])),
    ])
    .await?;
    site.answered_by("app-a", &a, "/", &[]).await?;
    site.answered_by("app-b", &b, "/", &[]).await?;
    site.answered_by("app-a", &a, "/", &[]).await
}

async fn multiple_hosts(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "addon-multiple-hosts").await?;
    let (a, b, c) = (site.host("a"), site.host("b"), site.host("c"));
    site.serve(&[("app", json!([{ "hosts": [a, b] }]))]).await?;
    site.answered_by("app", &a, "/", &[]).await?;
    site.answered_by("app", &b, "/", &[]).await?;
    site.answered_by_none(&c, "/", &[]).await
}

async fn wildcard_host(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "addon-wildcard-host").await?;
    let (wildcard, exact, other) = (site.host("*"), site.host("foo"), site.host("bar"));
    let unrelated = format!("foo.{}-too.test", site.namespace);
    site.serve(&[
        ("wildcard", json!([{ "hosts": [wildcard] }])),
        ("exact", json!([{ "hosts": [exact] }])),
    ])
    .await?;
    site.answered_by("exact", &exact, "/", &[]).await?;
    site.answered_by("wildcard", &other, "/", &[]).await?;
    site.answered_by_none(&unrelated, "/", &[]).await
}

async fn path_routing(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "addon-path-routing").await?;
    let host = site.host("app");
    site.serve(&[
        (
            "app-a",
            json!([{ "hosts": [host], "paths": [{ "value": "/api" }] }]),
        ),
        (
            "app-b",
            json!([{ "hosts": [host], "paths": [{ "value": "/env" }] }]),
        ),
    ])
    .await?;
    site.answered_by("app-a", &host, "/api/info", &[]).await?;
    site.answered_by("app-b", &host, "/env", &[]).await?;
    site.answered_by_none(&host, "/unknown", &[]).await?;
    // A prefix ends where a segment does.
    site.answered_by_none(&host, "/environment", &[]).await
}

async fn combined_routing(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "addon-combined-routing").await?;
    let (a, b, c) = (site.host("a"), site.host("b"), site.host("c"));
    site.serve(&[
        ("app-a", json!([{ "hosts": [a], "paths": [{ "value": "/api" }] }])),
        ("app-b", json!([{ "hosts": [b], "paths": [{ "value": "/api" }] }])),
    ])
    .await?;
    site.answered_by("app-a", &a, "/api/info", &[]).await?;
    site.answered_by("app-b", &b, "/api/info", &[]).await?;
    site.answered_by_none(&c, "/api/info", &[]).await?;
    site.answered_by_none(&a, "/env", &[]).await
}

async fn multiple_rules_to_same_backend(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "addon-multiple-rules").await?;
    let host = site.host("app");
    let rules = json!([
        { "hosts": [host], "paths": [{ "value": "/api" }] },
        { "hosts": [host], "paths": [{ "value": "/env" }] },
    ]);
    site.serve(&[("app", rules)]).await?;
    site.answered_by("app", &host, "/api/info", &[]).await?;
    site.answered_by("app", &host, "/env", &[]).await?;
    site.answered_by_none(&host, "/other", &[]).await
}

async fn header_routing(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "addon-header-routing").await?;
    let host = site.host("app");
    let by = |value| json!([{ "hosts": [host], "headers": [{ "name": "X-Route", "value": value }] }]);
    site.serve(&[("app-a", by("foo")), ("app-b", by("bar"))]).await?;
    site.answered_by("app-a", &host, "/", &[("x-route", "foo")])
        .await?;
    site.answered_by("app-b", &host, "/", &[("x-route", "bar")])
        .await?;
    site.answered_by_none(&host, "/", &[]).await?;
    site.answered_by_none(&host, "/", &[("x-route", "foobar")]).await
}

async fn header_presence_routing(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "addon-header-presence").await?;
    let host = site.host("app");
    site.serve(&[
        (
            "exact",
            json!([{ "hosts": [host], "headers": [{ "name": "X-Mode", "value": "verbose" }] }]),
        ),
        (
            "presence",
            json!([{ "hosts": [host], "headers": [{ "name": "X-Mode" }] }]),
        ),
    ])
    .await?;
    site.answered_by("exact", &host, "/", &[("x-mode", "verbose")])
        .await?;
    site.answered_by("presence", &host, "/", &[("x-mode", "minimal")])
        .await
}

async fn port_name(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "addon-port-name").await?;
    let (host, namespace) = (site.host("app"), site.namespace.clone());
    let scaling = Scaling::default();
    let mut route = objects::route(&namespace, "app", &json!([{ "hosts": [host] }]), &scaling);
    if let Some(target) = route.pointer_mut("/spec/target") {
        *target = json!({ "service": "app", "portName": objects::PORT_NAME });
    }
    let mut items = objects::app(&namespace, "app").to_vec();
    items.push(route);
    items.push(objects::scaled_object(&namespace, "app", "app", &scaling));
    site.apply(items).await?;
    site.ready(objects::ROUTE, "app").await?;
    site.ready(objects::SCALED_OBJECT, "app").await?;
    site.answered_by("app", &host, "/", &[]).await
}
