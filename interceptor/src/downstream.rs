//! The client side of the proxy: everything between an accepted socket and the service that answers its requests.
//!
//! ```text
//! acceptor ─▶ worker ─▶ ConnectionTask ── preface ──▶ hyper HTTP/1 or HTTP/2 ─▶ ObservedService ─▶ the proxy's service
//!                           │ ClientStream (socket)                                  │ ClientConnection (request extension)
//!                           └──────── Connections: registry, coarse clock, sweeper, hang-up watcher (one per worker)
//! ```
//!
//! A connection lives on one worker from its first byte to its last; nothing here crosses threads except the commands
//! "drain" and "abort". The number of connections is bounded by [`DownstreamSettings::max_connections`], what one may
//! buffer by the header and window settings, and how long one may sit without a request by the sweeper. While a request
//! is held or in flight none of these timers runs.

mod connection;
mod connections;
mod hangup;
mod observe;
mod readable;
mod serve;
mod settings;
mod stream;
#[cfg(test)]
pub(crate) mod testing;

pub use self::{
    connection::{ClientConnection, ClientProtocol},
    hangup::Hangup,
    observe::ObservedBody,
    serve::ClientService,
    settings::DownstreamSettings,
    stream::ClientStream,
};
pub(crate) use self::{
    connections::{Command, Connections, OpenConnections, OpenSlot},
    readable::readable,
    serve::{ConnectionTask, Http},
};

/// Any error, as hyper takes it from services and bodies.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
