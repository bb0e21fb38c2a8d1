//! `rouse-cluster`: provides, starts, tests and ends a real Kubernetes. `cargo xtask cluster` calls it.

use std::{
    env,
    ffi::OsString,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use rouse_cluster_tests::{
    addons::Addons,
    case::{self, Need, Outcome, Selection},
    cases,
    cluster::{Cluster, OwnCluster, take_down},
    fleet::Fleet,
    images::{Images, Program},
    parts::Parts,
    places::Places,
    report::Report,
    room,
    say::say,
};
use tokio::runtime::Runtime;

const NO_CLUSTER: &str = "no cluster is up; `cargo xtask cluster up` starts one";

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask cluster",
    about = "A real Kubernetes on this machine, and the tests that run on it"
)]
struct Cli {
    /// The name of the cluster: several, of different names, may be up on one machine.
    #[arg(long, global = true, env = "ROUSE_CLUSTER", default_value = "rouse")]
    name: String,
    #[command(flatten)]
    start: Start,
    #[command(subcommand)]
    task: Task,
}

/// How a cluster is started.
#[derive(Debug, clap::Args)]
struct Start {
    /// Start the cluster without Rouse.
    #[arg(long, global = true)]
    without_rouse: bool,
    /// The cargo profile that the image of Rouse is built with.
    #[arg(long, global = true, default_value = "release")]
    image_profile: String,
    /// Put this program, a static binary, into the image in place of building one.
    #[arg(long, global = true, env = "ROUSE_PROGRAM", value_name = "FILE")]
    program: Option<PathBuf>,
}

impl Start {
    /// The same as options of this program.
    fn options(&self) -> Vec<OsString> {
        let mut options = vec!["--image-profile".into(), (&self.image_profile).into()];
        if self.without_rouse {
            options.push("--without-rouse".into());
        }
        if let Some(program) = &self.program {
            options.extend(["--program".into(), program.into()]);
        }
        options
    }

