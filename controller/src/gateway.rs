//! Objects of the Gateway API, so that a user's HTTPRoute to the interceptor works as it stands: permission to refer to it,
//! deadlines that do not cut a held request off, and an HTTPRoute where a host has none.
//!
//! ```text
//! watches ─▶ observed ─▶ plan (pure) ─┬▶ conditions ─▶ the controller's status of route objects
//!                          ▲          ├▶ apply, delete ─▶ API server      (the leader)
//! route objects, scope ────┘          └▶ events                           (the leader)
//! ```
//!
//! Works wherever the Gateway API exists and needs no setting. What is written is labelled as Rouse's; nothing else is ever
//! touched. Every object is in a namespace within the scope, or is a ReferenceGrant beside the interceptor that names
//! such a namespace and the interceptor's Service. The reasons are in docs/design/0006-gateway-objects.md.
//!
//! Bounded by the objects that exist: of each only what is read is kept. Every call has a deadline, and the same write is
//! not repeated within five seconds.

mod apply;
mod args;
mod desired;
mod observed;
mod ownership;
mod plan;
mod report;
mod resource;
mod route_object;
mod run;
mod settings;
mod watch;

use std::time::Duration;

pub use self::args::GatewayArgs;
pub(crate) use self::{
    run::start,
    settings::{GatewaySettings, ScopeWatch},
};

/// Who writes, in the API server's books.
const FIELD_MANAGER: &str = "rouse-controller";

/// No call to the API server may take longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
