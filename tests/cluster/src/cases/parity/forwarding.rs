//! What an application sees of a request, and its client of the answer.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use super::{
    Group, Scene,
    manifests::App,
    place::Place,
    request::{Http2, fields, get, nothing, seen_fields, send, text, told, verdict, within},
    sights::Sights,
};

const WARM: &str = "200, x-keda-http-cold-start: false";
const COLD: &str = "200, x-keda-http-cold-start: true";
/// Far above what an answer without a wake takes on a busy machine.
const WARM_SECONDS: u64 = 2;

pub(super) const GROUP: Group = Group {
    namespace: "parity-forwarding",
    apps,
    scenes: &[
        Scene {
            title: "A cold GET, and a warm one",
            play: |place, sights| cold_get(place, sights).boxed_local(),
        },
        Scene {
            title: "A cold POST with a body",
            play: |place, sights| cold_post(place, sights).boxed_local(),
        },
        Scene {
            title: "What the application sees of a request",
            play: |place, sights| seen_by_application(place, sights).boxed_local(),
        },
        Scene {
            title: "Methods and statuses",
            play: |place, sights| statuses(place, sights).boxed_local(),
        },
        Scene {
            title: "Large and slow bodies",
            play: |place, sights| bodies(place, sights).boxed_local(),
        },
        Scene {
            title: "HTTP/2 from the client, HTTP/1.1 to the application",
            play: |place, sights| http2(place, sights).boxed_local(),
        },
        Scene {
            title: "HTTP/2 all the way, with trailers, as gRPC has it",
            play: |place, sights| http2_all_the_way(place, sights).boxed_local(),
        },
    ],
    left_out: &[(
        "a WebSocket that is taken up",
        "The demonstration application, which runs in both, does not speak it; only the way of the handshake to it is shown.",
    )],
};

fn apps() -> Vec<App> {
    vec![
        App::new("get", json!({ "hosts": ["get.test"], "scaledownPeriod": 120 })),
        App::new("post", json!({ "hosts": ["post.test"] })),
        App::new("h2c", json!({ "hosts": ["h2c.test"] })).speaking("kubernetes.io/h2c"),
    ]
}

async fn cold_get(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    let cold = get(place, "get.test", "/").await?;
    sights.saw("the first", COLD, verdict(&cold));
    sights.saw_alike("its header", without_length(&cold.headers));
    let info: Value = serde_json::from_slice(&cold.body).context("read what / answered")?;
    sights.saw("who answers", "get", info["message"].as_str().unwrap_or_default());
    let warm = get(place, "get.test", "/").await?;
    sights.saw("the second", WARM, verdict(&warm));
    sights.saw_alike("its header", without_length(&warm.headers));
    let most = format!("0 to {WARM_SECONDS} s");
    sights.saw("the second's time", most, within(warm.total, 0, WARM_SECONDS));
    Ok(())
}

/// The length of an answer that has a pod's name or an address in it says nothing.
fn without_length(headers: &HeaderMap) -> String {
    let mut headers = headers.clone();
    headers.remove(http::header::CONTENT_LENGTH);
    fields(&headers)
}

async fn cold_post(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    const BODY: &str = r#"{"name":"cold start","numbers":[1,2,3],"text":"\u00e4 \"quoted\" é"}"#;
    let headers = [("content-type", "application/json")];
    let answer = send(place, Method::POST, "post.test", "/echo", &headers, BODY).await?;
    sights.saw("status", COLD, verdict(&answer));
    sights.saw(
        "the body that came back",
        text(BODY.as_bytes()),
        text(&answer.body),
    );
    sights.saw_alike("the header", fields(&answer.headers));
    let executed = get(place, "post.test", "/executed").await?;
    let executed: Value = serde_json::from_slice(&executed.body).context("read what /executed answered")?;
    sights.saw("how often it was executed", 1, &executed["total"]);
    Ok(())
}

