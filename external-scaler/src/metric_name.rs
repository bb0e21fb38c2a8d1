//! The metric names of the KEDA HTTP Add-on. They are stored in every HPA and in every ScaledObject's status, so that a
//! scaler with other names would make KEDA drop the first push after a migration.

use std::fmt::Write as _;

/// The name for an HTTPScaledObject, and for the ScaledObject that scales the interceptor itself:
/// `http-<namespace>/<name>`, escaped.
pub(crate) fn of_http_scaled_object(namespace: &str, name: &str) -> String {
    escape(&format!("http-{namespace}/{name}"))
}

/// The name for an InterceptorRoute's concurrency.
pub(crate) fn of_concurrency(name: &str) -> String {
    format!("http_{name}_concurrency")
}

/// The name for an InterceptorRoute's request rate.
pub(crate) fn of_rate(name: &str) -> String {
    format!("http_{name}_rate")
}

/// Every character other than `-`, `.`, digits and ASCII letters becomes `_` and the hexadecimal digits of its UTF-8
/// bytes, at least four.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || matches!(character, '-' | '.') {
            escaped.push(character);
            continue;
        }
        let bytes = character
            .encode_utf8(&mut [0; 4])
            .bytes()
            .fold(0_u32, |all, byte| (all << 8) | u32::from(byte));
        // Writing to a String cannot fail.
        let _infallible = write!(escaped, "_{bytes:04X}");
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_add_ons() {
        let cases = [
            ("default", "app", "http-default_002Fapp"),
            ("team-a", "chat.bot", "http-team-a_002Fchat.bot"),
            ("n", "a_b", "http-n_002Fa_005Fb"),
            ("n", "ü", "http-n_002F_C3BC"),
            ("n", "€", "http-n_002F_E282AC"),
            ("n", "😀", "http-n_002F_F09F9880"),
            ("N", "A b", "http-N_002FA_0020b"),
            ("", "", "http-_002F"),
        ];
        for (namespace, name, expected) in cases {
            assert_eq!(of_http_scaled_object(namespace, name), expected);
        }
        assert_eq!(of_concurrency("my-route"), "http_my-route_concurrency");
        assert_eq!(of_rate("my.route"), "http_my.route_rate");
    }
}
