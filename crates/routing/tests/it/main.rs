//! The route table, seen from outside.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod changes;
mod headers;
mod hosts;
mod paths;
mod properties;
mod reference;
mod support;
