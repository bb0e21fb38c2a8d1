//! What every part that talks to a Kubernetes API server needs: the client, watches, namespace scopes, the lease.
//!
//! ```text
//! API server ─▶ transport ─▶ kube's watcher ─▶ driver ─▶ Sink      one for each kind and, where scoped, namespace
//!                   │                             │
//!                   └──── contact, troubles ──────┴─▶ Health ─▶ metrics, `/readyz`'s text
//! Namespaces (selector) ─▶ which watches run
//! ```
//!
//! [`Watches`] puts them together: a part names the kinds it wants ([`Feed`]) and where they go ([`Sink`]). What was heard
//! stays where it went: an API server that is away stops the news, not the service.

pub mod client;
mod driver;
mod feed;
mod guard;
mod health;
pub mod lease;
mod listed;
mod namespaces;
pub mod peers;
pub mod scope;
mod sink;
#[cfg(test)]
mod testing;
mod transport;
mod trouble;
mod watches;

pub use self::{
    feed::{Feed, Watched},
    guard::{Guarded, Unreadable},
    health::Freshness,
    listed::Listed,
    namespaces::NamespaceSet,
    scope::{Scope, ScopeArgs, ScopeError},
    sink::Sink,
    transport::spaced,
    watches::Watches,
};
