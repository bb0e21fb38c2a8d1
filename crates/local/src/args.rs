//! The flags of `rouse local`, as typed by the user.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rouse_daemon::duration;

use crate::manifest::RunOverride;

/// Options of `rouse local`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Manifests to run: a file, a directory (its `*.yaml`), or - for standard input; may be given several times. Without
    /// any, the demo runs: the host chatbot.example.com, from zero.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub filename: Vec<PathBuf>,

    /// Where requests are accepted. Without this, 127.0.0.1:8080 or the next free port; with it, this or an error.
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,

    /// Where /queue, /metrics, /livez and /readyz are served. Without this, 127.0.0.1:9090 or the next free port.
    #[arg(long, value_name = "IP:PORT")]
    pub admin: Option<SocketAddr>,

    /// Where the external scaler's gRPC service is. Without this, 127.0.0.1:9095 or the next free port.
    #[arg(long, value_name = "IP:PORT")]
    pub scaler: Option<SocketAddr>,

    /// What to execute where a container has this image (with or without its tag): `{port}` and `{host}` are the replica's
    /// own, quotes work as in a shell. May be given several times.
    #[arg(long, value_name = "IMAGE=COMMAND")]
    pub run: Vec<RunOverride>,

    /// How long the scaling loop waits between two looks at activity and metrics, from 50ms to 1h. Requests at zero are
    /// pushed and do not wait for it.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = polling_interval)]
    pub polling_interval: Duration,

    /// How long the first replica of a Deployment is Pending, as if a node had to come for it. 0 for not at all.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration::parse)]
    pub node_delay: Duration,

    /// Where the output of each replica is kept, in `NAMESPACE/POD.log`. Without this, `rouse/logs` in `$XDG_STATE_HOME` or
    /// `~/.local/state`.
    #[arg(long, value_name = "DIRECTORY")]
    pub log_dir: Option<PathBuf>,

    /// Show the output of each replica on the terminal, too.
    #[arg(long)]
    pub logs: bool,

    /// How long a request may be held for a replica, where its route does not say. 0 for no limit. Without this, what
    /// `rouse interceptor` takes: its variable, else its default.
    #[arg(long, value_name = "DURATION")]
    pub readiness_timeout: Option<String>,

    /// How many requests one route may hold at once, 0 for no bound. Without this, the interceptor's
    /// `cold-start-max-pending-requests`: its variable, else its default.
    #[arg(long, value_name = "COUNT")]
    pub max_pending: Option<u32>,

    /// After SIGTERM or Ctrl-C, how long requests that are being answered may take to finish. 0 waits for ever.
    /// Without this, what `rouse interceptor` takes.
    #[arg(long, value_name = "DURATION")]
    pub drain_timeout: Option<String>,

    /// How many threads serve requests. Without this, what `rouse interceptor` takes.
    #[arg(long, value_name = "COUNT")]
    pub workers: Option<u32>,

    /// One log line for each request.
    #[arg(long)]
    pub log_requests: bool,

    /// More settings of the interceptor, after `--`, as `rouse interceptor` takes them. Its variables count here as well, but
    /// for addresses, ports and the shutdown delay, which is 0.
    #[arg(last = true, value_name = "INTERCEPTOR OPTIONS")]
    pub interceptor: Vec<OsString>,
}

const SHORTEST_POLLING_INTERVAL: Duration = Duration::from_millis(50);
const LONGEST_POLLING_INTERVAL: Duration = Duration::from_hours(1);

fn polling_interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text).map_err(|error| error.to_string())?;
    if (SHORTEST_POLLING_INTERVAL..=LONGEST_POLLING_INTERVAL).contains(&interval) {
        Ok(interval)
    } else {
        Err("must be from 50ms to 1h".to_owned())
    }
}

/// The interceptor's own flags, read as they would be by `rouse interceptor`.
#[derive(Debug, clap::Parser)]
#[command(name = "rouse local --", no_binary_name = true, disable_help_flag = true)]
struct Passed {
    #[command(flatten)]
    args: rouse_interceptor::Args,
}

impl Args {
    /// The interceptor's settings with its own defaults and variables, what was passed on, and what belongs to one
    /// machine: no shutdown delay, as nobody has to hear of this proxy's end before it comes.
    ///
    /// # Errors
    /// What clap says of the options that were passed on.
    pub(crate) fn interceptor_args(
        &self,
        listen: SocketAddr,
        admin: SocketAddr,
    ) -> Result<rouse_interceptor::Args, clap::Error> {
        let mut words: Vec<OsString> = Vec::new();
        let mut pass = |name: &str, value: String| words.push(format!("--{name}={value}").into());
        if let Some(timeout) = &self.readiness_timeout {
            pass("readiness-timeout", timeout.clone());
        }
        if let Some(count) = self.max_pending {
            pass("cold-start-max-pending-requests", count.to_string());
        }
        if let Some(timeout) = &self.drain_timeout {
            pass("drain-timeout", timeout.clone());
        }
        if let Some(count) = self.workers {
            pass("workers", count.to_string());
        }
        words.extend(self.interceptor.iter().cloned());
        let mut args = <Passed as clap::Parser>::try_parse_from(words)?.args;
        args.proxy_address = Some(listen.ip());
        args.proxy_port = listen.port();
        args.admin_address = Some(admin.ip());
        args.admin_port = admin.port();
        args.shutdown_delay = Duration::ZERO;
        args.log_requests |= self.log_requests;
        Ok(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        Cli::try_parse_from(["local"].iter().chain(words)).map(|cli| cli.args)
    }

    fn interceptor_args(words: &[&str]) -> Result<rouse_interceptor::Args, clap::Error> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        parse(words).unwrap().interceptor_args(address, address)
    }

    #[test]
    fn the_defaults_are_those_of_one_machine() {
        let args = parse(&[]).unwrap();
        assert_eq!(
            (args.polling_interval, args.node_delay),
            (Duration::from_secs(1), Duration::ZERO)
        );
        let interceptor = interceptor_args(&[]).unwrap();
        assert_eq!(interceptor.shutdown_delay, Duration::ZERO);
        assert_eq!(interceptor.proxy_address, Some([127, 0, 0, 1].into()));
    }

    #[test]
    fn the_interceptors_settings_are_passed_on() {
        let words = [
            "--readiness-timeout",
            "7s",
            "--max-pending=5",
            "--",
            "--connect-timeout=900ms",
        ];
        let interceptor = interceptor_args(&words).unwrap();
        assert_eq!(interceptor.readiness_timeout, Some(Duration::from_secs(7)));
        assert_eq!(interceptor.cold_start_max_pending_requests, 5);
        assert_eq!(interceptor.connect_timeout, Duration::from_millis(900));
        assert!(interceptor_args(&["--", "--no-such-flag"]).is_err());
        assert!(interceptor_args(&["--readiness-timeout", "7"]).is_err());
    }

    #[test]
    fn a_polling_interval_out_of_bounds_is_refused() {
        for text in ["0", "49ms", "2h", "5"] {
            assert!(parse(&["--polling-interval", text]).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bad_override_says_what_is_wrong() {
        let error = parse(&["--run", "web"]).unwrap_err().to_string();
        assert!(error.contains("expected IMAGE=COMMAND"), "{error}");
    }
}
