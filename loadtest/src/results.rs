//! Prints what a benchmark came to, and keeps it as Markdown and JSON with the machine and the command.

use std::{env, fmt::Display, fs, path::Path, process::Command};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::say;

/// The parts of one benchmark's results, printed as they come.
#[derive(Debug)]
pub(crate) struct Results {
    name: &'static str,
    markdown: String,
    values: Map<String, Value>,
}

impl Results {
    pub(crate) fn new(name: &'static str) -> anyhow::Result<Self> {
        let mut results = Self {
            name,
            markdown: format!("# cargo xtask bench {name}\n\n"),
            values: Map::new(),
        };
        let command: Vec<_> = env::args().skip(1).collect();
        let machine = machine();
        let commit = commit().unwrap_or_else(|| "unknown".to_owned());
        results.text(format_args!(
            "`{}`, commit {commit}, on {machine}\n",
            command.join(" ")
        ))?;
        results.value("command", &command)?;
        results.value("machine", &machine)?;
        results.value("commit", &commit)?;
        Ok(results)
    }

    /// A paragraph or a table.
    pub(crate) fn text(&mut self, text: impl Display) -> anyhow::Result<()> {
        let text = text.to_string();
        say(&text)?;
        self.markdown.push_str(&text);
        self.markdown.push('\n');
        Ok(())
    }

    /// A value for the JSON only.
    pub(crate) fn value(&mut self, name: &str, value: &impl Serialize) -> anyhow::Result<()> {
        let value = serde_json::to_value(value).context("write a result as JSON")?;
        self.values.insert(name.to_owned(), value);
        Ok(())
    }

    /// Writes `NAME.md` and `NAME.json` into `directory`.
    pub(crate) fn write(self, directory: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        let json = serde_json::to_string_pretty(&self.values).context("write the results as JSON")?;
        for (extension, text) in [("md", self.markdown), ("json", json + "\n")] {
            let path = directory.join(self.name).with_extension(extension);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            say(format_args!("wrote {}", path.display()))?;
        }
        Ok(())
    }
}

fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, name)| name);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{processors} × {}, Linux {}",
        model.unwrap_or("unknown processor"),
        kernel.trim()
    )
}

fn commit() -> Option<String> {
    let mut git = Command::new("git");
    git.current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["describe", "--always", "--dirty"]);
    let output = git.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
