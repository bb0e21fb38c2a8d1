//! What bounds the interceptor, in two steps: [`Args`] is what the user typed, [`Config`] what follows from it, checked as a
//! whole before anything binds. Made once at start and never changed.

mod args;
pub mod bytes;
mod error;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    num::NonZeroUsize,
    time::Duration,
};

pub use self::{
    args::Args,
    error::{ConfigError, ConfigProblem, ConfigWarning},
};
use crate::plan::RouteConfig;

/// How long a request is held where a fallback stands by and nobody set a readiness timeout above zero.
pub const FALLBACK_READINESS_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a request is held where nobody says otherwise: long enough for an image pull and a slow start.
pub const DEFAULT_READINESS_TIMEOUT: Duration = Duration::from_mins(3);

/// The receive window of one HTTP/2 stream: what a client may send of a body before anyone reads it.
pub const STREAM_WINDOW_BYTES: u32 = 64 << 10;

/// The smallest head limit: hyper reads a head into a buffer of at least this size.
const LEAST_HEADER_BYTES: u64 = 8 << 10;

/// The largest head limit; the limit is memory that any client may take.
const MOST_HEADER_BYTES: u64 = 16 << 20;

/// The most streams on one connection: beyond it the connection window would not fit HTTP/2's 31 bits.
const MOST_STREAMS: u32 = (i32::MAX as u32) / STREAM_WINDOW_BYTES;

/// The most request threads; beyond any machine, so a typing error.
const MOST_WORKERS: u32 = 1_024;

/// The longest time that may be set. Longer ones are typing errors, and clocks overflow on some.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// The interceptor's settings, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own, named by a flag"
)]
pub struct Config {
    /// Where the proxy listens.
    pub proxy_addr: SocketAddr,
    /// Where the admin server listens.
    pub admin_addr: SocketAddr,
    /// Forwarded responses say whether the request was held.
    pub cold_start_header: bool,
    /// One access log line per request.
    pub log_requests: bool,
    /// How long connections are still accepted after a shutdown was asked for.
    pub shutdown_delay: Duration,
    /// How long answered requests may take to finish after that; `None` for no deadline.
    pub drain_timeout: Option<Duration>,
    /// What may be held.
    pub pending: PendingLimits,
    /// The deadlines of requests.
    pub timeouts: Timeouts,
    /// What is asked of client connections.
    pub downstream: DownstreamLimits,
    /// What is kept of connections to endpoints.
    pub upstream: UpstreamLimits,
    /// How many request threads run, one runtime each.
    pub workers: NonZeroUsize,
    /// What the user should change, for the log.
    warnings: Vec<ConfigWarning>,
}

/// How much may be held at once in this process. `usize::MAX` and `u64::MAX` stand for "no bound".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingLimits {
    /// Requests of one route, where the route does not say otherwise.
    pub per_route: usize,
    /// Requests of all routes.
    pub total: usize,
    /// Bytes of bodies of all held requests, counted by `content-length` up to the receive window.
    pub bytes: u64,
}

/// The deadlines of requests, where a route has none of its own. `None` is no deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// How long a request may be held; `Unset` where the user left it to us.
    readiness: Readiness,
    /// How long a request may be held while a pod waits for a node.
    extended_readiness: Duration,
    /// From the request being sent to the response's headers.
    response_header: Option<Duration>,
    /// The whole request.
    request: Option<Duration>,
    /// One attempt to connect to an endpoint.
    pub connect: Duration,
}

/// What the user said of the readiness timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readiness {
    Unset,
    Unlimited,
    After(Duration),
}

/// A route's deadlines with the interceptor's own filled in. `None` is no deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectiveTimeouts {
    /// How long a request may be held for a ready endpoint.
    pub readiness: Option<Duration>,
    /// The same while a pod of the target waits for a node; never shorter.
    pub readiness_waiting_for_node: Option<Duration>,
    /// From the request being sent to the response's headers.
    pub response_header: Option<Duration>,
    /// The whole request, hold included.
    pub request: Option<Duration>,
}

/// What is asked of client connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownstreamLimits {
    /// Open connections; `usize::MAX` for no bound. At the limit none is accepted.
    pub connections: usize,
    /// Streams of one HTTP/2 connection.
    pub streams: u32,
    /// The size of a request's head.
    pub header_bytes: usize,
    /// The number of a request's headers.
    pub headers: usize,
    /// Between two requests.
    pub idle_timeout: Duration,
    /// From a head's first byte to its last.
    pub header_timeout: Duration,
}

