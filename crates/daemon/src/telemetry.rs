//! Logs. They go to standard error: standard output belongs to what a command prints.

use std::{
    env,
    io::{self, IsTerminal},
    panic,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::Context;
use tracing_subscriber::{EnvFilter, fmt};

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people; coloured on a terminal unless `NO_COLOR` is set.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// How many panics there have been. A panic costs one connection or one task, never the process, so it has to be counted.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Panics since the process started.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Starts logging, once per process. `RUST_LOG` filters, by default at `info`; a filter that cannot be read is an error.
pub fn init(format: LogFormat) -> anyhow::Result<()> {
    init_with(format, "info")
}

/// Starts logging as [`init`] does, with a filter of its own where `RUST_LOG` says nothing: for a command that tells people
/// by other means what it does.
pub fn init_with(format: LogFormat, default_filter: &str) -> anyhow::Result<()> {
    let asked = env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let filter = if asked.trim().is_empty() {
        default_filter
    } else {
        &asked
    };
    let filter = EnvFilter::builder()
        .parse(filter)
        .context(EnvFilter::DEFAULT_ENV)?;
    let colour = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let subscriber = fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => subscriber.with_ansi(colour).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow::anyhow!(error))
    .context("start logging")?;
    log_panics();
    Ok(())
}

/// Sends panics to the log, where the collector of logs sees them, in place of Rust's own message.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        let location = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(location, thread = std::thread::current().name(), message, "panic");
    }));
}
