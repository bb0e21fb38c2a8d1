//! The interceptor: Rouse's data plane. It accepts requests, matches each to a route, holds it while its target has no
//! ready endpoint, and forwards it the moment one can take it.

pub mod acceptor;
mod app;
pub mod config;
pub mod downstream;
mod endpoint;
mod gate;
pub mod index;
pub mod kubernetes;
pub mod load;
pub mod metrics;
pub mod plan;
mod pool;
mod proxy;
mod publish;
mod random;
mod route;
mod state;
mod target;
pub mod worker;

pub use app::{App, StartError};
pub use config::{Args, Config, ConfigError};
pub use index::IndexHandle;