    fn program(&self) -> Program {
        match &self.program {
            Some(file) => Program::File(file.clone()),
            None => Program::Build(self.image_profile.clone()),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install, download and build every part that is not in the cache, and the images.
    Build,
    /// Start the cluster anew; it stays up until `down`.
    Up,
    /// Run the cases: on the cluster that is up, or on one that is started and ended for it, or on the one of KUBECONFIG.
    Test {
        /// Only the few that CI runs.
        #[arg(long)]
        smoke: bool,
        /// Only those whose names contain this; may be given several times.
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
        /// Only the one of this name.
        #[arg(long, value_name = "NAME", hide = true)]
        exactly: Option<String>,
        /// Run them on as many clusters at once, each of about 2 GiB, which are started and ended for it.
        #[arg(long, value_name = "COUNT", default_value_t = 1)]
        clusters: usize,
        /// List the cases and run none.
        #[arg(long)]
        list: bool,
        /// Write no evidence.
        #[arg(long)]
        no_evidence: bool,
    },
    /// Install Envoy Gateway, Karpenter and Prometheus in the cluster that is up, and be its cloud: give it nodes and load
    /// balancer addresses until interrupted.
    Cloud,
    /// End the cluster and remove every trace of it.
    Down,
    /// Run a command inside of the cluster's network, with KUBECONFIG set and kubectl and helm on PATH.
    Exec {
        /// The command and its arguments; without one, a shell.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// The first process of a room.
    #[command(name = room::INIT_COMMAND, hide = true)]
    RoomInit { directory: PathBuf },
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if let Task::RoomInit { directory } = &cli.task {
        room::init(directory)?;
        return Ok(ExitCode::SUCCESS);
    }
    let places = Places::find(&cli.name)?;
    let start = cli.start;
    match cli.task {
        Task::RoomInit { .. } | Task::Build => {
            runtime()?.block_on(async {
                let parts = Parts::provide(&places).await?;
                Images::provide(&places, &parts, &start.program()).await
            })?;
        }
        Task::Up => {
            up(&places, &start)?;
            say("`cargo xtask cluster exec kubectl get pods -A` looks into it");
        }
        Task::Test { list: true, .. } => {
            for case in cases::ALL {
                say(format_args!(
                    "{}{}",
                    case.name,
                    if case.smoke { " (smoke)" } else { "" }
                ));
            }
        }
        Task::Test {
            smoke,
            only,
            exactly,
            clusters,
            no_evidence,
            ..
        } => {
            let selection = Selection {
                smoke,
                only,
                exactly,
                evidence: (!no_evidence).then(|| places.workspace().join("docs/evidence")),
                failures: places.cache().join("failures"),
            };
            if clusters > 1 && env::var_os("KUBECONFIG").is_none() {
                return test_on_several(&places, &start, &selection, clusters);
            }
            return test(&places, &start, &selection);
        }
        Task::Down => runtime()?.block_on(take_down(&places))?,
        Task::Cloud => cloud(&places)?,
        Task::Exec { command } => return exec(&places, &command),
    }
    Ok(ExitCode::SUCCESS)
}

/// Threads started after this thread has entered a network are in it, those from before are not: hence one for each part.
fn runtime() -> anyhow::Result<Runtime> {
    Runtime::new().context("start the runtime")
}

fn up(places: &Places, start: &Start) -> anyhow::Result<(Runtime, Cluster)> {
    let own = runtime()?.block_on(OwnCluster::prepare(places.clone(), &start.program()))?;
    own.control().enter_network()?;
    let runtime = runtime()?;
    let cluster = runtime.block_on(own.bring_up(!start.without_rouse))?;
    Ok((runtime, cluster))
}

fn test(places: &Places, start: &Start, selection: &Selection) -> anyhow::Result<ExitCode> {
    // Before the cluster's network is entered, from which no module can be fetched.
    if env::var_os("KUBECONFIG").is_none() && selection.needs(cases::ALL, Need::AddOn) {
        runtime()?.block_on(Parts::provide_add_on(places))?;
    }
    let (runtime, cluster, is_ours) = if let Some(given) = env::var_os("KUBECONFIG") {
        let runtime = runtime()?;
        let cluster = runtime.block_on(Cluster::given(places.clone(), given.into()))?;
        (runtime, cluster, false)
    } else if let Some(own) = attach(places)? {
        let runtime = runtime()?;
        let cluster = runtime.block_on(Cluster::own(own))?;
        (runtime, cluster, false)
    } else {
        let (runtime, cluster) = up(places, start)?;
        (runtime, cluster, true)
    };
    let outcome = runtime.block_on(case::run(&cluster, cases::ALL, selection));
    if is_ours {
        runtime.block_on(take_down(places))?;
    }
    let report = outcome?;
    note_in_table(&report, selection, "cargo xtask cluster test")?;
    Ok(exit_code(&report))
}

fn test_on_several(
    places: &Places,
    start: &Start,
    selection: &Selection,
    size: usize,
) -> anyhow::Result<ExitCode> {
    let taken = cases::ALL.iter().filter(|case| selection.takes(case));
    let fleet = Fleet {
        name: places.name().to_owned(),
        size,
        options: start.options(),
        evidence: selection.evidence.is_some(),
    };
    let report = runtime()?.block_on(async {
        // Once for all: each would wait for the others to build the same.
        let parts = Parts::provide(places).await?;
        Images::provide(places, &parts, &start.program()).await?;
        fleet.run(taken.copied().collect()).await
    })?;
    let how = format!("cargo xtask cluster test --clusters {size}");
    note_in_table(&report, selection, &how)?;
    for failure in report.failures() {
        say(failure);
    }
    let Outcome { passed, failed } = report.outcome();
    say(format_args!("{passed} passed, {failed} failed"));
    Ok(exit_code(&report))
}

/// Writes the table of the cases after a run of all, and amends it after one of a few.
fn note_in_table(report: &Report, selection: &Selection, how: &str) -> anyhow::Result<()> {
    match &selection.evidence {
        Some(directory) if selection.is_whole() => report.write(directory, cases::ALL, how),
        Some(directory) if !selection.only.is_empty() => report.amend(directory, cases::ALL),
        _ => Ok(()),
    }
}

fn exit_code(report: &Report) -> ExitCode {
    if report.outcome().failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The cluster that is up, its network entered.
fn attach(places: &Places) -> anyhow::Result<Option<OwnCluster>> {
    let own = runtime()?.block_on(OwnCluster::attach(places.clone()))?;
    if let Some(own) = &own {
        own.control().enter_network()?;
    }
    Ok(own)
}

fn cloud(places: &Places) -> anyhow::Result<()> {
    let own = attach(places)?.context(NO_CLUSTER)?;
    runtime()?.block_on(async {
        let cluster = Cluster::own(own).await?;
        let mut addons = Addons::default();
        let needs = [Need::Gateway, Need::Karpenter, Need::Prometheus];
        addons.meet(&cluster, &needs).await?;
        say("nodes and addresses come until this is interrupted");
        tokio::signal::ctrl_c().await.context("wait to be interrupted")?;
        addons.end().await;
        Ok(())
    })
}

fn exec(places: &Places, command: &[String]) -> anyhow::Result<ExitCode> {
    let own = attach(places)?.context(NO_CLUSTER)?;
    let shell = env::var("SHELL").unwrap_or_else(|_| "sh".to_owned());
    let (program, arguments) = command
        .split_first()
        .map_or((&shell, command), |(program, rest)| (program, rest));
    let mut path: Vec<PathBuf> = Vec::new();
    for part in ["kubectl", "helm", "etcd"] {
        path.extend(own.parts().program(part)?.parent().map(Into::into));
    }
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let path = env::join_paths(path).context("set PATH")?;
    // Looked for on the new PATH, not on this process's.
    let status = Command::new("env")
        .arg(program)
        .args(arguments)
        .env("PATH", path)
        .env("KUBECONFIG", own.kubeconfig())
        .status()
        .with_context(|| format!("run {program}"))?;
    Ok(ExitCode::from(
        u8::try_from(status.code().unwrap_or(1)).unwrap_or(1),
    ))
}
