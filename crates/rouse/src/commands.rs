//! From the command line to the command, and from its result to the exit status.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use rouse_daemon::{process, telemetry};

use crate::{
    cli::{self, Cli, Command},
    report,
};

/// `rouse local` tells on standard output what happens; its log is for what goes wrong, failed requests among it.
pub(crate) const LOCAL_LOG: &str = "warn,rouse_interceptor::proxy=info,rouse_interceptor::access=info";

/// In a cluster. kube writes a line for each attempt while the API server is away; the watches write one for all.
pub(crate) const CLUSTER_LOG: &str =
    "info,kube_client::client=error,kube_client::client::builder=off,kube_runtime=off";

/// Runs the command that `args` names, the program's own name first.
pub(crate) fn run(args: &[OsString]) -> ExitCode {
    match cli::parse_shim(args) {
        Some(Ok(shim)) => return rouse_local::shim_main(shim),
        Some(Err(error)) => return report::usage(&error),
        None => {}
    }
    let cli = match cli::parse(args) {
        Ok(cli) => cli,
        Err(error) => return report::usage(&error),
    };
    dispatch(cli).unwrap_or_else(|error| report::failure(&error))
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let filter = match cli.command {
        Command::Local(_) => LOCAL_LOG,
        Command::Interceptor(_) | Command::ExternalScaler(_) | Command::Controller(_) => CLUSTER_LOG,
        Command::DemoApp(_) | Command::Crds => "info",
    };
    if let Err(error) = telemetry::init_with(cli.log_format, filter) {
        return Ok(report::bad_setting(&error));
    }
    // Replicas inherit it.
    if let Err(error) = process::raise_file_limit() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    match cli.command {
        Command::Interceptor(args) => rouse_interceptor::kubernetes::run(*args),
        Command::ExternalScaler(args) => rouse_external_scaler::kubernetes::run(*args),
        Command::Controller(args) => rouse_controller::run(*args),
        Command::Local(args) => rouse_local::run(*args),
        Command::DemoApp(args) => rouse_demo_app::run(args),
        Command::Crds => print(&rouse_api::crds_yaml()),
    }
}

/// Prints what a command was asked for. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        result => result.context("write to standard output")?,
    }
    Ok(ExitCode::SUCCESS)
}
