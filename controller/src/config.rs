//! What can be set, under the add-on's names where it has one.

use std::{
    collections::hash_map::RandomState,
    env, fmt,
    hash::{BuildHasher, Hasher},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use rouse_daemon::duration;
use rouse_kubernetes::{Scope, ScopeArgs, lease::LeaseConfig};

use crate::{
    WakeArgs, WakeConfig,
    gateway::{GatewayArgs, GatewaySettings},
    scaled_object::ScalerAddress,
};

/// The name of the Lease, in the release's namespace.
const LEASE: &str = "rouse-controller";

/// Options of `rouse controller`. The operator's settings for its two listeners and their TLS have no meaning here, because
/// there is one listener.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Controller")]
pub struct Args {
    /// The port of /livez, /readyz, /healthz and /metrics, 0 for any free one.
    #[arg(
        long,
        env = "ROUSE_CONTROLLER_PORT",
        value_name = "PORT",
        default_value_t = 8081
    )]
    pub port: u16,

    /// The address to listen on. `::` stands for every address of the machine, IPv6 included; the default for every IPv4
    /// address.
    #[arg(
        long,
        env = "ROUSE_CONTROLLER_BIND_ADDRESS",
        value_name = "IP",
        default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    )]
    pub bind_address: IpAddr,

    /// The external scaler's Service, which the ScaledObjects name.
    #[arg(
        long,
        env = "KEDA_HTTP_OPERATOR_EXTERNAL_SCALER_SERVICE",
        value_name = "NAME",
        default_value = "keda-add-ons-http-external-scaler"
    )]
    pub external_scaler_service: String,

    /// The port of the external scaler's Service. Cannot be 0.
    #[arg(
        long,
        env = "KEDA_HTTP_OPERATOR_EXTERNAL_SCALER_PORT",
        value_name = "PORT",
        default_value_t = 9090
    )]
    pub external_scaler_port: u16,

    /// The release's namespace: where the external scaler's Service and the Lease are. Without it, the pod's own.
    #[arg(long, env = "KEDA_HTTP_OPERATOR_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// How long after the leader's last renewal another replica takes over: whole seconds, above 0.
    #[arg(
        long,
        env = "KEDA_HTTP_OPERATOR_LEADER_ELECTION_LEASE_DURATION",
        value_name = "DURATION",
        default_value = "15s",
        value_parser = duration::parse
    )]
    pub lease_duration: Duration,

    /// How long the leader goes on without a renewal. Shorter than --lease-duration.
    #[arg(
        long,
        env = "KEDA_HTTP_OPERATOR_LEADER_ELECTION_RENEW_DEADLINE",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = duration::parse
    )]
    pub renew_deadline: Duration,

    /// How long from one renewal of the leader's to the next, and from one look of the others' to the next. Above 0 and
    /// shorter than --renew-deadline.
    #[arg(
        long,
        env = "KEDA_HTTP_OPERATOR_LEADER_ELECTION_RETRY_PERIOD",
        value_name = "DURATION",
        default_value = "2s",
        value_parser = duration::parse
    )]
    pub retry_period: Duration,

    /// What is done where KEDA does not act.
    #[command(flatten)]
    pub wake: WakeArgs,

    /// What is said about gateways.
    #[command(flatten)]
    pub gateway: GatewayArgs,

    /// The namespaces whose objects are reconciled, separated by commas. Every namespace when empty.
    #[arg(
        long,
        env = "KEDA_HTTP_OPERATOR_WATCH_NAMESPACE",
        help_heading = "Kubernetes",
        value_name = "NAMESPACES",
        default_value = "",
        hide_default_value = true
    )]
    pub watch_namespace: String,

    /// Reconciles the objects of the namespaces whose labels match, as they come and go (`tenant=yes,stage!=dev`). Not
    /// together with --watch-namespace.
    #[arg(
        long,
        env = "ROUSE_WATCH_NAMESPACE_SELECTOR",
        help_heading = "Kubernetes",
        value_name = "SELECTOR",
        default_value = "",
        hide_default_value = true
    )]
    pub watch_namespace_selector: String,
}

