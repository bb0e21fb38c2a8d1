//! Host names: how an object writes them and how a request carries them, brought to one form.

use std::{fmt, sync::Arc};

/// The longest name that DNS allows, without the trailing dot. A longer host in a request can only match a catch-all,
/// which bounds the work per lookup and the buffer for lower-casing.
pub(crate) const MAX_HOST_BYTES: usize = 253;

/// A host as a route claims it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// One host, lower-case, without port, brackets or trailing dot.
    Exact(Arc<str>),
    /// `*.` and this name: every host below it, at any depth, and never the name itself.
    Wildcard(Arc<str>),
    /// `*`: every host, and requests without one.
    CatchAll,
}

impl HostPattern {
    /// Reads a host from an object: `chat.example.com`, `*.example.com`, `*`, or nothing for `*`. A port and a trailing
    /// dot are dropped, also in `[::1]:8080`. `None` where no request can have such a host: an URL, a name longer than
    /// DNS allows, a `*` anywhere but in front.
    pub fn parse(host: &str) -> Option<Self> {
        if host.is_empty() {
            return Some(Self::CatchAll);
        }
        if host.bytes().any(is_never_in_a_host) {
            return None;
        }
        let name = bare_name(host).to_ascii_lowercase();
        if name == "*" {
            return Some(Self::CatchAll);
        }
        let (is_wildcard, name) = match name.strip_prefix("*.") {
            Some(parent) => (true, parent),
            None => (false, name.as_str()),
        };
        if name.is_empty() || name.len() > MAX_HOST_BYTES || name.contains('*') {
            return None;
        }
        Some(if is_wildcard {
            Self::Wildcard(name.into())
        } else {
            Self::Exact(name.into())
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
            Self::CatchAll => f.write_str("*"),
        }
    }
}

/// The name in a `Host` header or an authority: without its port, an IPv6 literal's brackets and one trailing dot.
/// Case is left as it is.
pub(crate) fn bare_name(host: &str) -> &str {
    let name = without_port(host);
    name.strip_suffix('.').unwrap_or(name)
}

fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((literal, port)) if literal.contains(':') && (port.is_empty() || port.starts_with(':')) => {
                literal
            }
            _ => host,
        };
    }
    match host.split_once(':') {
        // More than one colon without brackets is a bare IPv6 literal, which has no port.
        Some((name, port)) if !port.contains(':') => name,
        _ => host,
    }
}

/// Whether a request's bare name is a pattern itself. Taken literally it would reach the routes behind that pattern.
pub(crate) fn is_pattern(name: &str) -> bool {
    name == "*" || name.starts_with("*.")
}

fn is_never_in_a_host(byte: u8) -> bool {
    byte.is_ascii_control() || matches!(byte, b' ' | b'/' | b'\\' | b'@' | b'?' | b'#' | b',')
}

#[cfg(test)]
mod tests {
    use super::{HostPattern, bare_name};

    #[test]
    fn bare_name_drops_port_brackets_and_one_trailing_dot() {
        for (host, name) in [
            ("a.test", "a.test"),
            ("a.test:8080", "a.test"),
            ("a.test:", "a.test"),
            ("a.test.", "a.test"),
            ("a.test.:8080", "a.test"),
            ("a.test..", "a.test."),
            ("[::1]", "::1"),
            ("[::1]:8080", "::1"),
            ("::1", "::1"),
            ("[::1", "[::1"),
            ("[::1]x", "[::1]x"),
            ("[a.test]:80", "[a.test]:80"),
            ("", ""),
            (":80", ""),
            (".", ""),
        ] {
            assert_eq!(bare_name(host), name, "{host:?}");
        }
    }

    #[test]
    fn patterns_are_parsed_to_one_form() {
        let exact = |name: &str| Some(HostPattern::Exact(name.into()));
        let wildcard = |name: &str| Some(HostPattern::Wildcard(name.into()));
        for (host, pattern) in [
            ("A.Test:8080", exact("a.test")),
            ("a.test.", exact("a.test")),
            ("[::1]:8080", exact("::1")),
            ("*.Example.com:443", wildcard("example.com")),
            ("*.example.com.", wildcard("example.com")),
            ("*.local", wildcard("local")),
            ("*", Some(HostPattern::CatchAll)),
            ("*:8080", Some(HostPattern::CatchAll)),
            ("", Some(HostPattern::CatchAll)),
        ] {
            assert_eq!(HostPattern::parse(host), pattern, "{host:?}");
        }
    }

    #[test]
    fn a_broken_host_never_widens_to_a_catch_all() {
        for host in [
            ":8080",
            ".",
            "*..",
            "https://a.test",
            "a.*.test",
            "*a.test",
            "a.test/x",
            "a test",
            "a,b",
            "a\n",
        ] {
            assert_eq!(HostPattern::parse(host), None, "{host:?}");
        }
        assert_eq!(HostPattern::parse(&"a".repeat(254)), None);
        assert!(HostPattern::parse(&"a".repeat(253)).is_some());
    }
}
