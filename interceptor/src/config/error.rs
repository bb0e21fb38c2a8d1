//! What can be wrong with the settings.

use std::fmt;

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigProblem {
    /// Zero where zero has no meaning.
    #[error("--{flag} cannot be 0")]
    Zero {
        /// The flag, without its dashes.
        flag: &'static str,
    },
    /// Longer than a year.
    #[error("--{flag} is longer than a year")]
    TooLong {
        /// The flag, without its dashes.
        flag: &'static str,
    },
    /// Outside of what is possible.
    #[error("--{flag} is {given}, which is not between {least} and {most}")]
    OutOfRange {
        /// The flag, without its dashes.
        flag: &'static str,
        /// What the user typed.
        given: u64,
        /// The least possible value.
        least: u64,
        /// The largest possible value.
        most: u64,
    },
    /// Proxy and admin server on the same port.
    #[error("--proxy-port and --admin-port are both {port}")]
    SamePort {
        /// The port.
        port: u16,
    },
}

/// Everything that is wrong with the settings, found in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// What is wrong, in the order of the flags; never empty.
    pub problems: Vec<ConfigProblem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.problems.iter().enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A setting that works but should be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigWarning {
    /// A deprecated name is in use.
    #[error("{name} is deprecated, use {replacement}; its value is used")]
    Deprecated {
        /// The name in use.
        name: &'static str,
        /// The name to use.
        replacement: &'static str,
    },
}