async fn seen_by_application(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    for (what, path, headers) in [
        ("a plain request", "/headers", &[][..]),
        (
            "forwarding fields of an earlier proxy",
            "/headers",
            &[
                ("x-forwarded-for", "client.example, 192.0.2.1"),
                ("x-forwarded-host", "outside.example"),
                ("x-forwarded-proto", "https"),
                ("forwarded", "for=192.0.2.1;proto=https"),
            ],
        ),
        (
            "fields of the connection",
            "/headers",
            &[
                ("connection", "keep-alive, x-private"),
                ("x-private", "1"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("proxy-authorization", "Basic eA=="),
                ("te", "trailers, deflate"),
                ("upgrade", "h2c"),
            ],
        ),
        (
            "the beginning of a WebSocket, which the application does not take up",
            "/headers",
            &[
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ],
        ),
        (
            "fields that are passed on as they are",
            "/headers",
            &[
                ("accept-encoding", "gzip"),
                ("authorization", "Bearer x"),
                ("cookie", "a=1; b=2"),
                ("x-twice", "1"),
                ("x-twice", "2"),
                ("x-empty", ""),
            ],
        ),
    ] {
        let answer = send(place, Method::GET, "get.test", path, headers, "").await?;
        let sent: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        let sent = if sent.is_empty() {
            String::new()
        } else {
            format!(": {}", sent.join(", "))
        };
        sights.saw_alike(format_args!("{what}{sent}"), seen_fields(&answer)?);
    }
    let answer = get(place, "GET.test:8080", "/headers").await?;
    let seen = seen_fields(&answer)?;
    let host = seen.split(", ").find(|field| field.starts_with("host: "));
    sights.saw(
        "Host, as the client wrote it",
        "host: GET.test:8080",
        host.unwrap_or("none"),
    );
    Ok(())
}

async fn statuses(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    for status in [200, 204, 301, 304, 404, 418, 429, 500, 503] {
        let answer = get(place, "get.test", &format!("/status/{status}")).await?;
        let expected = format!("{status}, x-keda-http-cold-start: false");
        sights.saw(
            format_args!("the application's {status}"),
            expected,
            verdict(&answer),
        );
        sights.saw_alike(format_args!("its header with {status}"), fields(&answer.headers));
    }
    for method in ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"] {
        let method: Method = method.try_into()?;
        let answer = send(place, method.clone(), "get.test", "/echo", &[], "").await?;
        let line = answer.headers.get("x-echo").map(|line| line.as_bytes().to_vec());
        let expected = format!("{method} /echo HTTP/1.1");
        let seen = String::from_utf8_lossy(&line.unwrap_or_default()).into_owned();
        sights.saw(format_args!("{method}, as it arrives"), expected, seen);
    }
    Ok(())
}

async fn bodies(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    const MEBIBYTES: usize = 16 << 20;
    let body: Vec<u8> = (0..MEBIBYTES).map(|index| (index % 251) as u8).collect();
    let answer = send(place, Method::POST, "get.test", "/upload", &[], body).await?;
    sights.saw("16 MiB sent", WARM, verdict(&answer));
    sights.saw_alike("what of it arrives", text(&answer.body));
    let answer = get(place, "get.test", &format!("/bytes/{MEBIBYTES}")).await?;
    sights.saw("16 MiB received", WARM, verdict(&answer));
    let is_whole = answer.body.iter().all(|byte| *byte == b'.');
    sights.saw(
        "whole",
        "16777216 bytes, true",
        format_args!("{} bytes, {is_whole}", answer.body.len()),
    );
    let answer = get(place, "get.test", "/drip/2").await?;
    sights.saw(
        "an answer that takes 2 s: its head",
        "0 to 1 s",
        within(answer.head, 0, 1),
    );
    sights.saw(
        "its end",
        "2 to 6 s",
        within(answer.total + Duration::from_millis(50), 2, 6),
    );
    sights.saw("its bytes", 10, answer.body.len());
    Ok(())
}

async fn http2(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    let http2 = Http2::connect(place).await?;
    let answer = http2
        .send(Method::GET, "get.test", "/headers", &[], nothing())
        .await?;
    sights.saw(
        "status",
        "200",
        told(answer.status, &answer.headers, &["rouse-error"]),
    );
    sights.saw_alike("header", without_length(&answer.headers));
    let answer = http2
        .send(Method::POST, "get.test", "/echo", &[], ("body", HeaderMap::new()))
        .await?;
    sights.saw("the body that comes back", text(b"body"), text(&answer.body));
    sights.saw_alike("what the application saw", fields(&answer.headers));
    Ok(())
}

async fn http2_all_the_way(place: &Place, sights: &mut Sights) -> anyhow::Result<()> {
    let http2 = Http2::connect(place).await?;
    let trailers: HeaderMap = [("grpc-status", "0"), ("x-sum", "17")]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    for what in ["cold", "warm"] {
        let sent = ("\0\0\0\0\u{2}hi", trailers.clone());
        let answer = http2
            .send(Method::POST, "h2c.test", "/echo/a.B/C", &headers, sent)
            .await?;
        let cold_start = ["x-keda-http-cold-start"];
        let expected = format!("200, x-keda-http-cold-start: {}", what == "cold");
        sights.saw(what, expected, told(answer.status, &answer.headers, &cold_start));
        sights.saw_alike(format_args!("{what}: header"), fields(&answer.headers));
        sights.saw(
            format_args!("{what}: body"),
            text(b"\0\0\0\0\x02hi"),
            text(&answer.body),
        );
        let expected = "grpc-status: 0, x-sum: 17";
        sights.saw(
            format_args!("{what}: trailers"),
            expected,
            fields(&answer.trailers),
        );
    }
    Ok(())
}
