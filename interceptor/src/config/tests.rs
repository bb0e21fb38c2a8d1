use clap::{CommandFactory as _, Parser};
use rouse_routing::{RouteId, RouteKind};

use super::*;
use crate::plan::{RouteTimeouts, TargetKey, TargetPort};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn parse(flags: &[&str]) -> Args {
    Cli::try_parse_from(std::iter::once("interceptor").chain(flags.iter().copied()))
        .expect("the flags parse")
        .args
}

fn config(flags: &[&str]) -> Config {
    Config::try_from(parse(flags)).expect("the settings are good")
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "deadlines are optional wherever they are compared"
)]
fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn route(readiness: Option<Duration>, has_fallback: bool) -> RouteConfig {
    let target = |service: &str| TargetKey {
        namespace: "shop".into(),
        service: service.into(),
        port: TargetPort::Number(80),
    };
    RouteConfig {
        id: RouteId::new(RouteKind::InterceptorRoute, "shop", "front"),
        target: target("front"),
        fallback: has_fallback.then(|| target("sorry")),
        concurrency_target: None,
        rate_window: None,
        max_pending: None,
        timeouts: RouteTimeouts {
            readiness,
            ..RouteTimeouts::default()
        },
    }
}

#[test]
fn the_command_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn default_args_are_those_of_an_empty_command_line() {
    assert_eq!(Args::default(), parse(&[]));
}

#[test]
fn every_setting_can_be_given_in_the_environment() {
    for arg in Cli::command()
        .get_arguments()
        .filter(|arg| arg.get_id() != "help")
    {
        let env = arg.get_env().expect("an environment variable").to_string_lossy();
        assert!(
            env.starts_with("KEDA_") || env.starts_with("ROUSE_"),
            "{} is read from {env}",
            arg.get_id()
        );
    }
}

#[test]
fn the_defaults_are_bounded() {
    let config = config(&[]);

    assert_eq!(config.proxy_addr.port(), 8080);
    assert_eq!(config.admin_addr.port(), 9090);
    assert!(config.proxy_addr.ip().is_unspecified());
    assert!(config.cold_start_header);
    assert!(!config.log_requests);
    assert_eq!(config.shutdown_delay, Duration::from_secs(5));
    assert_eq!(config.drain_timeout, seconds(30));
    assert_eq!(
        config.pending,
        PendingLimits {
            per_route: 1_000,
            total: 20_000,
            bytes: 256 << 20,
        }
    );
    assert_eq!(config.timeouts.connect, Duration::from_millis(500));
    assert_eq!(config.downstream.idle_timeout, Duration::from_mins(66));
    assert_eq!(config.downstream.connection_window_bytes(), 16 << 20);
    assert_eq!(config.warnings(), []);
}

#[test]
fn zero_is_no_bound_where_the_user_writes_it() {
    let config = config(&[
        "--cold-start-max-pending-requests=0",
        "--max-pending-requests=0",
        "--max-pending-bytes=0",
        "--drain-timeout=0",
        "--response-header-timeout=0s",
        "--max-connections=0",
    ]);

    assert_eq!(
        config.pending,
        PendingLimits {
            per_route: usize::MAX,
            total: usize::MAX,
            bytes: u64::MAX,
        }
    );
    assert_eq!(config.drain_timeout, None);
    assert_eq!(
        config.timeouts.for_route(&route(None, false)).response_header,
        None
    );
    assert_eq!(config.downstream.connections, usize::MAX);
}

#[test]
fn everything_that_is_wrong_is_reported_together() {
    let error = Config::try_from(parse(&[
        "--proxy-port=9090",
        "--connect-timeout=0",
        "--idle-timeout=9000h",
        "--max-header-bytes=1Ki",
        "--workers=0",
    ]))
    .expect_err("the settings are bad");

    assert_eq!(
        error.to_string(),
        "--proxy-port and --admin-port are both 9090; --connect-timeout cannot be 0; \
         --max-header-bytes is 1024, which is not between 8192 and 16777216; \
         --idle-timeout is longer than a year; --workers is 0, which is not between 1 and 1024"
    );
}

#[test]
fn both_ports_may_be_left_to_the_system() {
    let config = config(&["--proxy-port=0", "--admin-port=0"]);

    assert_eq!((config.proxy_addr.port(), config.admin_addr.port()), (0, 0));
}

