//! What a case saw, written down for those who have no cluster: commands with their outputs, timed requests, versions.

use std::{fmt::Display, fs, path::Path};

use anyhow::Context as _;

use crate::parts::Parts;

/// The parts whose versions a reader wants to know.
const PARTS: [&str; 10] = [
    "kube-apiserver",
    "etcd",
    "containerd",
    "keda-operator",
    "envoy-gateway",
    "gateway-envoy",
    "karpenter-kwok",
    "prometheus",
    "kubectl",
    "helm",
];

/// A page in the making.
#[derive(Debug)]
pub struct Evidence {
    page: String,
}

impl Evidence {
    /// An empty page about a case.
    pub fn new(case: &str, about: &str) -> Self {
        let title = case.replace('_', " ");
        Self {
            page: format!("# {title}\n\n{about}\n"),
        }
    }

    /// Adds a paragraph.
    pub fn note(&mut self, text: impl Display) {
        self.add(format_args!("\n{text}\n"));
    }

    /// Adds a command and what it wrote.
    pub fn command(&mut self, command: impl Display, output: &str) {
        self.add(format_args!(
            "\n```console\n$ {command}\n{}\n```\n",
            output.trim_end()
        ));
    }

    /// Writes the page, with the versions at its end.
    pub fn write(
        mut self,
        directory: &Path,
        case: &str,
        parts: &Parts,
        kubernetes: &str,
    ) -> anyhow::Result<()> {
        self.add(format_args!(
            "\n## Versions\n\n| part | version |\n|---|---|\n| Rouse | {} |\n",
            env!("CARGO_PKG_VERSION")
        ));
        self.add(format_args!(
            "| Kubernetes (as the API server says) | {kubernetes} |\n"
        ));
        for part in PARTS {
            if let Ok(version) = parts.version(part) {
                self.add(format_args!("| {part} | {version} |\n"));
            }
        }
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        let path = directory.join(format!("{case}.md"));
        fs::write(&path, self.page).with_context(|| format!("write {}", path.display()))
    }

    fn add(&mut self, text: std::fmt::Arguments<'_>) {
        self.page.push_str(&text.to_string());
    }
}
