//! The interceptor: Rouse's data plane. It accepts requests, matches each to a route, holds it while its target has no
//! ready endpoint, and forwards it the moment one can take it.

pub mod acceptor;
pub mod config;
pub mod downstream;
pub mod index;
pub mod load;
pub mod metrics;
pub mod plan;
mod random;
pub mod worker;

pub use config::{Args, Config, ConfigError};
pub use index::IndexHandle;
