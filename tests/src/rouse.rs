//! A running `rouse local`, as its user sees it: its lines, its addresses, its end.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use crate::{PATIENCE, eventually, http};

/// The binary under test: `$ROUSE_BIN`, which `cargo xtask test` sets, or the one beside the tests, built if need be.
pub fn rouse_program() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    if let Some(program) = std::env::var_os("ROUSE_BIN") {
        return program.into();
    }
    BUILT
        .get_or_init(|| {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let built = Command::new(cargo)
                .args(["build", "--quiet", "--package", "rouse"])
                .status();
            assert!(
                built.is_ok_and(|status| status.success()),
                "cargo build --package rouse"
            );
            // A test runs from `deps` below the directory that the binary is built to.
            let test = std::env::current_exe().expect("a path of this test");
            test.ancestors().nth(2).expect("a directory above").join("rouse")
        })
        .clone()
}

/// What a process has written so far.
#[derive(Debug, Default, Clone)]
struct Lines(Arc<std::sync::RwLock<Vec<String>>>);

impl Lines {
    fn follow(output: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                writer.0.write().expect("no reader panicked").push(line);
            }
        });
        lines
    }

    fn all(&self) -> Vec<String> {
        self.0.read().expect("the writer did not panic").clone()
    }
}

/// A running `rouse local`. Dropping it kills it, which must take everything below it along.
#[derive(Debug)]
pub struct Rouse {
    child: Child,
    output: Lines,
    errors: Lines,
    directory: tempfile::TempDir,
    proxy: SocketAddr,
    admin: SocketAddr,
}

impl Rouse {
    /// Starts it with `manifest` on free ports and waits until it is ready.
    pub fn start(manifest: &str, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("manifest.yaml");
        fs::write(&file, manifest).expect("a file");
        let mut arguments = vec![OsStr::new("-f"), file.as_os_str()];
        arguments.extend(flags.iter().map(OsStr::new));
        Self::run(directory, &arguments)
    }

    /// Starts it with `arguments` as they stand, on free ports.
    pub fn start_with(arguments: &[&OsStr]) -> Self {
        Self::run(tempfile::tempdir().expect("a directory"), arguments)
    }

    fn run(directory: tempfile::TempDir, arguments: &[&OsStr]) -> Self {
        let any = "127.0.0.1:0";
        let mut child = Command::new(rouse_program())
            .arg("local")
            .args(["--listen", any, "--admin", any, "--scaler", any, "--log-dir"])
            .arg(directory.path().join("logs"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rouse starts");
        let output = Lines::follow(child.stdout.take().expect("piped"));
        let errors = Lines::follow(child.stderr.take().expect("piped"));
        let address = |label: &str| {
            eventually(
                &format!("rouse local prints its {label} address"),
                PATIENCE,
                || {
                    let lines = output.all();
                    let line = lines.iter().find(|line| line.starts_with(label))?;
                    line.split_whitespace()
                        .nth(1)?
                        .trim_start_matches("http://")
                        .parse()
                        .ok()
                },
            )
        };
        let (proxy, admin) = (address("requests"), address("admin"));
        let rouse = Self {
            child,
            output,
            errors,
            directory,
            proxy,
            admin,
        };
        eventually("rouse local is ready", PATIENCE, || {
            http::try_get(admin, "admin", "/readyz")
                .ok()
                .filter(|answer| answer.status == 200)
        });
        rouse
    }

    /// Where requests go.
    pub fn proxy(&self) -> SocketAddr {
        self.proxy
    }

    /// Where `/queue` and `/metrics` are.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A directory of this run's own.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Everything it has said, standard output first.
    pub fn said(&self) -> String {
        let mut lines = self.output.all();
        lines.extend(self.errors.all());
        lines.join("\n")
    }

    /// `GET path` through the proxy.
    pub fn get(&self, host: &str, path: &str) -> http::Answer {
        http::get(self.proxy, host, path)
    }

    /// The concurrency that `/queue` shows for the route `default/NAME`.
    pub fn queued(&self, name: &str) -> u64 {
        let queue = http::get(self.admin, "admin", "/queue").json();
        queue[format!("default/{name}")]["Concurrency"]
            .as_u64()
            .expect("a count")
    }

    /// Processes of the demo app below this run, found by a text in their command line.
    pub fn replicas(&self) -> usize {
        children(self.pid())
    }

    /// Waits until no replica runs.
    pub fn wait_for_zero(&self, patience: Duration) {
        eventually("no replica runs", patience, || {
            (self.replicas() == 0).then_some(())
        });
    }

    /// Asks it to end and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        self.wait(PATIENCE)
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Waits for its end.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        eventually("rouse local ends", patience, || {
            self.child.try_wait().expect("a child of ours")
        })
    }
}

impl Drop for Rouse {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "what a failed test's reader needs to see")]
            {
                eprintln!("rouse local said:\n{}", self.said());
            }
        }
    }
}

/// Processes whose parent is `pid`: each replica has one shim.
fn children(pid: u32) -> usize {
    let path = format!("/proc/{pid}/task");
    let Ok(tasks) = fs::read_dir(path) else { return 0 };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .map(|children| children.split_whitespace().count())
        .sum()
}
