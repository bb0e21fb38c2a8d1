//! Cuts files into documents and reads each as YAML.

use std::sync::Arc;

use serde_json::Value;

use super::error::{DocumentRef, ManifestError};
use super::source::Source;

/// One document of a file.
pub(super) struct Document<'a> {
    pub(super) at: DocumentRef,
    text: &'a str,
    pub(super) first_line: u64,
}

impl Document<'_> {
    /// Reads the text; null when it says nothing.
    pub(super) fn parse(&self) -> Result<Value, ManifestError> {
        serde_saphyr::from_str(self.text).map_err(|error| {
            let (line, column) = error
                .location()
                .map_or((1, 1), |location| (location.line(), location.column()));
            let message = error.without_snippet().to_string();
            let suffix = format!(" at line {line}, column {column}");
            let message = message.strip_suffix(&suffix).unwrap_or(&message);
            // A hint for programmers, not for users.
            let message = message
                .split(", set DuplicateKeyPolicy")
                .next()
                .unwrap_or(message);
            ManifestError::Yaml {
                at: self.at.clone(),
                line: self.first_line + line.saturating_sub(1),
                column,
                message: message.lines().collect::<Vec<_>>().join(" "),
            }
        })
    }
}

/// Cuts a file at its `---` and `...` markers. Both are markers wherever they stand at the start of a line, inside a
/// block scalar too (YAML 1.2, section 9.1.2). Documents of nothing but comments are left out and not counted.
pub(super) fn documents(source: &Source) -> Vec<Document<'_>> {
    let mut found: Vec<Document<'_>> = Vec::new();
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    let (mut start, mut start_line) = (0, 1);
    let (mut offset, mut line_number) = (0, 1);
    let mut cut = |from: usize, to: usize, first_line: u64| {
        let part = text.get(from..to).unwrap_or_default();
        let says_something = part.lines().any(|line| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#') && !line.starts_with('%')
        });
        if says_something {
            let at = DocumentRef {
                file: Arc::clone(&source.name),
                number: found.len() + 1,
            };
            found.push(Document {
                at,
                text: part,
                first_line,
            });
        }
    };
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        let marker = ["---", "..."].iter().any(|marker| {
            content
                .strip_prefix(marker)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
        });
        if marker {
            cut(start, offset, start_line);
            // What follows the marker on its line (a comment, or a whole flow mapping) belongs to the next document.
            start = offset + 3;
            start_line = line_number;
        }
        offset += line.len();
        line_number += 1;
    }
    cut(start, text.len(), start_line);
    found
}
