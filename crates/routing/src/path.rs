//! Path prefixes and request paths, brought to forms that compare byte by byte.

use std::sync::Arc;

/// Stands for an encoded slash in a decoded path. No prefix contains it, because a prefix is UTF-8.
const ENCODED_SLASH: u8 = 0xff;

/// A prefix as the tables store it: `api/v1/`, and nothing for `/`. The slash at its end makes "is a prefix of" respect
/// segment boundaries.
pub(crate) fn prefix_key(path: &str) -> Arc<str> {
    let trimmed = path.trim_matches('/');
    if trimmed.is_empty() {
        "".into()
    } else {
        format!("{trimmed}/").into()
    }
}

/// A key as an object would write it: `/api/v1`.
pub(crate) fn prefix_of_key(key: &str) -> String {
    format!("/{}", key.trim_end_matches('/'))
}

/// A request's path without its leading slashes, still encoded.
///
/// Slashes at its end need no trimming: a key has one slash, at its end, so it is a prefix of `api//` exactly if it is
/// one of `api/`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestPath<'a>(&'a [u8]);

impl<'a> RequestPath<'a> {
    pub(crate) fn new(path: &'a str) -> Self {
        Self(path.trim_start_matches('/').as_bytes())
    }

    /// The first bytes, at most `limit`, if no escape is among them: they are then the decoded path's first bytes too.
    pub(crate) fn plain_head(self, limit: usize) -> Option<&'a [u8]> {
        let head = &self.0[..self.0.len().min(limit)];
        if head.contains(&b'%') { None } else { Some(head) }
    }

    /// Decodes until `head` is full or the path ends, and returns the decoded bytes. Reads at most three bytes for each
    /// one it writes.
    pub(crate) fn decode_head(self, head: &mut [u8]) -> &[u8] {
        let mut rest = self.0;
        let mut written = 0;
        for slot in head.iter_mut() {
            *slot = match rest {
                [] => break,
                [b'%', high, low, tail @ ..] if let Some(byte) = from_hex(*high, *low) => {
                    rest = tail;
                    if byte == b'/' { ENCODED_SLASH } else { byte }
                }
                [byte, tail @ ..] => {
                    rest = tail;
                    *byte
                }
            };
            written += 1;
        }
        &head[..written]
    }
}

fn from_hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::{RequestPath, prefix_key, prefix_of_key};

    fn decode(path: &str) -> Vec<u8> {
        RequestPath::new(path).decode_head(&mut [0; 64]).to_vec()
    }

    #[test]
    fn prefixes_lose_the_slashes_at_both_ends_only() {
        for (path, key) in [
            ("", ""),
            ("/", ""),
            ("//", ""),
            ("/api", "api/"),
            ("api/", "api/"),
            ("//a//b/../%20//", "a//b/../%20/"),
        ] {
            assert_eq!(&*prefix_key(path), key, "{path:?}");
        }
        assert_eq!(prefix_of_key("api/v1/"), "/api/v1");
        assert_eq!(prefix_of_key(""), "/");
    }

    #[test]
    fn valid_escapes_are_decoded_once_and_invalid_ones_stand() {
        assert_eq!(decode("/caf%C3%A9"), "caf\u{e9}".as_bytes());
        assert_eq!(decode("/a%20b%2fc%2F"), b"a b\xffc\xff");
        assert_eq!(decode("/%2520"), b"%20");
        assert_eq!(decode("/%zz%4%"), b"%zz%4%");
        assert_eq!(decode("/%+1%4g"), b"%+1%4g");
        assert_eq!(decode("///%00"), b"\0");
    }

    #[test]
    fn decoding_stops_when_the_buffer_is_full() {
        let mut head = [0; 3];
        assert_eq!(RequestPath::new("/%61%62%63%64").decode_head(&mut head), b"abc");
        assert_eq!(RequestPath::new("/ab%63").plain_head(2), Some(&b"ab"[..]));
        assert_eq!(RequestPath::new("/ab%63").plain_head(3), None);
    }
}