/// What is kept of connections to endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Idle connections to all endpoints.
    pub idle: usize,
    /// Idle connections to one endpoint.
    pub idle_per_endpoint: usize,
    /// How long a connection stays idle before it is closed.
    pub idle_timeout: Duration,
}

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    fn try_from(args: Args) -> Result<Self, ConfigError> {
        let mut check = Check::default();
        let mut warnings = Vec::new();
        if args.proxy_port == args.admin_port && args.proxy_port != 0 {
            check.problems.push(ConfigProblem::SamePort {
                port: args.proxy_port,
            });
        }

        let readiness = deprecated(
            &mut warnings,
            args.condition_wait_timeout,
            "KEDA_CONDITION_WAIT_TIMEOUT",
            "KEDA_HTTP_READINESS_TIMEOUT",
        )
        .or(args.readiness_timeout);
        let response_header = deprecated(
            &mut warnings,
            args.deprecated_response_header_timeout,
            "KEDA_RESPONSE_HEADER_TIMEOUT",
            "KEDA_HTTP_RESPONSE_HEADER_TIMEOUT",
        )
        .unwrap_or(args.response_header_timeout);

        let config = Self {
            proxy_addr: SocketAddr::new(args.proxy_address.unwrap_or_else(every_address), args.proxy_port),
            admin_addr: SocketAddr::new(args.admin_address.unwrap_or_else(every_address), args.admin_port),
            cold_start_header: args.cold_start_header,
            log_requests: args.log_requests,
            shutdown_delay: check.at_most_a_year("shutdown-delay", args.shutdown_delay),
            drain_timeout: check.zero_is_none("drain-timeout", args.drain_timeout),
            pending: PendingLimits {
                per_route: zero_is_unbounded(args.cold_start_max_pending_requests),
                total: zero_is_unbounded(args.max_pending_requests),
                bytes: match args.max_pending_bytes {
                    0 => u64::MAX,
                    bytes => bytes,
                },
            },
            timeouts: Timeouts {
                readiness: match readiness {
                    None => Readiness::Unset,
                    Some(timeout) => check
                        .zero_is_none("readiness-timeout", timeout)
                        .map_or(Readiness::Unlimited, Readiness::After),
                },
                extended_readiness: check
                    .at_most_a_year("extended-readiness-timeout", args.extended_readiness_timeout),
                response_header: check.zero_is_none("response-header-timeout", response_header),
                request: check.zero_is_none("request-timeout", args.request_timeout),
                connect: check.above_zero("connect-timeout", args.connect_timeout),
            },
            downstream: DownstreamLimits {
                connections: zero_is_unbounded(args.max_connections),
                streams: check.between("max-streams", args.max_streams, 1, MOST_STREAMS),
                header_bytes: check.between(
                    "max-header-bytes",
                    args.max_header_bytes,
                    LEAST_HEADER_BYTES,
                    MOST_HEADER_BYTES,
                ) as usize,
                headers: check.between("max-headers", args.max_headers, 1, 10_000) as usize,
                idle_timeout: check.above_zero("idle-timeout", args.idle_timeout),
                header_timeout: check.above_zero("header-timeout", args.header_timeout),
            },
            upstream: UpstreamLimits {
                idle: args.max_idle_connections as usize,
                idle_per_endpoint: args.max_idle_connections_per_endpoint as usize,
                idle_timeout: check.above_zero("upstream-idle-timeout", args.upstream_idle_timeout),
            },
            workers: match args.workers {
                None => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
                Some(workers) => {
                    NonZeroUsize::new(check.between("workers", workers, 1, MOST_WORKERS) as usize)
                        .unwrap_or(NonZeroUsize::MIN)
                }
            },
            warnings,
        };
        if check.problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError {
                problems: check.problems,
            })
        }
    }
}

impl Config {
    /// What the user should change.
    pub fn warnings(&self) -> &[ConfigWarning] {
        &self.warnings
    }

    /// Writes the settings in force to the log, and what the user should change. Call it once, at start.
    pub fn log(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
        tracing::info!(config = ?self, "starting with this configuration");
    }
}

