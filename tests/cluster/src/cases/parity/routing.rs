//! Which route a request takes.

use futures_util::FutureExt as _;
use serde_json::json;

use super::{
    Group, Scene,
    manifests::App,
    place::Place,
    request::{Http2, fields, get, nothing, raw, send, text, told, verdict},
    sights::Sights,
};
use crate::cases::addon::site::told_name;

const NO_ROUTE: &str = "404, rouse-error: route_not_found";

pub(super) const GROUP: Group = Group {
    namespace: "parity-routing",
    apps,
    scenes: &[
        Scene {
            title: "A host that no route has",
            play: |place, sights| no_route(place, sights).boxed_local(),
        },
        Scene {
            title: "Hosts and wildcards",
            play: |place, sights| hosts(place, sights).boxed_local(),
        },
        Scene {
            title: "Path prefixes",
            play: |place, sights| paths(place, sights).boxed_local(),
        },
        Scene {
            title: "Headers",
            play: |place, sights| headers(place, sights).boxed_local(),
        },
        Scene {
            title: "Requests without a host, or with several",
            play: |place, sights| bad_hosts(place, sights).boxed_local(),
        },
    ],
    left_out: &[
        (
            "a route that is changed, or deleted, while it is served",
            "`rouse local` reads its manifests once, at its start. In the cluster: addon_route_update, addon_route_deletion.",
        ),
        (
            "InterceptorRoute, and a ScaledObject of the user's own",
            "`rouse local` refuses the first, in words that name HTTPScaledObject, and skips the second, in a notice.",
        ),
    ],
};

fn apps() -> Vec<App> {
    vec![
        App::new("exact", json!({ "hosts": ["foo.routing.test"] })),
        App::new("wildcard", json!({ "hosts": ["*.routing.test"] })),
        App::new(
            "api",
            json!({ "hosts": ["paths.test"], "pathPrefixes": ["/api", "/echo"] }),
        ),
        App::new(
            "env",
            json!({ "hosts": ["paths.test"], "pathPrefixes": ["/env"] }),
        ),
        App::new(
            "verbose",
            json!({ "hosts": ["headers.test"], "headers": [{ "name": "X-Mode", "value": "verbose" }] }),
        ),
        App::new(
            "present",
            json!({ "hosts": ["headers.test"], "headers": [{ "name": "X-Mode" }] }),
        ),
    ]
}

async fn no_route(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    let answer = get(place, "nobody.test", "/").await?;
    sights.saw("GET by HTTP/1.1", NO_ROUTE, verdict(&answer));
    sights.saw("its body", text(b"Not Found\n"), text(&answer.body));
    sights.saw_alike("its header", fields(&answer.headers));
    let http2 = Http2::connect(place).await?;
    let answer = http2
        .send("GET".try_into()?, "nobody.test", "/", &[], nothing())
        .await?;
    sights.saw(
        "GET by HTTP/2",
        NO_ROUTE,
        told(answer.status, &answer.headers, &["rouse-error"]),
    );
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    let answer = http2
        .send("POST".try_into()?, "nobody.test", "/a.B/C", &grpc, nothing())
        .await?;
    sights.saw(
        "a gRPC call",
        "200, grpc-status: 12, grpc-message: route_not_found",
        told(answer.status, &answer.headers, &["grpc-status", "grpc-message"]),
    );
    sights.saw_alike("its header", fields(&answer.headers));
    Ok(())
}

/// Host, path, header, and who is to answer.
type Asked<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

