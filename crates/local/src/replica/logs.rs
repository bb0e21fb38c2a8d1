//! The output of replicas, in files.
//!
//! One file for each replica, `<directory>/<namespace>/<pod>.log`. At [`MAX_FILE_BYTES`] it becomes `<pod>.log.1`, in
//! place of an older one, so a replica takes twice that at most; a namespace keeps the files of its newest
//! [`MAX_REPLICAS`] replicas and those still written to.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::narrate::Narrator;

/// A log file's size when it is rotated.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// Replicas of a namespace whose log files are kept.
const MAX_REPLICAS: usize = 50;
/// What is read from a replica at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// The longest line shown on the terminal in one piece.
const MAX_LINE_BYTES: usize = 4 * 1024;

/// The directory of all log files. Clones share it.
#[derive(Debug, Clone)]
pub struct LogDirectory {
    root: Arc<PathBuf>,
    written: Arc<Mutex<HashSet<PathBuf>>>,
    max_file_bytes: u64,
    max_replicas: usize,
}

impl LogDirectory {
    /// Creates the directory if need be.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn open(root: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&root)?;
        Ok(Self {
            root: Arc::new(root),
            written: Arc::default(),
            max_file_bytes: MAX_FILE_BYTES,
            max_replicas: MAX_REPLICAS,
        })
    }

    /// `$XDG_STATE_HOME/rouse/logs`, else `~/.local/state/rouse/logs`, else below the directory for temporary files.
    pub fn default_root() -> PathBuf {
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .unwrap_or_else(std::env::temp_dir)
            .join("rouse/logs")
    }

    /// Where the files are.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The log of a new replica. Makes room by removing the oldest files of the namespace.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub async fn create(&self, namespace: &str, pod: &str) -> io::Result<ReplicaLog> {
        let directory = self.root.join(namespace);
        let path = directory.join(format!("{pod}.log"));
        let this = self.clone();
        let path = tokio::task::spawn_blocking(move || -> io::Result<PathBuf> {
            std::fs::create_dir_all(&directory)?;
            this.remove_oldest(&directory)?;
            Ok(path)
        })
        .await
        .map_err(io::Error::other)??;
        let file = File::options().create(true).append(true).open(&path).await?;
        let size = file.metadata().await?.len();
        self.written.lock().insert(path.clone());
        Ok(ReplicaLog {
            file,
            path,
            size,
            directory: self.clone(),
        })
    }

    fn remove_oldest(&self, directory: &Path) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log")
                && let Some(metadata) = unless_gone(entry.metadata())?
            {
                files.push((metadata.modified()?, path));
            }
        }
        files.sort();
        let surplus = (files.len() + 1).saturating_sub(self.max_replicas);
        let written = self.written.lock();
        let removable = files
            .into_iter()
            .map(|(_, path)| path)
            .filter(|path| !written.contains(path));
        for path in removable.take(surplus) {
            unless_gone(std::fs::remove_file(&path))?;
            unless_gone(std::fs::remove_file(rotated(&path)))?;
        }
        Ok(())
    }
}

/// Replicas that start together make room together: what another one has removed meanwhile is no fault.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The log file of one replica.
#[derive(Debug)]
pub struct ReplicaLog {
    file: File,
    path: PathBuf,
    size: u64,
    directory: LogDirectory,
}

impl ReplicaLog {
    /// Copies until the output ends. What cannot be written (a full disk) is dropped rather than held against the
    /// replica, which would block on its full pipe; the fault is told once.
    pub async fn copy(&mut self, mut output: impl AsyncRead + Unpin, echo: Option<&Echo>) {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut lines = Lines::default();
        let mut has_failed = false;
        loop {
            let read = match output.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            };
            let chunk = buffer.get(..read).unwrap_or_default();
            if let Err(error) = self.write(chunk).await
                && !std::mem::replace(&mut has_failed, true)
            {
                tracing::warn!(path = %self.path.display(), %error, "a replica's output is not kept");
            }
            if let Some(echo) = echo {
                lines.feed(chunk, |line| echo.line(line));
            }
        }
        if let Some(echo) = echo {
            lines.finish(|line| echo.line(line));
        }
    }

    async fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        if self.size > 0 && self.size + chunk.len() as u64 > self.directory.max_file_bytes {
            self.file.flush().await?;
            tokio::fs::rename(&self.path, rotated(&self.path)).await?;
            self.file = File::options().create(true).append(true).open(&self.path).await?;
            self.size = 0;
        }
        self.file.write_all(chunk).await?;
        self.size += chunk.len() as u64;
        // tokio writes behind; a reader of the file is to see what was said.
        self.file.flush().await
    }
}

