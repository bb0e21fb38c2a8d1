//! The edge of `rouse interceptor`: from its flags to its exit status.

use std::process::ExitCode;

use anyhow::Context;
use rouse_daemon::signal;
use rouse_kubernetes::{Scope, client};

use super::{ClusterArgs, Source};
use crate::{App, Config};

/// The control path's threads: watches, tables, the load stream, the admin server. Requests have threads of their own.
const CONTROL_THREADS: usize = 2;

/// Runs until SIGTERM or SIGINT, then drains; a second signal ends the process at once.
///
/// # Errors
/// [`BadUsage`](rouse_daemon::BadUsage) for settings that cannot be meant; else when no cluster is configured or an address
/// cannot be listened on. An API server that is away is none: it is waited for.
pub fn run(args: ClusterArgs) -> anyhow::Result<ExitCode> {
    let (config, scope) = args.check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("rouse-control")
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(Box::pin(serve(config, scope)))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: Config, scope: Scope) -> anyhow::Result<()> {
    // Before anything starts, so that no signal finds it half started.
    let shutdown = signal::shutdown_requested();
    let client = client::connect().await?;
    let app = Box::pin(App::start(config))
        .await
        .context("start the interceptor")?;
    let source = Source::start(&app, client, &scope);
    shutdown.await;
    // The watches go last: held requests still wait for endpoints.
    Box::pin(app.drain()).await;
    source.stop().await;
    Ok(())
}