/// Who answers each of these, or what is said where nobody does.
async fn answered_by(place: &Place, sights: &mut Sights, requests: &[Asked<'_>]) -> anyhow::Result<()> {
    for (host, path, headers, expected) in requests {
        let answer = send(place, "GET".try_into()?, host, path, headers, "").await?;
        let seen = told_name(&answer).or_else(|| echoing(&answer));
        let seen = seen.unwrap_or_else(|| told(answer.status, &answer.headers, &["rouse-error"]));
        let with = headers
            .iter()
            .map(|(name, value)| format!(" with {name}: {value}"));
        let with: String = with.collect();
        sights.saw(format_args!("{host}{path}{with}"), expected, seen);
    }
    Ok(())
}

/// `/echo` does not tell who answers; here one application has it.
fn echoing(answer: &crate::cluster::http::Answer) -> Option<String> {
    answer.headers.contains_key("x-echo").then(|| "api".to_owned())
}

async fn hosts(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    answered_by(
        place,
        sights,
        &[
            ("foo.routing.test", "/", &[], "exact"),
            ("FOO.Routing.TEST", "/", &[], "exact"),
            ("foo.routing.test.", "/", &[], "exact"),
            ("foo.routing.test:8080", "/", &[], "exact"),
            ("bar.routing.test", "/", &[], "wildcard"),
            ("a.b.routing.test", "/", &[], "wildcard"),
            ("routing.test", "/", &[], NO_ROUTE),
            ("foo.routing.test.example.com", "/", &[], NO_ROUTE),
            ("*", "/", &[], NO_ROUTE),
        ],
    )
    .await
}

async fn paths(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    answered_by(
        place,
        sights,
        &[
            ("paths.test", "/api/info", &[], "api"),
            ("paths.test", "/api/info?x=1&y=%2F", &[], "api"),
            ("paths.test", "/%61pi/info", &[], "404"),
            ("paths.test", "/echo/a//b", &[], "api"),
            ("paths.test", "/env", &[], "env"),
            ("paths.test", "/environment", &[], NO_ROUTE),
            ("paths.test", "/API/info", &[], NO_ROUTE),
            ("paths.test", "/api%2Finfo", &[], NO_ROUTE),
            ("paths.test", "/", &[], NO_ROUTE),
        ],
    )
    .await?;
    let answer = get(place, "paths.test", "/echo/a%20b/?q=%C3%A4;c").await?;
    sights.saw(
        "the path that the application is sent",
        "GET /echo/a%20b/?q=%C3%A4;c HTTP/1.1",
        answer
            .headers
            .get("x-echo")
            .map_or("none", |line| line.to_str().unwrap_or("not a text")),
    );
    Ok(())
}

async fn headers(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    answered_by(
        place,
        sights,
        &[
            ("headers.test", "/", &[("x-mode", "verbose")], "verbose"),
            ("headers.test", "/", &[("X-MODE", "verbose")], "verbose"),
            ("headers.test", "/", &[("x-mode", "Verbose")], "present"),
            ("headers.test", "/", &[("x-mode", "")], "present"),
            ("headers.test", "/", &[], NO_ROUTE),
        ],
    )
    .await
}

async fn bad_hosts(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    for (what, request) in [
        ("HTTP/1.1 without Host", "GET / HTTP/1.1\r\n\r\n"),
        (
            "two Hosts",
            "GET / HTTP/1.1\r\nhost: foo.routing.test\r\nhost: foo.routing.test\r\n\r\n",
        ),
        (
            "a Host that is none",
            "GET / HTTP/1.1\r\nhost: foo routing\r\n\r\n",
        ),
        (
            "CONNECT",
            "CONNECT foo.routing.test:443 HTTP/1.1\r\nhost: foo.routing.test:443\r\n\r\n",
        ),
        ("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n"),
        ("what is not HTTP", "HELO foo.routing.test\r\n\r\n"),
    ] {
        sights.saw_alike(what, raw(place, request).await?);
    }
    let absolute = "GET http://foo.routing.test/ HTTP/1.1\r\nhost: nobody.test\r\n\r\n";
    let head = raw(place, absolute).await?;
    sights.saw(
        "a target with a host, which outranks Host",
        "HTTP/1.1 200 OK",
        head.split("; ").next().unwrap_or_default(),
    );
    Ok(())
}
