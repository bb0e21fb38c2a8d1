//! An API server for tests: the kinds that Rouse uses, in memory, over HTTP, with faults on demand.
//!
//! What a client library asks of an API server behaves as on a real one: lists in pages, watches from a resource
//! version (bookmarks, streaming lists, `410 Gone`), optimistic concurrency, merge patches, server-side apply with
//! field ownership, `/status` and `/scale`, finalizers, garbage collection by owner, namespaces, discovery, and
//! metadata-only answers. What it does not do: validate objects against a schema, default their fields, authorize, or
//! run controllers; Deployments make no pods here.
//!
//! ```no_run
//! # use k8s_openapi::api::core::v1::ConfigMap;
//! # use rouse_fake_api_server::{FakeApiServer, Fault};
//! # use serde_json::json;
//! # async fn test() {
//! let server = FakeApiServer::start().await;
//! server.apply_json(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "team", "name": "page"}}));
//! server.inject(Fault::status(500).on("configmaps").times(2));
//! let client = server.client(); // over TCP; server.memory_client() goes without sockets, for paused time
//! // … run what is to be tested with the client …
//! let page = server.wait_for::<ConfigMap>("team", "page", |page| page.is_some_and(|page| page.data.is_some())).await;
//! assert_eq!(server.changes().len(), 1);
//! # }
//! ```
//!
//! Everything ends when the last clone of [`FakeApiServer`] is dropped.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "part of tests: what goes wrong has to fail them"
)]

mod apply;
mod convenience;
mod delete;
mod discovery;
mod fault;
mod fields;
mod handler;
mod kinds;
mod list;
mod merge;
mod patch;
mod query;
mod record;
mod scale;
mod selector;
mod server;
mod status;
mod store;
mod watch;

pub use self::{
    fault::Fault,
    kinds::{Kind, all_kinds},
    record::{RequestRecord, Verb},
    server::FakeApiServer,
};

#[cfg(test)]
mod tests;
