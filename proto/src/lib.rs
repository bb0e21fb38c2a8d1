//! The wire contracts of Rouse, as Rust types.
//!
//! * [`externalscaler`]: KEDA's own contract, served by the external scaler.
//! * [`load`]: what an interceptor pushes to every external scaler.
//!
//! `src/generated/` is written by `cargo xtask gen` from the `.proto` files beside this crate and committed, so that a
//! build needs no `protoc`. `cargo xtask test` fails when it is stale.

/// KEDA's external scaler contract (`externalscaler.proto`).
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    reason = "generated"
)]
pub mod externalscaler {
    include!("generated/externalscaler.rs");
}

/// The load stream from interceptors to external scalers (`load.proto`).
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    reason = "generated"
)]
pub mod load {
    include!("generated/rouse.load.v1.rs");
}
