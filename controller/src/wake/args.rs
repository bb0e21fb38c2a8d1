//! The settings of the wake: whether the fallback is on, and where the interceptors are.

use clap::ArgAction;
use rouse_kubernetes::peers::{PeerPort, PeerService};

/// Options of `rouse controller` that concern the wake.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Wake")]
pub struct WakeArgs {
    /// Scales a workload from 0 to 1 whose requests have been held for 5 s while KEDA did not act: once per wake, and never
    /// one whose ScaledObject is paused. With false, KEDA alone scales.
    #[arg(
        long,
        env = "ROUSE_WAKE_FALLBACK",
        value_name = "BOOL",
        action = ArgAction::Set,
        default_value_t = true
    )]
    pub wake_fallback: bool,

    /// The namespace of the interceptors' admin Service. The release's when empty.
    #[arg(
        long,
        env = "KEDA_HTTP_SCALER_TARGET_ADMIN_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = "",
        hide_default_value = true
    )]
    pub target_admin_namespace: String,

    /// The interceptors' admin Service. Each of its endpoints is an interceptor, ready or not.
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
}

/// Checked settings of the wake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WakeConfig {
    /// Where to hear of held requests; `None` turns the fallback off.
    pub interceptors: Option<PeerService>,
}

impl WakeArgs {
    /// `namespace` is the release's.
    pub(crate) fn config(self, namespace: &str) -> WakeConfig {
        let given = Some(self.target_admin_namespace).filter(|given| !given.is_empty());
        let service = PeerService {
            namespace: given.unwrap_or_else(|| namespace.to_owned()),
            name: self.target_admin_service,
            port: self.target_admin_port,
        };
        WakeConfig {
            interceptors: self.wake_fallback.then_some(service),
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
        args: WakeArgs,
    }

    fn config(options: &[&str]) -> WakeConfig {
        let cli = Cli::try_parse_from(["controller"].iter().chain(options)).expect("options");
        cli.args.config("keda")
    }

    #[test]
    fn the_fallback_is_on_unless_it_is_turned_off() {
        let service = config(&[]).interceptors.expect("on");
        assert_eq!((service.namespace.as_str(), service.port), ("keda", None));
        assert_eq!(service.name, "keda-add-ons-http-interceptor-admin");
        let elsewhere = config(&["--target-admin-namespace=other", "--target-admin-port=9090"]);
        let service = elsewhere.interceptors.expect("on");
        assert_eq!(
            (service.namespace.as_str(), service.port),
            ("other", Some(PeerPort::Number(9090)))
        );
        assert_eq!(config(&["--wake-fallback=false"]).interceptors, None);
    }
}
