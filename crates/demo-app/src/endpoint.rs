//! What each path means, from a closed set, so that a metric label never carries a client's text.

use std::time::Duration;

/// Longest `/delay` and `/drip`.
const LONGEST_DELAY: Duration = Duration::from_hours(1);
/// Largest `/bytes`.
const MOST_BYTES: u64 = 1 << 32;

/// An endpoint with its arguments read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Endpoint {
    Info(&'static str),
    Healthz,
    Readyz,
    Delay(Duration),
    Drip(Duration),
    Status(http::StatusCode),
    Bytes(u64),
    Echo,
    Upload,
    Headers,
    Env,
    Version,
    Executed,
    Timing,
    Metrics,
    /// A known endpoint with an argument that it does not take.
    Invalid(&'static str),
    Unknown,
}

impl Endpoint {
    pub(crate) fn of(path: &str) -> Self {
        match path {
            "/" => Self::Info("/"),
            "/api/info" => Self::Info("/api/info"),
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            "/echo" => Self::Echo,
            "/upload" => Self::Upload,
            "/headers" => Self::Headers,
            "/env" => Self::Env,
            "/version" => Self::Version,
            "/executed" => Self::Executed,
            "/timing" => Self::Timing,
            "/metrics" => Self::Metrics,
            _ => Self::with_argument(path),
        }
    }

    fn with_argument(path: &str) -> Self {
        if let Some(seconds) = path.strip_prefix("/delay/") {
            parse_seconds(seconds).map_or(Self::Invalid("/delay/{seconds}"), Self::Delay)
        } else if let Some(seconds) = path.strip_prefix("/drip/") {
            parse_seconds(seconds).map_or(Self::Invalid("/drip/{seconds}"), Self::Drip)
        } else if let Some(code) = path.strip_prefix("/status/") {
            // 1xx are not answers: hyper sends them by other means.
            let code = code
                .parse()
                .ok()
                .filter(|code: &http::StatusCode| code.as_u16() >= 200);
            code.map_or(Self::Invalid("/status/{code}"), Self::Status)
        } else if let Some(count) = path.strip_prefix("/bytes/") {
            let count = count.parse().ok().filter(|count| *count <= MOST_BYTES);
            count.map_or(Self::Invalid("/bytes/{count}"), Self::Bytes)
        } else if path.starts_with("/echo/") {
            Self::Echo
        } else {
            Self::Unknown
        }
    }

    /// The value of the metrics' label `path`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Info(label) | Self::Invalid(label) => label,
            Self::Healthz => "/healthz",
            Self::Readyz => "/readyz",
            Self::Delay(_) => "/delay/{seconds}",
            Self::Drip(_) => "/drip/{seconds}",
            Self::Status(_) => "/status/{code}",
            Self::Bytes(_) => "/bytes/{count}",
            Self::Echo => "/echo",
            Self::Upload => "/upload",
            Self::Headers => "/headers",
            Self::Env => "/env",
            Self::Version => "/version",
            Self::Executed => "/executed",
            Self::Timing => "/timing",
            Self::Metrics => "/metrics",
            Self::Unknown => "_OTHER",
        }
    }

    /// Whether a request here is work for the application; probes and looking at the application are not.
    pub(crate) fn is_work(self) -> bool {
        !matches!(
            self,
            Self::Healthz | Self::Readyz | Self::Executed | Self::Timing | Self::Metrics
        )
    }
}

fn parse_seconds(text: &str) -> Option<Duration> {
    let delay = Duration::try_from_secs_f64(text.parse().ok()?).ok()?;
    (delay <= LONGEST_DELAY).then_some(delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_arguments_share_one_label() {
        for (path, endpoint, label) in [
            (
                "/delay/0.25",
                Endpoint::Delay(Duration::from_millis(250)),
                "/delay/{seconds}",
            ),
            (
                "/delay/-1",
                Endpoint::Invalid("/delay/{seconds}"),
                "/delay/{seconds}",
            ),
            (
                "/delay/NaN",
                Endpoint::Invalid("/delay/{seconds}"),
                "/delay/{seconds}",
            ),
            (
                "/delay/3601",
                Endpoint::Invalid("/delay/{seconds}"),
                "/delay/{seconds}",
            ),
            (
                "/status/204",
                Endpoint::Status(http::StatusCode::NO_CONTENT),
                "/status/{code}",
            ),
            (
                "/status/101",
                Endpoint::Invalid("/status/{code}"),
                "/status/{code}",
            ),
            (
                "/bytes/4294967297",
                Endpoint::Invalid("/bytes/{count}"),
                "/bytes/{count}",
            ),
            ("/echo/a/b", Endpoint::Echo, "/echo"),
            ("/etc/passwd", Endpoint::Unknown, "_OTHER"),
        ] {
            let got = Endpoint::of(path);
            assert_eq!((got, got.label()), (endpoint, label), "{path}");
        }
    }
}
