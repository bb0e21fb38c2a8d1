//! The admin port: health, readiness, metrics, and whatever else a part serves there, over HTTP/1.1 and over HTTP/2
//! without TLS on one listener, so that gRPC needs no port of its own.

mod accept;
mod connection;
mod preface;
mod routes;
mod server;

pub use self::{
    routes::{grpc, router},
    server::{AdminServer, BindError},
};

#[cfg(test)]
mod tests;
