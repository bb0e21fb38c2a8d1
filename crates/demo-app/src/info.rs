//! What the application says about itself, in podinfo's fields.

use std::{env, fs};

use serde::Serialize;

use crate::Args;

/// podinfo's `RuntimeResponse`.
#[derive(Debug, Serialize)]
pub(crate) struct Info {
    pub(crate) hostname: String,
    pub(crate) version: &'static str,
    pub(crate) revision: &'static str,
    pub(crate) color: String,
    pub(crate) message: String,
    pub(crate) goos: &'static str,
    pub(crate) goarch: &'static str,
    pub(crate) runtime: &'static str,
    pub(crate) num_cpu: String,
}

impl Info {
    pub(crate) fn new(args: &Args) -> Self {
        Self {
            hostname: hostname(),
            version: env!("CARGO_PKG_VERSION"),
            revision: "unknown",
            color: args.color.clone(),
            message: args.message.clone(),
            goos: env::consts::OS,
            goarch: env::consts::ARCH,
            runtime: concat!("rust", env!("CARGO_PKG_RUST_VERSION")),
            num_cpu: std::thread::available_parallelism()
                .map_or(1, usize::from)
                .to_string(),
        }
    }
}

/// The replica's name where the platform sets it, else the machine's.
fn hostname() -> String {
    env::var("HOSTNAME")
        .or_else(|_| fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim_end().to_owned()))
        .unwrap_or_else(|_| "unknown".to_owned())
}
