//! The flags and environment variables of `rouse interceptor`, as typed by the user. Names that begin with `KEDA_` are
//! the KEDA HTTP Add-on's and mean what they mean there; `ROUSE_` names are Rouse's own.

use std::{ffi::OsStr, net::IpAddr, time::Duration};

use clap::{
    FromArgMatches as _,
    builder::{BoolishValueParser, Resettable},
};

/// What the user typed. [`Config`](super::Config) is what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Interceptor")]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own, named by a flag"
)]
pub struct Args {
    /// The address that the proxy listens on. Every address of the machine when unset, IPv6 included where the machine
    /// has it.
    #[arg(long, env = "ROUSE_PROXY_ADDRESS", value_name = "IP")]
    pub proxy_address: Option<IpAddr>,

    /// The port that the proxy listens on, 0 for any free one. Not the admin server's.
    #[arg(
        long,
        env = "KEDA_HTTP_PROXY_PORT",
        value_name = "PORT",
        default_value_t = 8080
    )]
    pub proxy_port: u16,

    /// The address that the admin server listens on (health, `/queue`, metrics, the load stream). Every address of the
    /// machine when unset. It has no authentication: keep it inside the cluster.
    #[arg(long, env = "ROUSE_ADMIN_ADDRESS", value_name = "IP")]
    pub admin_address: Option<IpAddr>,

    /// The port that the admin server listens on, 0 for any free one.
    #[arg(
        long,
        env = "KEDA_HTTP_ADMIN_PORT",
        value_name = "PORT",
        default_value_t = 9090
    )]
    pub admin_port: u16,

    /// Adds `X-KEDA-HTTP-Cold-Start: true|false` to forwarded responses: whether the request was held. Turn it off to
    /// keep that from clients.
    #[arg(
        long,
        env = "KEDA_HTTP_ENABLE_COLD_START_HEADER",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
    )]
    pub cold_start_header: bool,

    /// Writes one line per request to the access log. Costs CPU on every request.
    #[arg(
        long,
        env = "KEDA_HTTP_LOG_REQUESTS",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
    )]
    pub log_requests: bool,

    /// How long connections are still accepted after SIGTERM, so that everyone who sends requests here has heard that
    /// this replica goes. Raise it where the gateway learns of endpoints slowly. 0 closes the listener at once.
    #[arg(
        long,
        env = "KEDA_HTTP_SHUTDOWN_DELAY",
        value_name = "DURATION",
        value_parser = rouse_daemon::duration::parse,
        default_value = "5s"
    )]
    pub shutdown_delay: Duration,

    /// After the shutdown delay, how long requests that are being answered may take to finish; then they are cut. Held
    /// requests keep their own deadline. 0 waits for ever (the kubelet's grace period still ends it).
    #[arg(
        long,
        env = "KEDA_HTTP_DRAIN_TIMEOUT",
        value_name = "DURATION",
        value_parser = rouse_daemon::duration::parse,
        default_value = "30s"
    )]
    pub drain_timeout: Duration,

    /// How many requests one route may hold in this replica while its target has no ready endpoint. The next one gets
    /// 503 with Retry-After. A route's `coldStart.maxPendingRequests` overrides it. 0 for no bound.
    #[arg(
        long,
        env = "KEDA_HTTP_COLD_START_MAX_PENDING_REQUESTS",
        value_name = "COUNT",
        default_value_t = 1_000
    )]
    pub cold_start_max_pending_requests: u32,

    /// How many requests all routes together may hold in this replica. The next one gets 503 with Retry-After. About
    /// 10 KiB of memory each. 0 for no bound.
    #[arg(
        long,
        env = "ROUSE_MAX_PENDING_REQUESTS",
        value_name = "COUNT",
        default_value_t = 20_000
    )]
    pub max_pending_requests: u32,

    /// How many bytes of bodies the held requests may occupy together in this replica, counted by `content-length` up to
    /// the receive window. The request that would go over gets 503 with Retry-After. 0 for no bound.
    #[arg(
        long,
        env = "ROUSE_MAX_PENDING_BYTES",
        value_name = "BYTES",
        value_parser = super::bytes::parse,
        default_value = "256Mi"
    )]
    pub max_pending_bytes: u64,

    /// The deadline of the whole request, hold and streamed body included; past it the client gets 504, or a cut stream
    /// where the answer had begun. Tunnels (WebSocket) are exempt. A route's `timeouts.request` overrides it. 0 for none.
    #[arg(
        long,
        env = "KEDA_HTTP_REQUEST_TIMEOUT",
        value_name = "DURATION",
        value_parser = rouse_daemon::duration::parse,
        default_value = "0s"
    )]
    pub request_timeout: Duration,

    /// How long from the request being sent to the response's headers; past it the client gets 504. Raise it for applications that
    /// compute for long before they answer. A route's `timeouts.responseHeader` overrides it. 0 for none.
    #[arg(
        long,
        env = "KEDA_HTTP_RESPONSE_HEADER_TIMEOUT",
        value_name = "DURATION",
        value_parser = rouse_daemon::duration::parse,
        default_value = "300s"
    )]
    pub response_header_timeout: Duration,

    /// How long a request may be held for a ready endpoint; past it the client gets 504, or the fallback answers. Unset
    /// means 180s, and 30s for a route with a fallback. A route's `timeouts.readiness` overrides it. 0 for no deadline
    /// (a route with a fallback still has 30s).
    #[arg(
        long,
        env = "KEDA_HTTP_READINESS_TIMEOUT",
        value_name = "DURATION",
        value_parser = rouse_daemon::duration::parse
    )]
    pub readiness_timeout: Option<Duration>,

    /// The readiness timeout while a pod of the target is seen waiting for a node. Applies to routes that have neither a
    /// timeout of their own nor a fallback, and never shortens. Raise it where nodes take longer to come.
    #[arg(
        long,
        env = "ROUSE_EXTENDED_READINESS_TIMEOUT",
        value_name = "DURATION",
        value_parser = rouse_daemon::duration::parse,
        default_value = "360s"
    )]
    pub extended_readiness_timeout: Duration,

    /// How long one attempt to connect to an endpoint may take; past it another endpoint is tried. Raise it for endpoints that are far
    /// away. Cannot be 0.
    #[arg(
        long,
        env = "KEDA_HTTP_CONNECT_TIMEOUT",
        value_name = "DURATION",
        value_parser = rouse_daemon::duration::parse,
        default_value = "500ms"
    )]
    pub connect_timeout: Duration,

    /// How many idle connections to endpoints are kept in all; more are closed when their request ends. 0 keeps none.
    #[arg(
        long,
        env = "KEDA_HTTP_MAX_IDLE_CONNS",
        value_name = "COUNT",
        default_value_t = 1_000
    )]
    pub max_idle_connections: u32,

    /// How many idle connections are kept for one endpoint; more are closed when their request ends. 0 keeps none.
    #[arg(
        long,
        env = "KEDA_HTTP_MAX_IDLE_CONNS_PER_HOST",
        value_name = "COUNT",
        default_value_t = 200
    )]
    pub max_idle_connections_per_endpoint: u32,

    /// How long an idle connection to an endpoint is kept. Lower it where applications close theirs earlier. Cannot be 0.
    #[arg(
        long,
        env = "ROUSE_UPSTREAM_IDLE_TIMEOUT",
        value_name = "DURATION",
        value_parser = rouse_daemon::duration::parse,
        default_value = "90s"
    )]
    pub upstream_idle_timeout: Duration,

    /// How many client connections are open at once. At the limit no more are accepted and newcomers wait in the
    /// kernel's listen queue. About 8 KiB of memory each while idle. 0 for no bound but the open-file limit.
    #[arg(
        long,
        env = "ROUSE_MAX_CONNECTIONS",
        value_name = "COUNT",
        default_value_t = 32_768
    )]
    pub max_connections: u32,

    /// How many streams one client may have open on an HTTP/2 connection; further ones wait at the client. Each may hold
    /// 64 KiB of body, so this also sets the connection's receive window. From 1 to 32767.
    #[arg(long, env = "ROUSE_MAX_STREAMS", value_name = "COUNT", default_value_t = 256)]
    pub max_streams: u32,

    /// How many threads serve requests, one runtime each, from 1 to 1024. The number of cores this process may use when
    /// unset.
    #[arg(long, env = "ROUSE_WORKERS", value_name = "COUNT")]
    pub workers: Option<u32>,

    /// How large a request's head (request line and headers) may be, from 8Ki to 16Mi. A larger one gets 431.
    #[arg(
        long,
        env = "ROUSE_MAX_HEADER_BYTES",
        value_name = "BYTES",
        value_parser = super::bytes::parse,
        default_value = "64Ki"
    )]
    pub max_header_bytes: u64,

    /// How many headers a request may have, from 1 to 10000. One with more gets 431.
    #[arg(long, env = "ROUSE_MAX_HEADERS", value_name = "COUNT", default_value_t = 100)]
    pub max_headers: u32,

    /// How long a client connection may be idle between requests before it is closed. Keep it above the idle timeout of
    /// the gateway in front (Envoy: one hour): whoever closes first while the other sends loses that request. Cannot be 0.
    #[arg(
        long,
        env = "ROUSE_IDLE_TIMEOUT",
        value_name = "DURATION",
        value_parser = rouse_daemon::duration::parse,
        default_value = "66m"
    )]
    pub idle_timeout: Duration,

    /// How long a client may take to send a request's head, from its first byte; past it the connection is closed.
    /// Cannot be 0.
    #[arg(
        long,
        env = "ROUSE_HEADER_TIMEOUT",
        value_name = "DURATION",
        value_parser = rouse_daemon::duration::parse,
        default_value = "60s"
    )]
    pub header_timeout: Duration,

    /// Deprecated: use KEDA_HTTP_READINESS_TIMEOUT, over which it wins when above 0.
    #[arg(
        long,
        env = "KEDA_CONDITION_WAIT_TIMEOUT",
        value_name = "DURATION",
        value_parser = rouse_daemon::duration::parse,
        hide = true
    )]
    pub condition_wait_timeout: Option<Duration>,

    /// Deprecated: use KEDA_HTTP_RESPONSE_HEADER_TIMEOUT, over which it wins when above 0.
    #[arg(
        long,
        env = "KEDA_RESPONSE_HEADER_TIMEOUT",
        value_name = "DURATION",
        value_parser = rouse_daemon::duration::parse,
        hide = true
    )]
    pub deprecated_response_header_timeout: Option<Duration>,
}

/// The defaults that the flags declare, whatever the environment says: for whoever starts an interceptor in process.
impl Default for Args {
    #[expect(
        clippy::expect_used,
        reason = "every flag has a default that parses; a test runs this"
    )]
    fn default() -> Self {
        let command =
            <Self as clap::Args>::augment_args(clap::Command::new("interceptor").no_binary_name(true))
                .mut_args(|arg| arg.env(Resettable::Reset));
        let matches = command
            .try_get_matches_from(std::iter::empty::<&OsStr>())
            .expect("the defaults parse");
        Self::from_arg_matches(&matches).expect("every flag has a default")
    }
}