impl Timeouts {
    /// The deadlines in force for `route`.
    pub fn for_route(&self, route: &RouteConfig) -> EffectiveTimeouts {
        let (readiness, readiness_waiting_for_node) =
            self.readiness(route.timeouts.readiness, route.fallback.is_some());
        EffectiveTimeouts {
            readiness,
            readiness_waiting_for_node,
            response_header: or_default(route.timeouts.response_header, self.response_header),
            request: or_default(route.timeouts.request, self.request),
        }
    }

    /// The hold's deadline, ordinarily and while a pod waits for a node.
    fn readiness(&self, own: Option<Duration>, has_fallback: bool) -> (Option<Duration>, Option<Duration>) {
        match (own, has_fallback) {
            // The user's own word: a node that comes late does not change it.
            (Some(own), _) if own > Duration::ZERO => (Some(own), Some(own)),
            // A fallback without a deadline would never be reached.
            (Some(_zero), true) => (Some(FALLBACK_READINESS_TIMEOUT), Some(FALLBACK_READINESS_TIMEOUT)),
            (Some(_zero), false) => (None, None),
            (None, true) => {
                let timeout = match self.readiness {
                    Readiness::After(timeout) => timeout,
                    Readiness::Unset | Readiness::Unlimited => FALLBACK_READINESS_TIMEOUT,
                };
                (Some(timeout), Some(timeout))
            }
            (None, false) => match self.readiness {
                Readiness::Unlimited => (None, None),
                Readiness::Unset => self.extended(DEFAULT_READINESS_TIMEOUT),
                Readiness::After(timeout) => self.extended(timeout),
            },
        }
    }

    fn extended(&self, timeout: Duration) -> (Option<Duration>, Option<Duration>) {
        (Some(timeout), Some(timeout.max(self.extended_readiness)))
    }
}

impl PendingLimits {
    /// How many requests `route` may hold.
    pub fn for_route(&self, route: &RouteConfig) -> usize {
        route.max_pending.map_or(self.per_route, |own| own as usize)
    }
}

impl DownstreamLimits {
    /// The receive window of an HTTP/2 connection: room for every stream's own, so that a held upload does not block
    /// its neighbours.
    pub fn connection_window_bytes(&self) -> u32 {
        self.streams * STREAM_WINDOW_BYTES
    }
}

/// The route's word, where zero means no deadline, else the interceptor's.
fn or_default(own: Option<Duration>, default: Option<Duration>) -> Option<Duration> {
    match own {
        None => default,
        Some(Duration::ZERO) => None,
        Some(own) => Some(own),
    }
}

/// A deprecated setting's value, if it counts: above zero.
fn deprecated(
    warnings: &mut Vec<ConfigWarning>,
    value: Option<Duration>,
    name: &'static str,
    replacement: &'static str,
) -> Option<Duration> {
    let value = value.filter(|value| !value.is_zero())?;
    warnings.push(ConfigWarning::Deprecated { name, replacement });
    Some(value)
}

fn zero_is_unbounded(count: u32) -> usize {
    match count {
        0 => usize::MAX,
        count => count as usize,
    }
}

/// The wildcard address: IPv6, which on Linux takes IPv4 as well, where the machine has it.
fn every_address() -> IpAddr {
    match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_probe) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_no_ipv6) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// Collects what is wrong while the values pass through it.
#[derive(Debug, Default)]
struct Check {
    problems: Vec<ConfigProblem>,
}

impl Check {
    fn at_most_a_year(&mut self, flag: &'static str, value: Duration) -> Duration {
        if value > LONGEST {
            self.problems.push(ConfigProblem::TooLong { flag });
        }
        value
    }

    fn above_zero(&mut self, flag: &'static str, value: Duration) -> Duration {
        if value.is_zero() {
            self.problems.push(ConfigProblem::Zero { flag });
        }
        self.at_most_a_year(flag, value)
    }

    fn zero_is_none(&mut self, flag: &'static str, value: Duration) -> Option<Duration> {
        Some(self.at_most_a_year(flag, value)).filter(|value| !value.is_zero())
    }

    fn between<N: Copy + Ord + Into<u64>>(&mut self, flag: &'static str, given: N, least: N, most: N) -> N {
        if given < least || given > most {
            self.problems.push(ConfigProblem::OutOfRange {
                flag,
                given: given.into(),
                least: least.into(),
                most: most.into(),
            });
        }
        given
    }
}