/// Checked settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The external scaler's Service.
    pub external_scaler_service: String,
    /// The external scaler's port.
    pub external_scaler_port: u16,
    /// The release's namespace.
    pub namespace: String,
    /// The namespaces whose objects are reconciled.
    pub scope: Scope,
    /// Who this replica is in the Lease and in events.
    pub identity: String,
    /// See [`LeaseConfig`].
    pub lease_duration: Duration,
    /// See [`LeaseConfig`].
    pub renew_deadline: Duration,
    /// See [`LeaseConfig`].
    pub retry_period: Duration,
    /// What is done where KEDA does not act.
    pub wake: WakeConfig,
    /// `None` where gateways are left to the user.
    pub(crate) gateway: Option<GatewaySettings>,
}

/// Everything that is wrong with the options, together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// One per option, each a whole sentence without its full stop.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("; "))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Checks the options. `own_namespace` is the namespace that the client is in, for where none is given.
    ///
    /// # Errors
    ///
    /// Names every option that cannot be used.
    pub fn new(args: Args, own_namespace: &str) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        if args.external_scaler_service.is_empty() {
            problems.push("--external-scaler-service is empty".to_owned());
        }
        if args.external_scaler_port == 0 {
            problems.push("--external-scaler-port is 0".to_owned());
        }
        if args.lease_duration.subsec_nanos() != 0 || args.lease_duration.is_zero() {
            problems.push(format!(
                "--lease-duration is {:?}, not a number of whole seconds above 0",
                args.lease_duration
            ));
        }
        if args.renew_deadline >= args.lease_duration {
            problems.push(format!(
                "--renew-deadline ({:?}) is not shorter than --lease-duration ({:?})",
                args.renew_deadline, args.lease_duration
            ));
        }
        if args.retry_period.is_zero() || args.retry_period >= args.renew_deadline {
            problems.push(format!(
                "--retry-period ({:?}) is not above 0 and shorter than --renew-deadline ({:?})",
                args.retry_period, args.renew_deadline
            ));
        }
        // The operator's own setting; the other parts' has another name.
        let scope = ScopeArgs {
            watch_namespace: args.watch_namespace,
            watch_namespace_selector: args.watch_namespace_selector,
        };
        let scope = Scope::try_from(scope).map_err(|error| problems.push(error.to_string()));
        let namespace = args.namespace.filter(|namespace| !namespace.is_empty());
        let namespace = namespace.unwrap_or_else(|| own_namespace.to_owned());
        let gateway = args.gateway.settings(&namespace);
        let gateway = gateway.map_err(|error| problems.push(error.to_string()));
        let (Ok(scope), Ok(gateway), true) = (scope, gateway, problems.is_empty()) else {
            return Err(ConfigError { problems });
        };
        Ok(Self {
            wake: args.wake.config(&namespace),
            listen: SocketAddr::new(args.bind_address, args.port),
            external_scaler_service: args.external_scaler_service,
            external_scaler_port: args.external_scaler_port,
            namespace,
            scope,
            identity: identity(),
            lease_duration: args.lease_duration,
            renew_deadline: args.renew_deadline,
            retry_period: args.retry_period,
            gateway,
        })
    }

    pub(crate) fn scaler(&self) -> ScalerAddress {
        ScalerAddress {
            service: self.external_scaler_service.clone(),
            namespace: self.namespace.clone(),
            port: self.external_scaler_port,
        }
    }

    pub(crate) fn lease(&self) -> LeaseConfig {
        LeaseConfig {
            namespace: self.namespace.clone(),
            name: LEASE.to_owned(),
            identity: self.identity.clone(),
            lease_duration: self.lease_duration,
            renew_deadline: self.renew_deadline,
            retry_period: self.retry_period,
        }
    }
}

/// The pod's name, and something that is another after a restart: what leads is this process, not the next one in its pod.
fn identity() -> String {
    let name = ["POD_NAME", "HOSTNAME"]
        .into_iter()
        .filter_map(|variable| env::var(variable).ok())
        .find(|name| !name.is_empty());
    let random = RandomState::new().build_hasher().finish();
    format!("{}_{random:016x}", name.as_deref().unwrap_or("rouse-controller"))
}

#[cfg(test)]
mod tests;
