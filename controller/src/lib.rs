//! Reconciles HTTPScaledObjects and InterceptorRoutes into what the scaling engine and the gateway need.
//!
//! ```text
//! watches ─▶ observed ──concerns──▶ queue ─▶ reconcile ─▶ ScaledObject, status, events
//!                                     ▲         │
//!            gateway, wake ───────────┘         └─ conditions: pure functions of what is observed
//! ```
//!
//! Every replica watches, so that the next leader knows everything already; only the leader writes.

mod app;
mod condition;
mod config;
mod definition;
mod engine;
mod event;
mod feeds;
mod gateway;
mod left_behind;
mod lookup;
mod metrics;
mod observed;
mod parts;
mod queue;
mod reconcile;
mod resource;
mod run;
mod scaled_object;
mod status;
mod wake;
mod writer;

pub use self::{
    app::{App, StartError},
    config::{Args, Config, ConfigError},
    gateway::GatewayArgs,
    run::run,
    wake::{WakeArgs, WakeConfig},
};