#[test]
fn deprecated_timeouts_win_when_above_zero_and_say_so() {
    let flags = ["--readiness-timeout=40s", "--response-header-timeout=50s"];
    let old = [
        "--condition-wait-timeout=20s",
        "--deprecated-response-header-timeout=10s",
    ];
    let config = config(&[flags, old].concat());

    let timeouts = config.timeouts.for_route(&route(None, false));
    assert_eq!(timeouts.readiness, seconds(20));
    assert_eq!(timeouts.response_header, seconds(10));
    let warnings: Vec<String> = config.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "KEDA_CONDITION_WAIT_TIMEOUT is deprecated, use KEDA_HTTP_READINESS_TIMEOUT; its value is used",
            "KEDA_RESPONSE_HEADER_TIMEOUT is deprecated, use KEDA_HTTP_RESPONSE_HEADER_TIMEOUT; its value is used",
        ]
    );
}

#[test]
fn deprecated_timeouts_of_zero_are_passed_over() {
    let config = config(&["--readiness-timeout=40s", "--condition-wait-timeout=0"]);

    assert_eq!(
        config.timeouts.for_route(&route(None, false)).readiness,
        seconds(40)
    );
    assert_eq!(config.warnings(), []);
}

#[test]
fn the_hold_ends_when_the_nearest_word_on_it_says() {
    let unset = &[][..];
    let after = &["--readiness-timeout=40s"][..];
    let unlimited = &["--readiness-timeout=0"][..];
    let own = seconds(7);
    let zero = Some(Duration::ZERO);
    // flags, the route's own, has a fallback → the hold, the hold while a pod waits for a node
    let cases = [
        (unset, None, false, seconds(180), seconds(360)),
        (unset, None, true, seconds(30), seconds(30)),
        (unset, own, false, own, own),
        (unset, own, true, own, own),
        (unset, zero, false, None, None),
        (unset, zero, true, seconds(30), seconds(30)),
        (after, None, false, seconds(40), seconds(360)),
        (after, None, true, seconds(40), seconds(40)),
        (after, zero, false, None, None),
        (unlimited, None, false, None, None),
        (unlimited, None, true, seconds(30), seconds(30)),
        (unlimited, own, false, own, own),
    ];
    for (flags, own, has_fallback, hold, hold_for_node) in cases {
        let timeouts = config(flags).timeouts.for_route(&route(own, has_fallback));
        assert_eq!(
            (timeouts.readiness, timeouts.readiness_waiting_for_node),
            (hold, hold_for_node),
            "flags {flags:?}, route {own:?}, fallback {has_fallback}"
        );
    }
}

#[test]
fn waiting_for_a_node_never_shortens_the_hold() {
    let config = config(&["--readiness-timeout=10m"]);

    let timeouts = config.timeouts.for_route(&route(None, false));
    assert_eq!(timeouts.readiness_waiting_for_node, seconds(600));
}

#[test]
fn switches_take_the_words_that_go_takes() {
    for (flag, expected) in [
        ("--log-requests", true),
        ("--log-requests=true", true),
        ("--log-requests=1", true),
        ("--log-requests=False", false),
        ("--log-requests=0", false),
    ] {
        assert_eq!(parse(&[flag]).log_requests, expected, "{flag}");
    }
    assert!(!parse(&["--cold-start-header=false"]).cold_start_header);
}

#[test]
fn sizes_are_read_as_kubernetes_writes_them() {
    use super::bytes::{ParseBytesError, parse};
    for (text, expected) in [
        ("0", Ok(0)),
        ("65536", Ok(65_536)),
        ("64Ki", Ok(65_536)),
        ("256MiB", Ok(256 << 20)),
        (" 1Gi ", Ok(1 << 30)),
        ("", Err(ParseBytesError::Malformed)),
        ("Ki", Err(ParseBytesError::Malformed)),
        ("-1", Err(ParseBytesError::Malformed)),
        ("1.5Gi", Err(ParseBytesError::Malformed)),
        ("1Ti", Err(ParseBytesError::Malformed)),
        ("99999999999999999999", Err(ParseBytesError::TooLarge)),
        ("99999999999Gi", Err(ParseBytesError::TooLarge)),
    ] {
        assert_eq!(parse(text), expected, "{text:?}");
    }
}
