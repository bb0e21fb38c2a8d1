//! What can be wrong with the user's manifests, each told in one line: file, document, field, fault.

use std::fmt;
use std::sync::Arc;

/// Where an object was read: the file as the user named it, and the document's number in it, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRef {
    /// The file as the user named it, or `standard input`.
    pub file: Arc<str>,
    /// The document's number in the file, from 1; comments between markers are not counted.
    pub number: usize,
}

impl fmt::Display for DocumentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, document {}", self.file, self.number)
    }
}

/// One fault of the input.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A file could not be read.
    #[error("{file}: cannot be read")]
    Read {
        /// The file as the user named it.
        file: Arc<str>,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The text is not YAML.
    #[error("{at}: line {line}, column {column}: {message}")]
    Yaml {
        /// Where.
        at: DocumentRef,
        /// Line in the file, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What the parser says.
        message: String,
    },
    /// A field is missing, has the wrong type, or does not fit the other objects.
    #[error("{at}: {field}: {message}")]
    Field {
        /// Where.
        at: DocumentRef,
        /// The field's path, such as `spec.replicas`.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// The input as a whole cannot be run.
    #[error("{0}")]
    Whole(String),
}

impl ManifestError {
    pub(crate) fn field(at: &DocumentRef, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Field {
            at: at.clone(),
            field: field.into(),
            message: message.into(),
        }
    }
}

/// Every fault found in the input, in the order of the files. Never empty.
#[derive(Debug)]
pub struct ManifestErrors(pub Vec<ManifestError>);

impl ManifestErrors {
    /// One line for each fault, sources included.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|error| {
            let line = match error {
                ManifestError::Read { source, .. } => format!("{error}: {source}"),
                _ => error.to_string(),
            };
            printable(&line)
        })
    }
}

/// One line that a terminal only shows: the words may be those of a manifest, with line ends and escape sequences.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            shown.extend(letter.escape_debug());
        } else {
            shown.push(letter);
        }
    }
    shown
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.lines().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&line)?;
        }
        Ok(())
    }
}

impl std::error::Error for ManifestErrors {}
