//! Which namespaces a process looks at.

use std::fmt;

/// Longest name of a namespace (RFC 1123 label).
const MAX_NAME: usize = 63;

/// What the user typed.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct ScopeArgs {
    /// The namespaces whose objects are served, separated by commas. Every namespace when empty.
    #[arg(
        long,
        env = "KEDA_HTTP_WATCH_NAMESPACE",
        value_name = "NAMESPACES",
        default_value = "",
        hide_default_value = true
    )]
    pub watch_namespace: String,

    /// Serves the objects of the namespaces whose labels match, as they come and go (`tenant=yes,stage!=dev`). Costs one
    /// connection to the API server for each kind in each of them: for hundreds of namespaces watch all. Not together
    /// with --watch-namespace.
    #[arg(
        long,
        env = "ROUSE_WATCH_NAMESPACE_SELECTOR",
        value_name = "SELECTOR",
        default_value = "",
        hide_default_value = true
    )]
    pub watch_namespace_selector: String,
}

/// The namespaces that a process looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every one.
    All,
    /// These, whether they exist or not; never empty.
    Namespaces(Vec<String>),
    /// Those whose labels match.
    Selector(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("every namespace"),
            Self::Namespaces(names) => write!(f, "namespaces {}", names.join(", ")),
            Self::Selector(selector) => write!(f, "namespaces with labels {selector}"),
        }
    }
}

/// What is wrong with the scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Both ways to name namespaces were used.
    #[error("--watch-namespace and --watch-namespace-selector cannot both be set")]
    Both,
    /// Not a namespace's name.
    #[error("--watch-namespace: {name:?} is not the name of a namespace")]
    BadName {
        /// What the user typed.
        name: String,
    },
}

impl TryFrom<ScopeArgs> for Scope {
    type Error = ScopeError;

    fn try_from(args: ScopeArgs) -> Result<Self, ScopeError> {
        let selector = args.watch_namespace_selector.trim();
        if args.watch_namespace.trim().is_empty() {
            return Ok(if selector.is_empty() {
                Self::All
            } else {
                Self::Selector(selector.to_owned())
            });
        }
        if !selector.is_empty() {
            return Err(ScopeError::Both);
        }
        let mut names: Vec<String> = Vec::new();
        for name in args.watch_namespace.split(',').map(str::trim) {
            if !is_name(name) {
                return Err(ScopeError::BadName {
                    name: name.to_owned(),
                });
            }
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        Ok(Self::Namespaces(names))
    }
}

fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty()
        && name.len() <= MAX_NAME
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(names: &str, selector: &str) -> Result<Scope, ScopeError> {
        Scope::try_from(ScopeArgs {
            watch_namespace: names.to_owned(),
            watch_namespace_selector: selector.to_owned(),
        })
    }

    #[test]
    fn without_settings_every_namespace_is_served() {
        assert_eq!(scope("", ""), Ok(Scope::All));
        assert_eq!(scope(" ", ""), Ok(Scope::All));
    }

    #[test]
    fn namespaces_are_listed_once_each() {
        let names = ["a".to_owned(), "b-1".to_owned()];
        assert_eq!(scope("a, b-1,a", ""), Ok(Scope::Namespaces(names.to_vec())));
    }

    #[test]
    fn labels_select_namespaces() {
        assert_eq!(
            scope("", "tenant=yes"),
            Ok(Scope::Selector("tenant=yes".to_owned()))
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert_eq!(scope("a", "tenant=yes"), Err(ScopeError::Both));
        for name in ["A", "a,", "a b", "-a", "a-", &"a".repeat(64)] {
            assert!(
                matches!(scope(name, ""), Err(ScopeError::BadName { .. })),
                "{name}"
            );
        }
        assert!(scope(&"a".repeat(63), "").is_ok());
    }
}
