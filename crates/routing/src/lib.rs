//! The route table: which route a request belongs to. Pure: no I/O, no clock, no tasks.
//!
//! ```text
//! RouteSpec ──apply──▶ RouteIndex ──table──▶ Arc<RouteTable> ──lookup──▶ the route's value
//!                      (mutable,             (immutable, shared,
//!                       one owner)            read by every request)
//! ```
//!
//! The index belongs to whoever watches the objects; the tables it hands out are published by one pointer swap.
//!
//! # Which route is chosen
//!
//! 1. **Host**: the exact host, then wildcards (`*.example.com`: any depth below it, never `example.com` itself) from
//!    the longest to the shortest, then the catch-all. ASCII case, the port and one trailing dot make no difference;
//!    there is no IDNA. Without hosts a rule is a catch-all; a client that sends the literal host `*` or
//!    `*.example.com` reaches a catch-all only.
//! 2. **Path**: the longest prefix that ends at a segment boundary. Without paths a rule has the prefix `/`.
//! 3. **Headers**: all of a rule's headers must match. Among rules with the same host and path, the one with more
//!    headers that ask for a value comes first, then the one with more headers.
//! 4. **Age**: the oldest object, then namespace and name in order, then `InterceptorRoute` before
//!    `HTTPScaledObject`.
//!
//! A miss on the headers falls back to the next shorter prefix, and from the last prefix to the next wider host.
//!
//! # Paths
//!
//! A request's path is percent-decoded and compared with the prefix as it is written in the object. An invalid escape
//! stands for itself. An encoded slash (`%2F`) is not a segment boundary: it equals no character of any prefix, so
//! `/api%2Fadmin` is below `/` and not below `/api`. The KEDA HTTP Add-on takes it for a slash, which lets a request
//! reach one route by a path that its target then reads as another. Slashes at either end of a prefix and at the
//! start of a path are ignored; `//`, `.` and `..` inside are left as they are.
//!
//! # Who owns a host
//!
//! See [`HostOwnership`] and [`Conflict`].

mod conflict;
mod header_set;
mod host;
mod host_table;
mod index;
mod path;
mod route;
mod route_id;
mod rule;
mod table;

pub use self::{
    conflict::{Conflict, ConflictKind, Rejection},
    host::HostPattern,
    index::{HostOwnership, RouteIndex},
    route::MAX_MATCHES,
    route_id::{RouteId, RouteKind},
    rule::{HeaderMatch, RouteSpec, Rule},
    table::RouteTable,
};
