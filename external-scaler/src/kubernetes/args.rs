//! The flags of `rouse external-scaler`: the scaler's own, which namespaces it serves, and where the interceptors are.

use rouse_daemon::BadUsage;
use rouse_kubernetes::{
    Scope, ScopeArgs,
    peers::{PeerPort, PeerService},
};

use crate::Config;

/// What the user typed.
#[derive(Debug, Clone, clap::Args)]
pub struct ClusterArgs {
    /// The namespaces.
    #[command(flatten)]
    pub scope: ScopeArgs,

    /// The namespace of the interceptors' admin Service. The scaler's own when empty.
    #[arg(
        long,
        env = "KEDA_HTTP_SCALER_TARGET_ADMIN_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = "",
        hide_default_value = true
    )]
    pub target_admin_namespace: String,

    /// The interceptors' admin Service. Each of its endpoints is an interceptor, ready or not. Not looked at where
    /// --interceptors lists them.
    #[arg(
        long,
        env = "KEDA_HTTP_SCALER_TARGET_ADMIN_SERVICE",
        value_name = "NAME",
        default_value = "keda-add-ons-http-interceptor-admin"
    )]
    pub target_admin_service: String,

    /// The admin port of the interceptors' pods, by number or by the Service's name for it. The Service's only or first
    /// port when unset.
    #[arg(long, env = "KEDA_HTTP_SCALER_TARGET_ADMIN_PORT", value_name = "PORT")]
    pub target_admin_port: Option<PeerPort>,

    /// The interceptors' Deployment. The add-on asks for it; nothing here needs it.
    #[arg(
        long,
        env = "KEDA_HTTP_SCALER_TARGET_ADMIN_DEPLOYMENT",
        value_name = "NAME",
        hide = true
    )]
    pub target_admin_deployment: Option<String>,

    /// The scaler's own.
    #[command(flatten)]
    pub scaler: crate::Args,
}

/// Checked settings.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) scope: Scope,
    /// `None` where the interceptors are listed. Its namespace may be empty: the process's own.
    pub(super) interceptors: Option<PeerService>,
}

impl ClusterArgs {
    /// Checks everything, and says at once what is wrong.
    pub(super) fn check(self) -> Result<Settings, BadUsage> {
        let mut problems = Vec::new();
        let service = self.target_admin_service.trim();
        if service.is_empty() && self.scaler.interceptors.is_empty() {
            problems.push("--target-admin-service is empty, and --interceptors lists none".to_owned());
        }
        let interceptors = self.scaler.interceptors.is_empty().then(|| PeerService {
            namespace: self.target_admin_namespace.trim().to_owned(),
            name: service.to_owned(),
            port: self.target_admin_port,
        });
        let scope = Scope::try_from(self.scope);
        let config = Config::try_from(self.scaler);
        problems.extend(scope.as_ref().err().map(ToString::to_string));
        problems.extend(config.as_ref().err().map(ToString::to_string));
        match (config, scope) {
            (Ok(config), Ok(scope)) if problems.is_empty() => Ok(Settings {
                config,
                scope,
                interceptors,
            }),
            _ => Err(BadUsage(problems.join("; "))),
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

    fn check(flags: &[&str]) -> Result<Settings, BadUsage> {
        let words = std::iter::once("external-scaler").chain(flags.iter().copied());
        Cli::try_parse_from(words).expect("the flags parse").args.check()
    }

    #[test]
    fn the_interceptors_are_behind_the_add_ons_service() {
        let settings = check(&["--target-admin-port=9090"]).unwrap();
        assert_eq!(settings.scope, Scope::All);
        assert_eq!(
            settings.interceptors,
            Some(PeerService {
                namespace: String::new(),
                name: "keda-add-ons-http-interceptor-admin".to_owned(),
                port: Some(PeerPort::Number(9090)),
            })
        );
    }

    #[test]
    fn listed_interceptors_are_not_looked_for() {
        let settings = check(&["--interceptors=10.0.0.1:9090"]).unwrap();
        assert_eq!(settings.interceptors, None);
        assert_eq!(settings.config.interceptors.len(), 1);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let flags = [
            "--target-admin-service=",
            "--watch-namespace=a,",
            "--peer-give-up=1s",
        ];
        let BadUsage(text) = check(&flags).unwrap_err();
        for problem in ["--target-admin-service", "--watch-namespace", "--peer-give-up"] {
            assert!(text.contains(problem), "{text}");
        }
    }
}
