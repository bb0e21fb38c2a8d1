//! The checks that both resources share. Each adds to a list of errors, so that a user sees all of them at once.

use std::collections::BTreeSet;

use crate::FieldError;

/// The longest name of a Service, and of a part of a host name.
const MAX_LABEL: usize = 63;

/// The longest host name (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;

/// Checks the name of a Service: every Service has a DNS label for a name.
pub(crate) fn service_name(path: &str, name: &str, errors: &mut Vec<FieldError>) {
    let is_label = (1..=MAX_LABEL).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if name.is_empty() {
        errors.push(FieldError::new(path, "must not be empty"));
    } else if !is_label {
        errors.push(FieldError::new(
            path,
            format!(
                "{name:?} cannot be a Service: at most {MAX_LABEL} lower-case letters, digits and hyphens"
            ),
        ));
    }
}

/// Checks the port of a Service, given by number or by name, where `both_or_neither` is the message of the CRD's own
/// rule on the object at `path`.
pub(crate) fn service_port(
    path: &str,
    port: Option<i32>,
    name: Option<&str>,
    both_or_neither: &str,
    errors: &mut Vec<FieldError>,
) {
    if port.is_some() == name.is_some() {
        errors.push(FieldError::new(path, both_or_neither));
    }
    if let Some(port) = port {
        in_range(&format!("{path}.port"), port, 1, 65_535, errors);
    }
    if name == Some("") {
        errors.push(FieldError::new(format!("{path}.portName"), "must not be empty"));
    }
}

/// Whether a text is a name that most objects may have (RFC 1123).
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// Whether a text is one label of such a name.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Checks that `value` is from `min` to `max`.
pub(crate) fn in_range(path: &str, value: i32, min: i32, max: i32, errors: &mut Vec<FieldError>) {
    if !(min..=max).contains(&value) {
        errors.push(FieldError::new(
            path,
            format!("must be from {min} to {max}, not {value}"),
        ));
    }
}

/// Checks that `value`, where given, is at least `min`.
pub(crate) fn at_least(path: &str, value: Option<i32>, min: i32, errors: &mut Vec<FieldError>) {
    if let Some(value) = value
        && value < min
    {
        errors.push(FieldError::new(
            path,
            format!("must be at least {min}, not {value}"),
        ));
    }
}

/// Checks host patterns: exact names and addresses, `*.example.com`, and `*` or an empty text for every host. A port
/// after the host is allowed, because the add-on ignores it.
pub(crate) fn hosts(path: &str, hosts: &[String], errors: &mut Vec<FieldError>) {
    for (i, host) in hosts.iter().enumerate() {
        if let Err(problem) = check_host(host) {
            errors.push(FieldError::new(
                format!("{path}[{i}]"),
                format!("{host:?} matches no host: {problem}"),
            ));
        }
    }
}

fn check_host(pattern: &str) -> Result<(), String> {
    let host = without_port(pattern)?;
    if host.is_empty() || host == "*" {
        return Ok(());
    }
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address
            .parse::<std::net::Ipv6Addr>()
            .map(drop)
            .map_err(|_| "no IPv6 address between the brackets".to_owned());
    }
    if host.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(());
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    let name = name.strip_suffix('.').unwrap_or(name);
    if host.len() > MAX_HOST {
        return Err(format!("longer than {MAX_HOST} characters"));
    }
    name.split('.').try_for_each(check_host_label)
}

/// The host without its port. Several colons are an IPv6 address without brackets, which has none.
fn without_port(pattern: &str) -> Result<&str, String> {
    let colon = match pattern.rfind(']') {
        Some(bracket) => pattern[bracket..].find(':').map(|at| bracket + at),
        None if pattern.matches(':').count() == 1 => pattern.find(':'),
        None => None,
    };
    let Some(colon) = colon else { return Ok(pattern) };
    match pattern[colon + 1..].parse::<u16>() {
        Ok(_) => Ok(&pattern[..colon]),
        Err(_) => Err("neither a scheme nor a path belongs here, and a port is a number".to_owned()),
    }
}

/// Underscores are no part of a host name by the letter, and are met in practice.
fn check_host_label(label: &str) -> Result<(), String> {
    if label.is_empty() {
        return Err("two dots in a row, or one in front".to_owned());
    }
    if label.len() > MAX_LABEL {
        return Err(format!("{label:?} is longer than {MAX_LABEL} characters"));
    }
    if label.contains('*') {
        return Err("a star stands alone, or in front as in *.example.com".to_owned());
    }
    match label
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_'))
    {
        Some(c) if !c.is_ascii() => Err("write it in its ASCII form (xn--)".to_owned()),
        Some(c) => Err(format!("{c:?} is no part of a host name")),
        None => Ok(()),
    }
}

/// Checks that no entry is listed twice, as the API server does for a list of type `set`.
pub(crate) fn distinct(path: &str, entries: &[String], errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (i, entry) in entries.iter().enumerate() {
        if !seen.insert(entry.as_str()) {
            errors.push(FieldError::new(
                format!("{path}[{i}]"),
                format!("{entry:?} is listed twice"),
            ));
        }
    }
}

/// Checks header conditions: names that a header can have, values that can arrive, no name listed twice.
pub(crate) fn header_matches<'a>(
    path: &str,
    headers: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    errors: &mut Vec<FieldError>,
) {
    let mut seen = BTreeSet::new();
    for (i, (name, value)) in headers.enumerate() {
        header_name(&format!("{path}[{i}].name"), name, errors);
        if let Some(value) = value {
            header_value(&format!("{path}[{i}].value"), value, errors);
        }
        if !seen.insert(name) {
            errors.push(FieldError::new(
                format!("{path}[{i}].name"),
                format!("{name:?} is listed twice"),
            ));
        }
    }
}

