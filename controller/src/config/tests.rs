use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn config(options: &[&str]) -> Result<Config, ConfigError> {
    let cli = Cli::try_parse_from(["controller"].iter().chain(options)).expect("options");
    Config::new(cli.args, "keda")
}

#[test]
fn without_options_everything_has_its_default() {
    let config = config(&[]).unwrap();
    assert_eq!(config.listen, "0.0.0.0:8081".parse().unwrap());
    assert_eq!(
        config.scaler().to_string(),
        "keda-add-ons-http-external-scaler.keda:9090"
    );
    assert_eq!(config.scope, Scope::All);
    assert_eq!(config.lease().namespace, "keda");
    assert_eq!(config.lease().name, "rouse-controller");
}

#[test]
fn two_processes_never_have_one_identity() {
    assert_ne!(config(&[]).unwrap().identity, config(&[]).unwrap().identity);
}

#[test]
fn all_problems_are_told_at_once() {
    let error = config(&[
        "--lease-duration=1500ms",
        "--renew-deadline=20s",
        "--retry-period=0",
        "--external-scaler-port=0",
        "--watch-namespace=Not_A_Name",
    ])
    .expect_err("five options are wrong");
    assert_eq!(error.problems.len(), 5, "{error}");
}
