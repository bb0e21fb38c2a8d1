//! `rouse controller`: from the options to the exit status.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use rouse_daemon::{EXIT_USAGE, process, signal};
use rouse_kubernetes::client;
use tokio::runtime;

use crate::{App, Args, Config};

/// Runs the controller until SIGTERM or SIGINT, in the cluster that the environment names.
///
/// # Errors
///
/// When there is no cluster to talk to, or the port is taken.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("controller")
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let shutdown = signal::shutdown_requested();
        let client = client::connect().await?;
        let config = match Config::new(args, client.default_namespace()) {
            Ok(config) => config,
            Err(error) => {
                // Nobody is left to be told if standard error is closed.
                drop(writeln!(io::stderr(), "error: {error}"));
                return Ok(ExitCode::from(EXIT_USAGE));
            }
        };
        let app = App::start(config, client).await?;
        process::register(&app.metrics());
        shutdown.await;
        app.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}
