//! Bad input: one clear line that says where and what, and exit status 64.

use std::{
    io::Write as _,
    net::TcpListener,
    process::{Command, Output, Stdio},
};

use rouse_tests::{Rouse, http, manifest::Tenant, rouse_program};

fn rouse(arguments: &[&str]) -> Output {
    Command::new(rouse_program())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("rouse runs")
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new()
        .suffix(".yaml")
        .tempfile()
        .expect("a file");
    file.write_all(text.as_bytes()).expect("room for it");
    file
}

/// Runs `rouse local -f` on `text` and asserts one line on standard error that has all of `words`, and status 64.
#[track_caller]
fn assert_refused(text: &str, words: &[&str]) {
    let file = file(text);
    let name = file
        .path()
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a name")
        .to_owned();
    let output = rouse(&["local", "-f", file.path().to_str().expect("a path")]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{errors}");
    assert_eq!(errors.lines().count(), 1, "one line:\n{errors}");
    for word in words.iter().copied().chain([name.as_str()]) {
        assert!(errors.contains(word), "«{word}» is missing in: {errors}");
    }
}

#[test]
fn invalid_yaml_is_named_by_file_and_line() {
    assert_refused("apiVersion: v1\nkind: [Service\n", &["line"]);
}

#[test]
fn an_unknown_kind_is_named_by_document() {
    let yaml = format!(
        "{}apiVersion: apps/v1\nkind: Deploymint\nmetadata: {{ name: x }}\n",
        Tenant::new("a").yaml()
    );
    assert_refused(&yaml, &["document 4", "kind", "Deploymint"]);
}

#[test]
fn a_route_without_its_service_is_named() {
    let yaml = Tenant::new("a").yaml().replacen(
        "kind: Service\nmetadata: { name: a }",
        "kind: Service\nmetadata: { name: b }",
        1,
    );
    assert_refused(&yaml, &["document 3", "spec.scaleTargetRef.service"]);
}

#[test]
fn a_port_that_the_service_does_not_have_is_named() {
    let yaml = Tenant::new("a")
        .yaml()
        .replace("service: a, port: 8000", "service: a, port: 8001");
    assert_refused(&yaml, &["document 3", "spec.scaleTargetRef.port", "8001"]);
}

#[test]
fn a_wrong_type_is_named_by_field() {
    assert_refused(
        &Tenant::new("a").yaml().replace("replicas: 0", "replicas: none"),
        &["document 1", "spec.replicas"],
    );
}

#[test]
fn an_unknown_flag_and_a_missing_file_are_bad_usage() {
    let output = rouse(&["local", "--no-such-flag"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{errors}");
    assert!(errors.contains("--no-such-flag"), "{errors}");

    let output = rouse(&["local", "-f", "/no/such/file.yaml"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        (output.status.code(), errors.lines().count()),
        (Some(64), 1),
        "{errors}"
    );
    assert!(errors.contains("/no/such/file.yaml"), "{errors}");
}

#[test]
fn a_port_that_was_asked_for_and_is_taken_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("an address").to_string();
    let output = rouse(&["local", "--listen", &addr]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        (output.status.code(), errors.lines().count()),
        (Some(64), 1),
        "{errors}"
    );
    assert!(errors.contains("--listen") && errors.contains(&addr), "{errors}");
}

#[test]
fn two_routes_with_the_same_match_are_a_warning_and_the_first_in_the_file_serves() {
    let second = Tenant::new("second").yaml().replace("second.test", "first.test");
    let rouse = Rouse::start(&format!("{}{second}", Tenant::new("first").yaml()), &[]);
    let said = rouse.said();
    let warning = said
        .lines()
        .find(|line| line.starts_with("warning:"))
        .expect("a warning");
    assert!(
        warning.contains("first") && warning.contains("second") && warning.contains("first.test"),
        "{warning}"
    );
    let answer = http::get(rouse.proxy(), "first.test", "/");
    assert!(
        answer.json()["hostname"]
            .as_str()
            .is_some_and(|name| name.starts_with("first-")),
        "{answer:?}"
    );
}
