//! The edge of `rouse local`: from its flags to its exit status.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use rouse_api::HTTPScaledObject;
use rouse_daemon::chain::chain;
use rouse_daemon::{EXIT_USAGE, signal};

use crate::args::Args;
use crate::listen::{self, ListenError};
use crate::manifest::{self, Plan};
use crate::narrate::{Human, Narrator};
use crate::platform::{Platform, Settings};
use crate::replica::logs::LogDirectory;
use crate::replica::process::ShimLauncher;

/// The control path's threads: probes, logs, endpoints, scaling. Requests have threads of their own.
const CONTROL_THREADS: usize = 2;

/// Notices shown at the start; a chart of a hundred tenants has hundreds of objects that are skipped.
const NOTICES_SHOWN: usize = 20;

/// How often addresses are chosen anew because somebody else was faster.
const START_ATTEMPTS: u32 = 5;

/// What the user has to mend, one line each.
struct BadUsage(Vec<String>);

/// Runs until SIGTERM or SIGINT. Bad input is told on standard error, one line for each fault, and is exit status 64.
///
/// # Errors
/// What is nobody's input: the log directory, the runtime.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the whole of the caller's arguments"
)]
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let plan = match read_plan(&args) {
        Ok(plan) => plan,
        Err(usage) => return Ok(usage.tell()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("rouse-local")
        .enable_all()
        .build()
        .context("start the runtime")?;
    let result = runtime.block_on(Box::pin(serve(&args, &plan)));
    // A replica's output may still be on its way to its file; nothing else is left.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

impl BadUsage {
    fn tell(self) -> ExitCode {
        let mut output = std::io::stderr().lock();
        for line in self.0 {
            // Nobody is left to be told if standard error is closed.
            drop(writeln!(output, "error: {line}"));
        }
        ExitCode::from(EXIT_USAGE)
    }
}

fn read_plan(args: &Args) -> Result<Plan, BadUsage> {
    let bad = |errors: manifest::ManifestErrors| BadUsage(errors.lines().collect());
    let sources = if args.filename.is_empty() {
        manifest::demo()
    } else {
        manifest::load(&args.filename).map_err(bad)?
    };
    let program =
        std::env::current_exe().map_or_else(|_| "rouse".to_owned(), |path| path.display().to_string());
    let demo_app = [program, "demo-app".to_owned()];
    manifest::resolve(manifest::read(&sources).map_err(bad)?, &args.run, &demo_app).map_err(bad)
}

async fn serve(args: &Args, plan: &Plan) -> anyhow::Result<ExitCode> {
    // Before anything starts, so that no signal finds it half started.
    let shutdown = signal::shutdown_requested();
    let log_root = args.log_dir.clone().unwrap_or_else(LogDirectory::default_root);
    let logs = match LogDirectory::open(log_root.clone()) {
        Ok(logs) => logs,
        Err(error) if args.log_dir.is_some() => {
            return Ok(BadUsage(vec![format!("--log-dir {}: {error}", log_root.display())]).tell());
        }
        Err(error) => {
            return Err(error).with_context(|| format!("create the log directory {}", log_root.display()));
        }
    };
    let narrator = Narrator::to_terminal();
    let platform = match Box::pin(start(args, plan, &logs, &narrator)).await? {
        Ok(platform) => platform,
        Err(usage) => return Ok(usage.tell()),
    };
    for line in plan.notices.iter().take(NOTICES_SHOWN) {
        narrator.say(format_args!("note: {line}"));
    }
    if plan.notices.len() > NOTICES_SHOWN {
        narrator.say(format_args!(
            "note: and {} more",
            plan.notices.len() - NOTICES_SHOWN
        ));
    }
    for line in &plan.warnings {
        narrator.say(format_args!("warning: {line}"));
    }
    greet(&narrator, args, plan, &platform, &log_root);

    shutdown.await;
    narrator.say("draining: requests in progress may finish; once more ends everything at once");
    platform.drain().await;
    narrator.say("all replicas are gone");
    narrator.flush();
    Ok(ExitCode::SUCCESS)
}

/// Starts the platform on the addresses that were asked for, else on free ones. A port that was free when it was chosen
/// may be taken when it is needed; then another one is chosen.
async fn start(
    args: &Args,
    plan: &Plan,
    logs: &LogDirectory,
    narrator: &Narrator,
) -> anyhow::Result<Result<Platform, BadUsage>> {
    let launcher = ShimLauncher::of_this_program().context("find this program's own file")?;
    let mut attempts = 1;
    loop {
        let chosen = listen::choose([
            ("--listen", args.listen, 8080),
            ("--admin", args.admin, 9090),
            ("--scaler", args.scaler, 9095),
        ]);
        let [proxy, admin, scaler] = match chosen {
            Ok(chosen) => chosen,
            Err(error @ ListenError::NoneFree { .. }) => return Err(error.into()),
            Err(error) => return Ok(Err(BadUsage(vec![chain(&error).to_string()]))),
        };
        let interceptor = match args.interceptor_args(proxy, admin) {
            Ok(interceptor) => interceptor,
            Err(error) => return Ok(Err(BadUsage(vec![clap_line(&error)]))),
        };
        let interceptor = match rouse_interceptor::Config::try_from(interceptor) {
            Ok(interceptor) => interceptor,
            Err(error) => return Ok(Err(BadUsage(vec![chain(&error).to_string()]))),
        };
        let settings = Settings {
            interceptor,
            scaler,
            polling_interval: args.polling_interval,
            node_delay: args.node_delay,
            launcher: launcher.clone(),
            logs: logs.clone(),
            shows_output: args.logs,
        };
        match Box::pin(Platform::start(plan, settings, narrator)).await {
            Ok(platform) => return Ok(Ok(platform)),
            Err(error) if is_address_in_use(&error) && attempts < START_ATTEMPTS => attempts += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_address_in_use(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .take(16)
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

/// clap's own words on one line, without the usage that follows them.
fn clap_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let words = text.split("\n\n").next().unwrap_or_default().split_whitespace();
    words
        .collect::<Vec<_>>()
        .join(" ")
        .trim_start_matches("error: ")
        .to_owned()
}

fn greet(narrator: &Narrator, args: &Args, plan: &Plan, platform: &Platform, logs: &std::path::Path) {
    narrator.say(format_args!("requests  http://{}", platform.proxy_addr()));
    narrator.say(format_args!(
        "admin     http://{}  (/queue, /metrics, /readyz)",
        platform.admin_addr()
    ));
    narrator.say(format_args!("scaler    {}  (gRPC)", platform.scaler_addr()));
    narrator.say(format_args!("polling   every {}", Human(args.polling_interval)));
    narrator.say(format_args!("logs      {}", logs.display()));
    for route in &plan.routes {
        narrator.say(format_args!("route     {}", describe(route)));
    }
    if args.filename.is_empty()
        && let Some(route) = plan.routes.first()
    {
        let command = curl(route, platform.proxy_addr());
        narrator.say("\nTry this in another terminal, twice: the first request waits for the application to start, the \
             second does not.\n");
        narrator.say(format_args!("  {command}\n  {command}\n"));
    }
}

fn describe(route: &HTTPScaledObject) -> String {
    let hosts = if route.spec.hosts.is_empty() {
        "*".to_owned()
    } else {
        route.spec.hosts.join(", ")
    };
    let paths = route.spec.path_prefixes.join(", ");
    let target = &route.spec.scale_target_ref;
    let port = target
        .service_port()
        .map(|port| port.to_string())
        .unwrap_or_default();
    format!(
        "{hosts}{}{paths} → {}/{}:{port}, {} to {} replicas, idle after {}",
        if paths.is_empty() { "" } else { " " },
        route.metadata.namespace.as_deref().unwrap_or_default(),
        target.service,
        route.spec.min_replicas(),
        route.spec.max_replicas(),
        Human(route.spec.cooldown_period()),
    )
}

fn curl(route: &HTTPScaledObject, address: SocketAddr) -> String {
    let host = route.spec.hosts.first().map_or("example.com", String::as_str);
    let host = if host == "*" {
        "example.com".to_owned()
    } else {
        host.replace('*', "www")
    };
    let authority = if address.ip().is_loopback() || address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    };
    format!("time curl -H \"Host: {host}\" http://{authority}/")
}