/// Checks a header's name: a token (RFC 9110, section 5.6.2).
pub(crate) fn header_name(path: &str, name: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(FieldError::new(path, "must not be empty"));
    } else if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    {
        errors.push(FieldError::new(
            path,
            format!("{name:?} cannot be the name of a header"),
        ));
    }
}

/// Checks a header's value: no control characters but the tab (RFC 9110, section 5.5).
pub(crate) fn header_value(path: &str, value: &str, errors: &mut Vec<FieldError>) {
    if value.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
        errors.push(FieldError::new(
            path,
            format!("{value:?} cannot be the value of a header"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(check: impl FnOnce(&mut Vec<FieldError>)) -> Vec<String> {
        let mut errors = Vec::new();
        check(&mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn hosts_that_can_be_asked_for_pass() {
        let longest = format!(
            "{}.{}.{}.{}",
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(61)
        );
        assert_eq!(longest.len(), 253);
        for host in [
            "chatbot.example.com",
            "Chatbot.Example.COM",
            "chatbot.example.com.",
            "chatbot.example.com:8080",
            "localhost",
            "a",
            "my_app.internal",
            "xn--bcher-kva.example",
            "*.example.com",
            "*.com",
            "*.example.com:443",
            "*",
            "*:80",
            "",
            "10.0.0.1",
            "10.0.0.1:8080",
            "[::1]",
            "[::1]:8080",
            "::1",
            &longest,
        ] {
            let hosts = [host.to_owned()];
            assert_eq!(
                errors(|e| super::hosts("hosts", &hosts, e)),
                Vec::<String>::new(),
                "{host}"
            );
        }
    }

    #[test]
    fn hosts_that_cannot_be_asked_for_are_refused() {
        let too_long = format!(
            "{}.{}.{}.{}",
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(62)
        );
        assert_eq!(too_long.len(), 254);
        for (host, part) in [
            ("https://example.com", "neither a scheme nor a path"),
            ("example.com:http", "a port is a number"),
            ("example.com:65536", "a port is a number"),
            ("example.com/api", "'/' is no part of a host name"),
            ("exa mple.com", "' ' is no part of a host name"),
            ("example..com", "two dots in a row"),
            (".example.com", "one in front"),
            ("*.", "two dots in a row, or one in front"),
            ("a.*.com", "a star stands alone"),
            ("foo*.com", "a star stands alone"),
            ("**", "a star stands alone"),
            ("*.*.com", "a star stands alone"),
            ("b\u{fc}cher.example", "ASCII form"),
            ("[::x]", "no IPv6 address"),
            (&format!("{}.com", "a".repeat(64)), "longer than 63"),
            (&too_long, "longer than 253"),
        ] {
            let hosts = ["ok.example.com".to_owned(), host.to_owned()];
            let errors = errors(|e| super::hosts("spec.hosts", &hosts, e));
            assert_eq!(errors.len(), 1, "{host}: {errors:?}");
            assert!(errors[0].starts_with("spec.hosts[1]: "), "{errors:?}");
            assert!(
                errors[0].contains(part),
                "{host}: expected {part:?} in {errors:?}"
            );
        }
    }

    #[test]
    fn service_names_are_dns_labels() {
        for name in ["a", "chatbot", "my-app-2", "0a", &"a".repeat(63)] {
            assert_eq!(
                errors(|e| service_name("s", name, e)),
                Vec::<String>::new(),
                "{name}"
            );
        }
        for name in ["", "Chatbot", "my_app", "-a", "a-", "a.b", &"a".repeat(64)] {
            assert_eq!(errors(|e| service_name("s", name, e)).len(), 1, "{name}");
        }
    }

    #[test]
    fn exactly_one_of_port_and_port_name_is_allowed() {
        let check = |port, name| errors(|e| service_port("t", port, name, "one of them", e));
        assert_eq!(check(Some(1), None), Vec::<String>::new());
        assert_eq!(check(Some(65_535), None), Vec::<String>::new());
        assert_eq!(check(None, Some("http")), Vec::<String>::new());
        assert_eq!(check(None, None), ["t: one of them"]);
        assert_eq!(check(Some(80), Some("http")), ["t: one of them"]);
        assert_eq!(check(Some(0), None), ["t.port: must be from 1 to 65535, not 0"]);
        assert_eq!(
            check(Some(65_536), None),
            ["t.port: must be from 1 to 65535, not 65536"]
        );
        assert_eq!(check(Some(-1), None), ["t.port: must be from 1 to 65535, not -1"]);
        assert_eq!(check(None, Some("")), ["t.portName: must not be empty"]);
    }

    #[test]
    fn header_conditions_can_match_and_are_listed_once() {
        let check = |headers: &[(&'static str, Option<&'static str>)]| {
            errors(|e| header_matches("h", headers.iter().copied(), e))
        };
        assert_eq!(
            check(&[("X-A", None), ("X-B", Some("")), ("X-C", Some("v\tw"))]),
            Vec::<String>::new()
        );
        assert_eq!(check(&[("", None)]), ["h[0].name: must not be empty"]);
        assert_eq!(
            check(&[("X A", None)]),
            [r#"h[0].name: "X A" cannot be the name of a header"#]
        );
        assert_eq!(
            check(&[("X:", None)]),
            [r#"h[0].name: "X:" cannot be the name of a header"#]
        );
        assert_eq!(
            check(&[("X-A", Some("a\nb"))]),
            [r#"h[0].value: "a\nb" cannot be the value of a header"#]
        );
        assert_eq!(
            check(&[("X-A", Some("1")), ("X-A", Some("2"))]),
            [r#"h[1].name: "X-A" is listed twice"#]
        );
    }
}
