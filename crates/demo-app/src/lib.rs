//! The application that Rouse's own tests, benchmarks and demonstration put behind the proxy.
//!
//! It answers the endpoints of podinfo that Rouse's users know, and adds what a test needs to see from the application's
//! side: a body echoed or digested ([`Cksum`]), which requests were executed and how often ([`Executed`]), and when the
//! process listened and read the first byte of its first request ([`Timing`]).
//!
//! `rouse demo-app` calls [`run`]; tests that want it in their own process call [`DemoApp::start`]. It is started in every
//! measured cold start, so it runs on one thread and sets up nothing that it does not need.
//!
//! | endpoint | answers |
//! | --- | --- |
//! | `/`, `/api/info` | JSON with podinfo's fields: hostname, version, runtime, color, message … |
//! | `/healthz`, `/readyz` | 200, or 503 while `--ready-delay` runs or with `--never-ready` |
//! | `/delay/{seconds}` | 200 after that time; fractions allowed |
//! | `/drip/{seconds}` | 200 at once, then a body of ten bytes spread over that time |
//! | `/status/{code}` | that status |
//! | `/bytes/{count}` | a body of that many bytes |
//! | `/echo` | the request's body, streamed, its headers as `x-echo-…`, its request line as `x-echo` |
//! | `/upload` | JSON `{bytes, cksum}` of the request's body, as POSIX `cksum` prints them |
//! | `/headers`, `/env`, `/version` | JSON |
//! | `/executed` | JSON: how many requests were executed, and how often each `x-request-id` |
//! | `/timing` | JSON: moments of this process on the machine's monotonic clock |
//! | `/metrics` | `http_requests_total` and `http_request_duration_seconds` |

mod app;
mod args;
mod body;
mod cksum;
mod connection;
mod endpoint;
mod executed;
mod info;
mod metrics;
mod service;
mod starts;
mod timing;

pub use self::{
    app::{DemoApp, StartError, run},
    args::Args,
    cksum::Cksum,
    executed::{Executed, ExecutedCounts},
    timing::{Timing, TimingReport, monotonic_ns},
};
