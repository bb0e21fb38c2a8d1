//! What is said about a field: why an object cannot be served, or what of it is served differently from how it is
//! written. Paths are written as kubectl writes them: `spec.rules[0].hosts[1]`.

use std::fmt;

/// A field that makes its object unservable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Where in the object, such as `spec.scaleTargetRef.port`; empty for the object as a whole.
    pub path: String,
    /// What is wrong with it, without repeating the path.
    pub message: String,
}

/// A field that is served, but not as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldWarning {
    /// Where in the object, such as `spec.scalingMetric.requestRate.window`.
    pub path: String,
    /// What is done instead, without repeating the path.
    pub message: String,
}

impl FieldError {
    /// An error at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl FieldWarning {
    /// A warning at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_at(f, &self.path, &self.message)
    }
}

impl fmt::Display for FieldWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_at(f, &self.path, &self.message)
    }
}

impl std::error::Error for FieldError {}

fn write_at(f: &mut fmt::Formatter<'_>, path: &str, message: &str) -> fmt::Result {
    if path.is_empty() {
        f.write_str(message)
    } else {
        write!(f, "{path}: {message}")
    }
}
