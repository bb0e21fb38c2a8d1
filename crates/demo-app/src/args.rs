//! What the user typed.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use rouse_daemon::duration;

/// Serve the demo application.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one, which is printed.
    #[arg(long, env = "PORT", default_value_t = 9898)]
    pub port: u16,
    /// Wait this long before listening, as an application that is slow to start does.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration::parse)]
    pub listen_delay: Duration,
    /// Answer 503 on /readyz for this long after listening.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration::parse)]
    pub ready_delay: Duration,
    /// Answer 503 on /readyz for ever.
    #[arg(long)]
    pub never_ready: bool,
    /// End the process this long after its start, whatever it is doing.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub exit_after: Option<Duration>,
    /// The exit status that --exit-after and --fail-starts end with.
    #[arg(long, default_value_t = 1)]
    pub exit_code: u8,
    /// End with the status of --exit-code in place of listening, this many times, as an application does that crashes before
    /// it is up. --record-starts counts the times.
    #[arg(long, value_name = "COUNT", default_value_t = 0, requires = "record_starts")]
    pub fail_starts: u64,
    /// Append a line `pid` to this file at every start. Several processes may share it.
    #[arg(long, value_name = "FILE")]
    pub record_starts: Option<PathBuf>,
    /// Answer 500 to this many requests before answering any properly.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub fail_requests: u64,
    /// Read this many requests and close their connections without an answer before answering any properly.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub abort_requests: u64,
    /// Append a line `pid request-id method path` to this file for every request executed. Several processes may share it.
    #[arg(long, value_name = "FILE")]
    pub record_executed: Option<PathBuf>,
    /// How long requests in flight may take to end after SIGTERM.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    pub drain_timeout: Duration,
    /// The color in /api/info.
    #[arg(long, env = "PODINFO_UI_COLOR", default_value = "#34577c")]
    pub color: String,
    /// The message in /api/info.
    #[arg(
        long,
        env = "PODINFO_UI_MESSAGE",
        default_value = "greetings from the rouse demo app"
    )]
    pub message: String,
}

impl Default for Args {
    /// The command's own defaults, except that a free port is taken.
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            listen_delay: Duration::ZERO,
            ready_delay: Duration::ZERO,
            never_ready: false,
            exit_after: None,
            exit_code: 1,
            fail_starts: 0,
            record_starts: None,
            fail_requests: 0,
            abort_requests: 0,
            record_executed: None,
            drain_timeout: Duration::from_secs(30),
            color: "#34577c".to_owned(),
            message: "greetings from the rouse demo app".to_owned(),
        }
    }
}
