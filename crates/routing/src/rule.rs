//! What a route asks for, as its object says it. Made by the interceptor's index from custom resources.

use http::HeaderName;
use jiff::Timestamp;

use crate::RouteId;

/// One object's routing: every request that one of `rules` matches gets `value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSpec<T> {
    /// The object.
    pub id: RouteId,
    /// When the object was created: older objects win.
    pub created: Timestamp,
    /// What it claims. A route without rules matches nothing.
    pub rules: Vec<Rule>,
    /// What a lookup returns. Cheap to clone, as a rule an `Arc`: each match of the route keeps one.
    pub value: T,
}

/// Requests for any of `hosts`, below any of `paths`, with all of `headers`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Host names, `*.example.com` or `*`, see [`HostPattern::parse`](crate::HostPattern::parse). Empty: every host.
    pub hosts: Vec<String>,
    /// Decoded path prefixes that end at a segment boundary. Empty: every path.
    pub paths: Vec<String>,
    /// Headers that must all be there.
    pub headers: Vec<HeaderMatch>,
}

/// A header that a request must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMatch {
    /// The header's name, which has no case.
    pub name: HeaderName,
    /// The exact value of at least one header of that name; `Some("")` is an empty value, `None` any value at all.
    pub value: Option<String>,
}
