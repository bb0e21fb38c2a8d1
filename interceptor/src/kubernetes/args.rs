//! The flags of `rouse interceptor`: the interceptor's own, and which namespaces it serves.

use rouse_daemon::BadUsage;
use rouse_kubernetes::{Scope, ScopeArgs};

use crate::Config;

/// What the user typed.
#[derive(Debug, Clone, clap::Args)]
pub struct ClusterArgs {
    /// The namespaces.
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// The interceptor's own.
    #[command(flatten)]
    pub interceptor: crate::Args,
}

impl ClusterArgs {
    /// Checks everything, and says at once what is wrong.
    pub(super) fn check(self) -> Result<(Config, Scope), BadUsage> {
        let config = Config::try_from(self.interceptor);
        let scope = Scope::try_from(self.scope);
        match (config, scope) {
            (Ok(config), Ok(scope)) => Ok((config, scope)),
            (config, scope) => {
                let problems = [
                    config.err().map(|error| error.to_string()),
                    scope.err().map(|error| error.to_string()),
                ];
                let problems: Vec<String> = problems.into_iter().flatten().collect();
                Err(BadUsage(problems.join("; ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: ClusterArgs,
    }

    fn check(flags: &[&str]) -> Result<(Config, Scope), BadUsage> {
        let words = std::iter::once("interceptor").chain(flags.iter().copied());
        Cli::try_parse_from(words).expect("the flags parse").args.check()
    }

    #[test]
    fn without_flags_every_namespace_is_served_on_the_usual_ports() {
        let (config, scope) = check(&[]).unwrap();
        assert_eq!((config.proxy_addr.port(), config.admin_addr.port()), (8080, 9090));
        assert_eq!(scope, Scope::All);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let BadUsage(text) = check(&["--workers=0", "--watch-namespace=Shop"]).unwrap_err();
        assert!(text.contains("--workers") && text.contains("\"Shop\""), "{text}");
    }
}
