//! What the user typed. Each command's own flags are declared by the crate that carries it out.

use std::ffi::OsString;

use clap::{Parser, Subcommand};
use rouse_daemon::telemetry::LogFormat;

/// Wakes HTTP services from zero.
#[derive(Debug, Parser)]
#[command(
    name = "rouse",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// The form of log lines, which go to standard error; RUST_LOG says which are written.
    #[arg(
        long,
        global = true,
        display_order = 1000,
        value_enum,
        env = "ROUSE_LOG_FORMAT",
        value_name = "FORMAT",
        default_value_t
    )]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the data plane in a Kubernetes cluster: take requests, hold them until their target is there, forward them.
    Interceptor(Box<rouse_interceptor::kubernetes::ClusterArgs>),
    /// Run the service in a Kubernetes cluster that tells KEDA which applications have requests.
    ExternalScaler(Box<rouse_external_scaler::kubernetes::ClusterArgs>),
    /// Run the controller in a Kubernetes cluster: make of routes what KEDA and the gateway need, and say how they are.
    Controller(Box<rouse_controller::Args>),
    /// Run manifests on this machine: Deployments as processes, woken from zero by requests. Without manifests, a demo.
    Local(Box<rouse_local::Args>),
    /// Serve the demo application: podinfo's endpoints, and more for tests.
    DemoApp(rouse_demo_app::Args),
    /// Print the custom resource definitions, for `kubectl apply -f -`.
    Crds,
}

/// Reads the command line. The error is also how `--help` and `--version` come back.
pub(crate) fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(args)
}

/// The name of the one command that people do not type: `rouse local` starts one with every replica and every `exec`
/// probe, so it is looked for before anything is built for the others, and is not listed among them.
const LOCAL_SHIM: &str = "local-shim";

/// Keeps one process of `rouse local`, and ends it with whoever started this.
#[derive(Debug, Parser)]
#[command(name = LOCAL_SHIM)]
struct Shim {
    #[command(flatten)]
    args: rouse_local::ShimArgs,
}

/// Reads the shim's command line, if it is one.
pub(crate) fn parse_shim(args: &[OsString]) -> Option<Result<rouse_local::ShimArgs, clap::Error>> {
    let words = args.get(1..)?;
    (words.first()? == LOCAL_SHIM).then(|| Shim::try_parse_from(words).map(|shim| shim.args))
}
