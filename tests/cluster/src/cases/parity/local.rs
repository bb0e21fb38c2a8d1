//! `rouse local` as a place: the program of the cluster's own image, run as a person would, on ports of this network.

use std::{
    env, fs,
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use parking_lot::Mutex;
use rustix::process::Signal;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::{
    cluster::{Scaled, as_written, note, noted},
    manifests::App,
};
use crate::{
    cluster::{Cluster, http},
    process::Process,
    wait,
};

const START_BOUND: Duration = Duration::from_secs(30);
/// Requests have ended; replicas have their grace period.
const END_BOUND: Duration = Duration::from_secs(45);
/// Until a program that refuses its manifests has ended.
const REFUSAL_BOUND: Duration = Duration::from_secs(30);

type Lines = Arc<Mutex<Vec<String>>>;

/// A running process. Dropped, it is killed, and all that it started goes with it.
#[derive(Debug)]
pub(super) struct Local {
    child: Child,
    process: Process,
    lines: Lines,
    scaled: Scaled,
    proxy: SocketAddr,
    admin: SocketAddr,
}

impl Local {
    /// Starts it with these manifests and waits until it is ready.
    pub(super) async fn start(
        cluster: &Cluster,
        namespace: &str,
        apps: &[App],
        manifests: &[Value],
    ) -> anyhow::Result<Self> {
        let mut command = command(cluster, namespace, manifests)?;
        let mut child = command.spawn().context("start it")?;
        let process = child.id().and_then(Process::find).context("it ended at once")?;
        let lines = Lines::default();
        let scaled = as_written(apps);
        let stdout = child.stdout.take().context("it has no standard output")?;
        let stderr = child.stderr.take().context("it has no standard error")?;
        tokio::spawn(follow(
            stdout,
            lines.clone(),
            Some((scaled.clone(), namespace.to_owned())),
        ));
        tokio::spawn(follow(stderr, lines.clone(), None));
        let (proxy, admin) = wait::until("it tells its addresses", START_BOUND, async || {
            let said = copy(&lines);
            match (address(&said, "requests "), address(&said, "admin ")) {
                (Some(proxy), Some(admin)) => wait::done((proxy, admin)),
                _ => wait::not_yet(said.join("\n")),
            }
        })
        .await?;
        wait::until("it is ready", START_BOUND, async || {
            let answer = http::get(admin, "admin", "/readyz", START_BOUND).await?;
            if answer.status == 200 {
                wait::done(())
            } else {
                wait::not_yet(answer.summary())
            }
        })
        .await?;
        Ok(Self {
            child,
            process,
            lines,
            scaled,
            proxy,
            admin,
        })
    }

    pub(super) fn proxy(&self) -> SocketAddr {
        self.proxy
    }

    pub(super) async fn queue(&self) -> anyhow::Result<Value> {
        let answer = http::get(self.admin, "admin", "/queue", START_BOUND).await?;
        serde_json::from_slice(&answer.body).context("read /queue")
    }

    pub(super) fn scaled(&self, app: &str) -> Vec<u32> {
        noted(&self.scaled, app)
    }

    /// Every line so far.
    pub(super) fn said(&self) -> String {
        copy(&self.lines).join("\n")
    }

    /// What a person sees first: addresses and routes, without the directory of the logs.
    pub(super) fn opening(&self) -> String {
        let lines = copy(&self.lines);
        let shown = lines.iter().filter(|line| {
            ["requests ", "admin ", "scaler ", "polling ", "route "]
                .iter()
                .any(|start| line.starts_with(start))
        });
        shown.map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Sends SIGTERM to the processes that run an application, as `kubectl delete pod` has the kubelet do.
    pub(super) fn end_replicas(&self, app: &str) -> anyhow::Result<()> {
        let replicas = self.replicas(app);
        anyhow::ensure!(!replicas.is_empty(), "no process runs {app}");
        replicas
            .into_iter()
            .try_for_each(|replica| replica.signal(Signal::TERM))
    }

    /// The processes that run an application.
    pub(super) fn replicas(&self, app: &str) -> Vec<Process> {
        let mark = format!("PODINFO_UI_MESSAGE={app}");
        let mut replicas = Vec::new();
        let mut left = vec![self.process.pid()];
        while let Some(pid) = left.pop() {
            let children = children(pid);
            // Between this process and the application is the one that watches over it.
            if children.is_empty() && has_variable(pid, &mark) {
                replicas.extend(Process::find(pid));
            }
            left.extend(children);
        }
        replicas
    }

    /// Ends it as a person does. It has to end by itself, with status 0.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        self.process.signal(Signal::TERM)?;
        let status = timeout(END_BOUND, self.child.wait())
            .await
            .with_context(|| format!("rouse local still runs {END_BOUND:?} after SIGTERM"))?
            .context("wait for rouse local")?;
        anyhow::ensure!(
            status.success(),
            "rouse local: {status}, having said:\n{}",
            self.said()
        );
        Ok(())
    }
}

/// Gives it manifests that it refuses: its exit status, and its lines on standard error.
pub(super) async fn refused(
    cluster: &Cluster,
    name: &str,
    manifests: &[Value],
) -> anyhow::Result<(i32, Vec<String>)> {
    let output = timeout(REFUSAL_BOUND, command(cluster, name, manifests)?.output())
        .await
        .context("rouse local refuses nothing and runs")?
        .context("run rouse local")?;
    let status = output.status.code().context("rouse local was killed")?;
    let lines = String::from_utf8_lossy(&output.stderr);
    Ok((status, lines.lines().map(str::to_owned).collect()))
}

fn command(cluster: &Cluster, name: &str, manifests: &[Value]) -> anyhow::Result<Command> {
    let directory = cluster.scratch().join("rouse-local");
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    let program = program(cluster, &directory)?;
    let file = directory.join(format!("{name}.yaml"));
    let documents: Vec<_> = manifests.iter().map(ToString::to_string).collect();
    fs::write(&file, documents.join("\n---\n")).with_context(|| format!("write {}", file.display()))?;
    let programs = program.parent().unwrap_or(&directory).to_owned();
    let path = env::join_paths([programs]).context("set PATH")?;
    let mut command = Command::new(&program);
    command
        // Nothing of this process's environment may be a setting there, or reach the applications.
        .env_clear()
        .env("PATH", path)
        .args(["local", "--filename"])
        .arg(&file)
        .arg("--log-dir")
        .arg(directory.join("logs"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    Ok(command)
}

/// The program that the nodes run, out of their image; in a cluster of somebody else's the one that is named.
fn program(cluster: &Cluster, directory: &Path) -> anyhow::Result<PathBuf> {
    let Some(own) = cluster.as_own() else {
        let given = env::var_os("ROUSE_PROGRAM");
        let given = given.context("ROUSE_PROGRAM does not say which `rouse` the cluster's image has")?;
        return Ok(given.into());
    };
    let archive = &own.images().rouse;
    let file = directory.join("rouse");
    let is_newer = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    if matches!((is_newer(&file), is_newer(archive)), (Ok(ours), Ok(image)) if ours > image) {
        return Ok(file);
    }
    let program = out_of_image(archive).with_context(|| format!("look into {}", archive.display()))?;
    // Another name first: a program that runs cannot be written to.
    let unfinished = directory.join("rouse.part");
    fs::write(&unfinished, program).with_context(|| format!("write {}", unfinished.display()))?;
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&unfinished, executable).context("make it executable")?;
    fs::rename(&unfinished, &file).with_context(|| format!("make {}", file.display()))?;
    Ok(file)
}

/// The file `rouse` of the first layer that has one.
fn out_of_image(archive: &Path) -> anyhow::Result<Vec<u8>> {
    let mut image = tar::Archive::new(fs::File::open(archive)?);
    for blob in image.entries()? {
        let mut layer = tar::Archive::new(blob?);
        let Ok(entries) = layer.entries() else { continue };
        // What is no archive, a configuration, ends with an error at once.
        for entry in entries.map_while(Result::ok) {
            let mut entry = entry;
            if entry.path()?.as_ref() == Path::new("rouse") {
                let mut program = Vec::new();
                entry.read_to_end(&mut program)?;
                return Ok(program);
            }
        }
    }
    anyhow::bail!("no layer has the file rouse")
}

async fn follow(output: impl AsyncRead + Unpin, lines: Lines, scaled: Option<(Scaled, String)>) {
    let mut output = BufReader::new(output).lines();
    while let Ok(Some(line)) = output.next_line().await {
        if let Some((scaled, namespace)) = &scaled
            && let Some((app, replicas)) = change(&line, namespace)
        {
            note(scaled, app, replicas);
        }
        lines.lock().push(line);
    }
}

/// The application and its new number of replicas, of a line such as `1.203s  shop/web  request held: waking, 0 → 1`.
fn change<'a>(line: &'a str, namespace: &str) -> Option<(&'a str, u32)> {
    let mut words = line.split_whitespace();
    words.next()?.strip_suffix('s')?.parse::<f64>().ok()?;
    let app = words.next()?.strip_prefix(namespace)?.strip_prefix('/')?;
    let (before, after) = line.rsplit_once(" → ")?;
    before.rsplit(' ').next()?.parse::<u32>().ok()?;
    Some((app, after.parse().ok()?))
}

fn address(said: &[String], label: &str) -> Option<SocketAddr> {
    let line = said.iter().find(|line| line.starts_with(label))?;
    line.split_whitespace()
        .nth(1)?
        .strip_prefix("http://")?
        .parse()
        .ok()
}

fn copy(lines: &Lines) -> Vec<String> {
    lines.lock().clone()
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let children = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    children
        .flat_map(|children| {
            let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
            pids.collect::<Vec<_>>()
        })
        .collect()
}

fn has_variable(pid: u32, mark: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == mark.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_scale_an_application_of_the_namespace_are_changes() {
        for (line, expected) in [
            (
                "    1.203s  shop/web  request held: waking, 0 → 1",
                Some(("web", 1)),
            ),
            (
                "   20.040s  shop/web  idle for 10 s: scaled to zero, 3 → 0",
                Some(("web", 0)),
            ),
            ("    3.000s  shop/web  load: 1 → 3", Some(("web", 3))),
            ("    3.000s  other/web  load: 1 → 3", None),
            ("    3.000s  shop/web  ready after 12 ms", None),
            (
                "route     web.test → shop/web:8000, 0 to 1 replicas, idle after 10 s",
                None,
            ),
        ] {
            assert_eq!(change(line, "shop"), expected, "{line}");
        }
    }
}
