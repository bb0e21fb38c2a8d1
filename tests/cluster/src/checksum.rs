//! SHA-256 in hexadecimal: names what is cached, and what is in an image.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

/// The whole checksum.
pub(crate) fn of(content: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest(&SHA256, content).as_ref() {
        // Writing to a string does not fail.
        let written: Result<(), std::fmt::Error> = write!(text, "{byte:02x}");
        debug_assert!(written.is_ok());
    }
    text
}

/// Enough of it to tell things of one kind apart.
pub(crate) fn short(content: &[u8]) -> String {
    let mut text = of(content);
    text.truncate(12);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_sha_256() {
        assert_eq!(
            of(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(short(b"abc"), "ba7816bf8f01");
    }
}
