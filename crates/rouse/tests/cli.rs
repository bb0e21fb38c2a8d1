//! The binary's command line: what it prints where, and its exit status.

#![expect(
    clippy::unwrap_used,
    reason = "clippy's exception for tests does not reach their helpers"
)]

use std::{
    fs::OpenOptions,
    process::{Command, Output, Stdio},
};

fn rouse(args: &[&str]) -> Output {
    rouse_with(args, &[])
}

fn rouse_with(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rouse"))
        .args(args)
        .env_remove("RUST_LOG")
        .env_remove("ROUSE_LOG_FORMAT")
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Fails unless the output is one line on standard error that contains `text`, with the status for bad usage.
#[track_caller]
fn assert_bad_usage(output: &Output, text: &str) {
    assert_eq!(output.status.code(), Some(64), "stderr: {}", stderr(output));
    assert_eq!(stdout(output), "");
    assert_eq!(stderr(output).lines().count(), 1, "{}", stderr(output));
    assert!(
        stderr(output).contains(text),
        "`{text}` is missing: {}",
        stderr(output)
    );
}

#[test]
fn the_version_is_printed_with_status_0() {
    let output = rouse(&["--version"]);
    assert!(output.status.success());
    assert_eq!(stdout(&output), format!("rouse {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_lists_the_commands_and_hides_the_internal_one() {
    let output = rouse(&["--help"]);
    assert!(output.status.success());
    for command in [
        "interceptor",
        "external-scaler",
        "controller",
        "local",
        "demo-app",
        "crds",
    ] {
        assert!(
            stdout(&output).contains(&format!("\n  {command} ")),
            "{}",
            stdout(&output)
        );
    }
    assert!(!stdout(&output).contains("local-shim"), "{}", stdout(&output));
}

#[test]
fn without_a_command_the_help_goes_to_stderr_with_status_64() {
    let output = rouse(&[]);
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("Usage: rouse"), "{}", stderr(&output));
}

#[test]
fn bad_usage_is_one_line_and_status_64() {
    assert_bad_usage(&rouse(&["nonsense"]), "'nonsense'");
    assert_bad_usage(&rouse(&["--nonsense"]), "'--nonsense'");
    assert_bad_usage(&rouse(&["demo-app", "--prot", "80"]), "'--port'");
    assert_bad_usage(&rouse(&["demo-app", "--port", "http"]), "--port");
    assert_bad_usage(&rouse(&["local", "--lisen", "127.0.0.1:0"]), "'--listen'");
    assert_bad_usage(&rouse(&["local", "-f", "nowhere.yaml"]), "nowhere.yaml");
    assert_bad_usage(
        &rouse(&["local", "--log-dir", "/dev/null/logs"]),
        "--log-dir /dev/null/logs: ",
    );
    assert_bad_usage(&rouse(&["local-shim"]), "<COMMAND>");
    assert_bad_usage(
        &rouse(&["interceptor", "--workers=0", "--watch-namespace=Shop"]),
        "--workers is 0, which is not between 1 and 1024; --watch-namespace: \"Shop\"",
    );
    assert_bad_usage(
        &rouse(&["external-scaler", "--target-admin-port=Admin"]),
        "--target-admin-port",
    );
    assert_bad_usage(&rouse(&["demo-app", "--log-format", "xml"]), "xml");
}

#[test]
fn bad_settings_in_the_environment_are_one_line_and_status_64() {
    let output = rouse_with(&["demo-app", "--port", "0"], &[("RUST_LOG", "rouse=loud")]);
    assert_bad_usage(&output, "RUST_LOG");
    let output = rouse_with(&["demo-app", "--port", "0"], &[("ROUSE_LOG_FORMAT", "xml")]);
    assert_bad_usage(&output, "xml");
}

#[test]
fn crds_prints_both_definitions_and_nothing_else() {
    let output = rouse(&["crds"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let names: Vec<_> = stdout(&output)
        .split("---\n")
        .filter_map(|document| document.lines().find_map(|line| line.strip_prefix("  name: ")))
        .collect();
    assert_eq!(
        names,
        ["httpscaledobjects.http.keda.sh", "interceptorroutes.http.keda.sh"]
    );
}

#[test]
fn without_a_cluster_what_is_missing_is_named() {
    for command in ["interceptor", "external-scaler", "controller"] {
        let output = Command::new(env!("CARGO_BIN_EXE_rouse"))
            .args([command, "--log-format=text"])
            .env_clear()
            .env("RUST_LOG", "off")
            .env("HOME", "/nonexistent")
            .env("KUBECONFIG", "/nonexistent/kubeconfig")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        for part in ["/nonexistent/kubeconfig", "KUBERNETES_SERVICE_HOST"] {
            assert!(stderr(&output).contains(part), "{part}: {}", stderr(&output));
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure_that_is_named() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rouse"))
        .arg("crds")
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    assert!(
        stderr(&output).starts_with("error: write to standard output: "),
        "{}",
        stderr(&output)
    );
}