impl Drop for ReplicaLog {
    fn drop(&mut self) {
        self.directory.written.lock().remove(&self.path);
    }
}

/// Shows a replica's lines on the terminal.
#[derive(Debug, Clone)]
pub struct Echo {
    /// Where they are shown.
    pub narrator: Narrator,
    /// The replica's name, before each line.
    pub pod: Arc<str>,
}

impl Echo {
    fn line(&self, line: &[u8]) {
        self.narrator.output(&self.pod, &String::from_utf8_lossy(line));
    }
}

/// Cuts output into lines of a bounded length.
#[derive(Debug, Default)]
struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, mut chunk: &[u8], mut line: impl FnMut(&[u8])) {
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            let (first, rest) = chunk.split_at(end);
            self.partial.extend_from_slice(first);
            line(&self.partial);
            self.partial.clear();
            chunk = rest.get(1..).unwrap_or_default();
        }
        self.partial.extend_from_slice(chunk);
        if self.partial.len() > MAX_LINE_BYTES {
            line(&self.partial);
            self.partial.clear();
        }
    }

    fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            line(&self.partial);
            self.partial.clear();
        }
    }
}

fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(root: &Path, max_file_bytes: u64, max_replicas: usize) -> LogDirectory {
        LogDirectory {
            max_file_bytes,
            max_replicas,
            ..LogDirectory::open(root.to_owned()).unwrap()
        }
    }

    #[tokio::test]
    async fn a_full_file_is_rotated_once_and_the_size_stays_bounded() {
        let root = tempfile::tempdir().unwrap();
        let mut log = directory(root.path(), 100, 5)
            .create("default", "web-1")
            .await
            .unwrap();
        for round in 0..10_u8 {
            log.copy(&[b'a' + round; 60][..], None).await;
        }
        let path = root.path().join("default/web-1.log");
        assert_eq!(std::fs::read(&path).unwrap(), [b'j'; 60]);
        assert_eq!(std::fs::read(rotated(&path)).unwrap(), [b'i'; 60]);
        assert_eq!(std::fs::read_dir(root.path().join("default")).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn old_files_make_room_but_never_those_still_written_to() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), 100, 3);
        let first = directory.create("default", "web-0").await.unwrap();
        for number in 1..6 {
            directory
                .create("default", &format!("web-{number}"))
                .await
                .unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(root.path().join("default"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["web-0.log", "web-4.log", "web-5.log"]);
        drop(first);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn replicas_that_start_together_do_not_mind_each_other() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), 100, 3);
        for round in 0..20 {
            std::fs::create_dir_all(root.path().join("default")).unwrap();
            for number in 0..30 {
                std::fs::write(root.path().join(format!("default/old-{round}-{number}.log")), "").unwrap();
            }
            let starts: Vec<_> = (0..8)
                .map(|number| {
                    let directory = directory.clone();
                    tokio::spawn(async move { directory.create("default", &format!("web-{number}")).await })
                })
                .collect();
            for start in starts {
                start.await.unwrap().unwrap();
            }
        }
    }

    #[test]
    fn lines_are_cut_at_their_ends_and_at_the_bound() {
        let mut seen: Vec<usize> = Vec::new();
        let mut lines = Lines::default();
        lines.feed(b"one\ntw", |line| seen.push(line.len()));
        lines.feed(b"o\n\n", |line| seen.push(line.len()));
        lines.feed(&[b'x'; MAX_LINE_BYTES + 1], |line| seen.push(line.len()));
        lines.feed(b"end", |line| seen.push(line.len()));
        lines.finish(|line| seen.push(line.len()));
        assert_eq!(seen, [3, 3, 0, MAX_LINE_BYTES + 1, 3]);
    }
}
