//! `rouse local`: the one-machine platform.
//!
//! Reads the manifests that a cluster would be given, runs each replica as a child process, and drives the real
//! interceptor and the real external scaler over their real protocols. What a cluster does is done here by small parts:
//!
//! | in a cluster | here |
//! |---|---|
//! | API server, kubectl | [`manifest`]: files, checks, the plan |
//! | ReplicaSet controller, node autoscaler | [`deployment`]: as many replicas as wanted, a node that takes its time |
//! | kubelet | [`replica`]: processes, ports, probes, restarts, grace periods, logs |
//! | EndpointSlice controller | [`endpoints`]: slices to the interceptor's index |
//! | KEDA, horizontal pod autoscaler | [`scaling`]: a client of the external scaler |
//!
//! [`run()`] puts them together; [`shim_main`] is the keeper process between `rouse local` and each program.

mod answers;
mod args;
pub mod deployment;
pub mod endpoints;
pub mod engine;
mod listen;
pub mod manifest;
pub mod narrate;
pub mod platform;
pub mod replica;
mod run;
pub mod scaling;
#[cfg(test)]
mod testing;

pub use args::Args;
pub use replica::shim::{ShimArgs, shim_main};
pub use run::run;
