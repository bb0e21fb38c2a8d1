//! The edge of `rouse external-scaler`: from its flags to its exit status.

use std::process::ExitCode;

use anyhow::Context;
use rouse_daemon::signal;
use rouse_kubernetes::client;

use super::{ClusterArgs, Source, args::Settings};
use crate::App;

/// Everything here is control path.
const THREADS: usize = 2;

/// Runs until SIGTERM or SIGINT, then drains; a second signal ends the process at once.
///
/// # Errors
/// [`BadUsage`](rouse_daemon::BadUsage) for settings that cannot be meant; else when no cluster is configured or the
/// address cannot be listened on. An API server that is away is none: it is waited for.
pub fn run(args: ClusterArgs) -> anyhow::Result<ExitCode> {
    let settings = args.check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("rouse-scaler")
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(Box::pin(serve(settings)))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    // Before anything starts, so that no signal finds it half started.
    let shutdown = signal::shutdown_requested();
    let client = client::connect().await?;
    let app = App::start(settings.config).await?;
    rouse_daemon::process::register(&app.metrics());
    let interceptors = settings.interceptors.map(|mut service| {
        if service.namespace.is_empty() {
            client.default_namespace().clone_into(&mut service.namespace);
        }
        tracing::info!(
            namespace = service.namespace,
            service = service.name,
            "following the interceptors"
        );
        service
    });
    let source = Source::start(&app, client, &settings.scope, interceptors.as_ref());
    shutdown.await;
    app.drain().await;
    source.stop().await;
    Ok(())
}
