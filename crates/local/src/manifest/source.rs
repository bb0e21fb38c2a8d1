//! Where manifests come from: files, directories, standard input, or the demo inside the binary.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{ManifestError, ManifestErrors};

/// Larger input is a mistake, not a manifest: etcd itself refuses objects above 1.5 MiB.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// The text of one file.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file as the user named it, or `standard input`.
    pub name: Arc<str>,
    /// Its text.
    pub text: String,
}

impl Source {
    /// A source with this name and text.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }
}

/// The demo that runs when no file is given: the user's chatbot, as its files stand.
pub fn demo() -> Vec<Source> {
    vec![
        Source::new(
            "examples/chatbot.yaml",
            include_str!("../../../../examples/chatbot.yaml"),
        ),
        Source::new(
            "examples/chatbot-http-scaler.yaml",
            include_str!("../../../../examples/chatbot-http-scaler.yaml"),
        ),
    ]
}

/// Reads every path: a file, `-` for standard input, or a directory (its `*.yaml` and `*.yml`, by name, not deeper).
///
/// # Errors
/// Every path that cannot be read, is not UTF-8, or is a directory without manifests.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Source>, ManifestErrors> {
    let mut sources = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            match read_bounded(std::io::stdin().lock()) {
                Ok(text) => sources.push(Source::new("standard input", text)),
                Err(source) => errors.push(ManifestError::Read {
                    file: "standard input".into(),
                    source,
                }),
            }
            continue;
        }
        match manifests_under(path) {
            Ok(files) => {
                for file in files {
                    match std::fs::File::open(&file).and_then(read_bounded) {
                        Ok(text) => sources.push(Source::new(file.display().to_string(), text)),
                        Err(source) => errors.push(read_error(&file, source)),
                    }
                }
            }
            Err(source) => errors.push(read_error(path, source)),
        }
    }
    if errors.is_empty() {
        Ok(sources)
    } else {
        Err(ManifestErrors(errors))
    }
}

fn read_error(path: &Path, source: std::io::Error) -> ManifestError {
    ManifestError::Read {
        file: path.display().to_string().into(),
        source,
    }
}

fn manifests_under(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let is_manifest = file
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_manifest && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(std::io::Error::other("the directory holds no *.yaml file"));
    }
    files.sort();
    Ok(files)
}

fn read_bounded(reader: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    let read = reader.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::other("larger than 64 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_gives_its_yaml_files_by_name() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.yml", "notes.txt"] {
            std::fs::write(directory.path().join(name), format!("# {name}\n")).unwrap();
        }
        let sources = load(&[directory.path().to_owned()]).unwrap();
        let texts: Vec<_> = sources.iter().map(|source| source.text.as_str()).collect();
        assert_eq!(texts, ["# a.yml\n", "# b.yaml\n"]);
    }

    #[test]
    fn a_missing_file_is_named_with_its_cause() {
        let error = load(&[PathBuf::from("/nowhere/chatbot.yaml")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/nowhere/chatbot.yaml: cannot be read: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_directory_without_manifests_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = load(&[directory.path().to_owned()]).unwrap_err();
        assert!(
            error.to_string().ends_with("the directory holds no *.yaml file"),
            "{error}"
        );
    }
}
