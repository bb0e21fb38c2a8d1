//! What can be set, under the add-on's names where it has one.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use rouse_daemon::duration;

/// Options of `rouse external-scaler`. The add-on's settings for its polling (`KEDA_HTTP_QUEUE_TICK_DURATION`,
/// `KEDA_HTTP_SCALER_STREAM_INTERVAL_MS`) have no meaning here, because nothing is polled.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "External scaler")]
pub struct Args {
    /// The port of the gRPC service, and of /livez, /readyz and /metrics, 0 for any free one.
    #[arg(
        long,
        env = "KEDA_HTTP_SCALER_PORT",
        value_name = "PORT",
        default_value_t = 9090
    )]
    pub port: u16,

    /// The address to listen on. `::` stands for every address of the machine, IPv6 included; the default for every IPv4
    /// address.
    #[arg(
        long,
        env = "KEDA_HTTP_SCALER_BIND_ADDRESS",
        value_name = "IP",
        default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    )]
    pub bind_address: IpAddr,

    /// The admin addresses of the interceptors, separated by commas, where they are not to be looked for behind a Service.
    #[arg(
        long,
        env = "KEDA_HTTP_SCALER_INTERCEPTORS",
        value_name = "IP:PORT",
        value_delimiter = ','
    )]
    pub interceptors: Vec<SocketAddr>,

    /// The polling interval of the ScaledObjects that are made from HTTPScaledObjects, above 0 and at most 1h. An
    /// HTTPScaledObject stays active for as long after its last request, so that KEDA's polls see low traffic.
    #[arg(
        long,
        env = "KEDA_HTTP_SCALER_HTTPSO_POLLING_INTERVAL",
        value_name = "DURATION",
        default_value = "15s",
        value_parser = duration::parse
    )]
    pub httpso_polling_interval: Duration,

    /// How long the last counts of an interceptor that is listed but silent stand. 0 drops them at once.
    #[arg(
        long,
        env = "KEDA_HTTP_SCALER_PEER_RETENTION",
        value_name = "DURATION",
        default_value = "1m",
        value_parser = duration::parse
    )]
    pub peer_retention: Duration,

    /// How long no route is called idle while a listed interceptor is silent. KEDA gets UNAVAILABLE meanwhile, and scales
    /// nothing to zero. One whose host refuses the connection is waited for only as long as its counts stand.
    /// Not shorter than --peer-retention.
    #[arg(
        long,
        env = "KEDA_HTTP_SCALER_PEER_GIVE_UP",
        value_name = "DURATION",
        default_value = "10m",
        value_parser = duration::parse
    )]
    pub peer_give_up: Duration,

    /// How long after its opening the first stream of each ScaledObject ends cleanly, once, which makes KEDA forget the
    /// errors that it saw before this process started. 0 turns this off.
    #[arg(
        long,
        env = "KEDA_HTTP_SCALER_CLEAN_END_AFTER",
        value_name = "DURATION",
        default_value = "1s",
        value_parser = duration::parse
    )]
    pub clean_end_after: Duration,

    /// How long connections have to finish at shutdown, at most 1h; then they are cut.
    #[arg(
        long,
        env = "KEDA_HTTP_SCALER_DRAIN_TIMEOUT",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = duration::parse
    )]
    pub drain_timeout: Duration,
}

/// Checked settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Admin addresses of the interceptors to begin with; more come by [`PeersHandle::set`](crate::PeersHandle::set).
    pub interceptors: Vec<SocketAddr>,
    /// How long an HTTPScaledObject stays active after its last request: KEDA's polling interval for it.
    pub httpso_polling_interval: Duration,
    /// How long a silent interceptor's last counts stand.
    pub peer_retention: Duration,
    /// How long no route is called idle while a listed interceptor is silent.
    pub peer_give_up: Duration,
    /// How long after its opening each ScaledObject's first stream ends cleanly, once. `None` where the client is not KEDA.
    pub clean_end_after: Option<Duration>,
    /// How long connections have to finish at shutdown.
    pub drain_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9090)),
            interceptors: Vec::new(),
            httpso_polling_interval: Duration::from_secs(15),
            peer_retention: Duration::from_mins(1),
            peer_give_up: Duration::from_mins(10),
            clean_end_after: Some(Duration::from_secs(1)),
            drain_timeout: Duration::from_secs(5),
        }
    }
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

const LONGEST_POLLING_INTERVAL: Duration = Duration::from_hours(1);
const LONGEST_DRAIN: Duration = Duration::from_hours(1);

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    fn try_from(args: Args) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        if args.httpso_polling_interval.is_zero() || args.httpso_polling_interval > LONGEST_POLLING_INTERVAL {
            problems.push(format!(
                "--httpso-polling-interval is {:?}, not above 0 and at most {LONGEST_POLLING_INTERVAL:?}",
                args.httpso_polling_interval
            ));
        }
        if args.peer_give_up < args.peer_retention {
            problems.push(format!(
                "--peer-give-up ({:?}) is shorter than --peer-retention ({:?})",
                args.peer_give_up, args.peer_retention
            ));
        }
        if args.drain_timeout > LONGEST_DRAIN {
            problems.push(format!(
                "--drain-timeout is {:?}, above {LONGEST_DRAIN:?}",
                args.drain_timeout
            ));
        }
        for addr in args.interceptors.iter().filter(|addr| addr.port() == 0) {
            problems.push(format!("--interceptors has {addr}, which has no port"));
        }
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        Ok(Self {
            listen: SocketAddr::new(args.bind_address, args.port),
            interceptors: args.interceptors,
            httpso_polling_interval: args.httpso_polling_interval,
            peer_retention: args.peer_retention,
            peer_give_up: args.peer_give_up,
            clean_end_after: Some(args.clean_end_after).filter(|after| !after.is_zero()),
            drain_timeout: args.drain_timeout,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn config(options: &[&str]) -> Result<Config, ConfigError> {
        let cli = Cli::try_parse_from(["scaler"].iter().chain(options)).expect("options");
        Config::try_from(cli.args)
    }

    #[test]
    fn without_options_everything_has_its_default() {
        assert_eq!(config(&[]), Ok(Config::default()));
    }

    #[test]
    fn options_arrive_where_they_belong() {
        let config = config(&[
            "--port=1234",
            "--bind-address=127.0.0.1",
            "--interceptors=10.0.0.1:9090,10.0.0.2:9090",
            "--clean-end-after=0",
        ])
        .unwrap();
        assert_eq!(config.listen, "127.0.0.1:1234".parse().unwrap());
        assert_eq!(config.interceptors.len(), 2);
        assert_eq!(config.clean_end_after, None);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let error = config(&[
            "--httpso-polling-interval=0",
            "--peer-give-up=1s",
            "--interceptors=10.0.0.1:0",
        ])
        .expect_err("three options are wrong");
        assert_eq!(error.problems.len(), 3, "{error}");
    }
}
