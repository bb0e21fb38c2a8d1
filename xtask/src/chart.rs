//! `cargo xtask chart`: the tests of the Helm charts. They need Helm and no cluster.
//!
//! Cases are files below `tests/charts`: `cases/CHART/NAME.yaml` holds values, and `NAME.golden` beside it what the chart makes
//! of them (`UPDATE_GOLDEN=1` writes it anew); `rejected/CHART/NAME.yaml` holds values that are refused, and in a comment why.
//! What is rendered is also looked at as a whole: names, references between objects, rights, grace periods, memory.

mod case;
mod crds;
mod environment;
mod examples;
mod grace;
mod helm;
mod objects;
mod permissions;
mod references;
mod security;
mod values;

use std::{env, fs, path::Path, process::ExitCode};

use anyhow::Context as _;
use serde_json::json;

use self::{case::Case, helm::Helm, objects::Objects};
use crate::workspace::{Workspace, say};

const CHARTS: [&str; 2] = ["rouse", "tenant"];

/// Runs every check and prints what it came to.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<ExitCode> {
    let root = workspace.root();
    let mut tests = Tests::default();
    let helm = Helm::find()?;
    say(format_args!("{}", helm.version()?))?;

    tests.run("definitions are those of crates/api", || {
        crds::check_files(root, is_update())
    })?;
    for chart in CHARTS {
        let folder = root.join("charts").join(chart);
        let cases = case::read(&root.join("tests/charts/cases").join(chart))?;
        let rejected = case::read(&root.join("tests/charts/rejected").join(chart))?;
        anyhow::ensure!(
            !cases.is_empty() && !rejected.is_empty(),
            "{chart} has no cases below tests/charts"
        );
        tests.run(&format!("{chart}: every value is explained"), || {
            values::check(&folder)
        })?;
        for case in &cases {
            tests.run(&format!("{chart}: lint, {}", case.name), || {
                helm.lint(&folder, case)
            })?;
            let rendered = helm.template(&folder, case);
            tests.run(&format!("{chart}: golden, {}", case.name), || {
                golden(&rendered, case)
            })?;
            tests.run(&format!("{chart}: objects fit together, {}", case.name), || {
                let objects = Objects::read(&rendered.as_ref().map_err(as_text)?.manifest)?;
                references::check(&objects)?;
                if chart == "rouse" {
                    rouse(root, &objects, case)?;
                }
                Ok(())
            })?;
        }
        for case in &rejected {
            tests.run(&format!("{chart}: refused, {}", case.name), || {
                refused(&helm, &folder, case)
            })?;
        }
    }
    tests.run("tenant: makes what the examples say", || {
        examples::check_tenants(root, &helm)
    })?;
    tests.run("rouse: takes the add-on's defaults of the examples", || {
        examples::check_add_on_defaults(root, &helm)
    })?;
    tests.run("examples: manifests are whole", || {
        examples::check_manifests(root)
    })?;

    say(format_args!("\n{} passed, {} failed", tests.passed, tests.failed))?;
    Ok(if tests.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Compares the definitions in the chart with those of `crates/api`, or copies them.
pub(crate) fn definitions(root: &Path, update: bool) -> anyhow::Result<()> {
    crds::check_files(root, update)
}

/// Whether what is committed is to be written anew.
fn is_update() -> bool {
    env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1")
}

#[derive(Debug, Default)]
struct Tests {
    passed: u32,
    failed: u32,
}

impl Tests {
    fn run(&mut self, name: &str, test: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        match test() {
            Ok(()) => {
                self.passed += 1;
                say(format_args!("ok      {name}"))
            }
            Err(error) => {
                self.failed += 1;
                say(format_args!("FAILED  {name}: {error:#}"))
            }
        }
    }
}

/// What holds of Rouse's own chart, whatever the values.
fn rouse(root: &Path, objects: &Objects, case: &Case) -> anyhow::Result<()> {
    crds::check_rendered(root, objects)?;
    environment::check(root, objects)?;
    permissions::check(objects)?;
    security::check(objects)?;
    grace::check(objects)?;
    if case.name == "default" {
        grace::check_memory(objects)?;
    }
    if case.has_default_names() {
        names(objects)?;
    }
    Ok(())
}

/// The names that users, their Gateways and their ScaledObjects know, and what a Deployment of the add-on's release selects by:
/// a selector cannot be changed, so with any other an upgrade in place is refused.
fn names(objects: &Objects) -> anyhow::Result<()> {
    for (kind, name) in [
        ("Service", "keda-add-ons-http-interceptor-proxy"),
        ("Service", "keda-add-ons-http-interceptor-admin"),
        ("Service", "keda-add-ons-http-external-scaler"),
        ("Deployment", "keda-add-ons-http-controller-manager"),
        ("Deployment", "keda-add-ons-http-interceptor"),
        ("Deployment", "keda-add-ons-http-external-scaler"),
    ] {
        objects
            .of_kind(kind)
            .find(|object| objects::text(object, "/metadata/name") == name)
            .with_context(|| format!("there is no {kind} {name}"))?;
    }
    for deployment in objects.of_kind("Deployment") {
        let selector = &deployment["spec"]["selector"]["matchLabels"];
        let component = match objects::text(deployment, "/metadata/name").rsplit_once("keda-add-ons-http-") {
            Some((_, "controller-manager")) => "operator",
            Some((_, "external-scaler")) => "scaler",
            _ => "interceptor",
        };
        let add_ons = json!({
            "app.kubernetes.io/component": component,
            "app.kubernetes.io/instance": selector["app.kubernetes.io/instance"],
            "app.kubernetes.io/managed-by": "Helm",
            "app.kubernetes.io/name": "http-add-on",
            "app.kubernetes.io/part-of": "keda-add-ons-http",
        });
        anyhow::ensure!(
            *selector == add_ons,
            "{} selects by {selector}, the add-on's by {add_ons}",
            objects::describe(deployment)
        );
    }
    Ok(())
}

/// Compares what was rendered with the file beside the values, or writes the file.
fn golden(rendered: &anyhow::Result<helm::Rendered>, case: &Case) -> anyhow::Result<()> {
    let text = rendered.as_ref().map_err(as_text)?.golden();
    let path = case.path.with_extension("golden");
    if is_update() {
        return fs::write(&path, &text).with_context(|| format!("write {}", path.display()));
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if let Some(difference) = first_difference(&expected, &text) {
        anyhow::bail!(
            "{} differs in {difference}\n        UPDATE_GOLDEN=1 cargo xtask chart writes it anew",
            path.display()
        );
    }
    Ok(())
}

fn first_difference(expected: &str, got: &str) -> Option<String> {
    if expected == got {
        return None;
    }
    let (mut expected, mut got) = (expected.lines(), got.lines());
    for number in 1.. {
        let (wanted, found) = (expected.next(), got.next());
        if wanted != found {
            return Some(format!(
                "line {number}\n        expected {wanted:?}\n        got      {found:?}"
            ));
        }
        if wanted.is_none() {
            break;
        }
    }
    Some("line ends".to_owned())
}

/// Values that the chart has to refuse, with the reason that the file gives.
fn refused(helm: &Helm, folder: &Path, case: &Case) -> anyhow::Result<()> {
    let reason = case
        .says
        .as_deref()
        .context("the file does not begin with `# says: …`")?;
    match helm.template(folder, case) {
        Ok(_) => anyhow::bail!("was rendered"),
        Err(error) => {
            let error = format!("{error:#}");
            anyhow::ensure!(
                error.contains(reason),
                "was refused for another reason than «{reason}»: {error}"
            );
            Ok(())
        }
    }
}

fn as_text(error: &anyhow::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}
