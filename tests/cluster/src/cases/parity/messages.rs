//! What is said of manifests that are wrong: by the API server or in the route's conditions there, on the terminal here.
//!
//! `rouse local` says first where the fault is: file, document and, where the words themselves do not, the field. That part
//! has no counterpart in a condition, which stands in the object that it is about, and is left out of the comparison.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{
    local::{self, Local},
    manifests::App,
    sights::{self, Sights},
};
use crate::{
    cases::addon::{objects::HTTP_SCALED_OBJECT, site::READY_BOUND},
    trial::Trial,
    wait,
};

const NAMESPACE: &str = "parity-messages";
const OTHER_NAMESPACE: &str = "parity-messages-other";
/// The exit status for input that cannot be served.
const BAD_INPUT: i32 = 64;

/// Where a place says what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// The API server refuses the object.
    Refused,
    /// `Accepted` is false, in words that begin with the field; `rouse local` does not start.
    Invalid,
    /// `TargetFound` is false; `rouse local` names the field before it, and does not start.
    TargetNotFound,
    /// `Accepted` is false, and the rest is served; `rouse local` warns.
    Warned,
}

/// A fault in manifests.
struct Slip {
    what: &'static str,
    objects: Vec<Value>,
    /// The namespace and the name of the HTTPScaledObject that it concerns.
    culprit: (&'static str, &'static str),
    said: Said,
    expected: &'static str,
}

/// An application whose route has a fault.
fn slip(
    what: &'static str,
    name: &'static str,
    said: Said,
    expected: &'static str,
    spoil: impl FnOnce(&mut Vec<Value>),
) -> Slip {
    let host = format!("{name}.messages.test");
    let mut objects = App::new(name, json!({ "hosts": [host] })).objects(NAMESPACE);
    spoil(&mut objects);
    Slip {
        what,
        objects,
        culprit: (NAMESPACE, name),
        said,
        expected,
    }
}

/// Sets a field of the HTTPScaledObject, the last of an application's objects.
fn set(objects: &mut [Value], field: &str, value: Value) {
    let (parent, name) = field.rsplit_once('/').unwrap_or(("", field));
    let route = objects.last_mut().and_then(|route| route.pointer_mut(parent));
    if let Some(fields) = route.and_then(Value::as_object_mut) {
        fields.insert(name.to_owned(), value);
    }
}

fn slips() -> Vec<Slip> {
    vec![
        slip(
            "neither a port nor its name",
            "no-port",
            Said::Refused,
            "must define either the 'portName' or the 'port'",
            |objects| {
                set(objects, "/spec/scaleTargetRef/port", Value::Null);
            },
        ),
        slip(
            "more replicas at least than at most",
            "min-above-max",
            Said::Invalid,
            "Invalid: spec.replicas: min (3) must not be above max (2)",
            |objects| {
                set(objects, "/spec/replicas", json!({ "min": 3, "max": 2 }));
            },
        ),
        slip(
            "both metrics",
            "both-metrics",
            Said::Invalid,
            "Invalid: spec.scalingMetric: 'concurrency' and 'requestRate' exclude each other",
            |objects| {
                let both = json!({
                    "concurrency": { "targetValue": 5 },
                    "requestRate": { "targetValue": 5, "window": "1m", "granularity": "1s" },
                });
                set(objects, "/spec/scalingMetric", both);
            },
        ),
        slip("a host that is none", "bad-host", Said::Invalid, "", |objects| {
            set(objects, "/spec/hosts", json!(["no host"]));
        }),
        slip(
            "a Service that is not there",
            "no-service",
            Said::TargetNotFound,
            "ServiceNotFound: there is no Service gone in namespace parity-messages",
            |objects| {
                set(objects, "/spec/scaleTargetRef/service", json!("gone"));
            },
        ),
        slip(
            "a port that the Service does not have",
            "other-port",
            Said::TargetNotFound,
            "PortNotFound: Service other-port has no TCP port 8001, but 8000",
            |objects| {
                set(objects, "/spec/scaleTargetRef/port", json!(8001));
            },
        ),
        slip(
            "a Deployment that is not there",
            "no-workload",
            Said::TargetNotFound,
            "WorkloadNotFound: there is no Deployment gone in namespace parity-messages",
            |objects| {
                set(objects, "/spec/scaleTargetRef/name", json!("gone"));
            },
        ),
        same_match(),
        other_namespace(),
    ]
}

fn same_match() -> Slip {
    let mut objects = App::new("twice-a", json!({ "hosts": ["twice.messages.test"] })).objects(NAMESPACE);
    let twice = json!({ "hosts": ["TWICE.messages.test"] });
    objects.extend(App::new("twice-b", twice).objects(NAMESPACE));
    Slip {
        what: "two routes with the same host",
        objects,
        culprit: (NAMESPACE, "twice-b"),
        said: Said::Warned,
        expected: "HostConflict: HTTPScaledObject parity-messages/twice-b does not serve twice.messages.test/: the older \
                   HTTPScaledObject parity-messages/twice-a has the same host, path and headers",
    }
}

fn other_namespace() -> Slip {
    let mut objects = App::new("owner", json!({ "hosts": ["owned.messages.test"] })).objects(NAMESPACE);
    let claimed = json!({ "hosts": ["owned.messages.test"], "pathPrefixes": ["/mine"] });
    objects.extend(App::new("claimant", claimed).objects(OTHER_NAMESPACE));
    Slip {
        what: "a host that another namespace has",
        objects,
        culprit: (OTHER_NAMESPACE, "claimant"),
        said: Said::Warned,
        expected: "HostOwnedByOtherNamespace: HTTPScaledObject parity-messages-other/claimant does not serve \
                   owned.messages.test/mine: namespace parity-messages claimed the host first, with HTTPScaledObject \
                   parity-messages/owner",
    }
}

pub(super) async fn run(trial: &mut Trial) -> anyhow::Result<()> {
    let (mut there, mut here) = (Sights::default(), Sights::default());
    let title = "What is wrong, and the words for it";
    there.begin(title);
    here.begin(title);
    for namespace in [NAMESPACE, OTHER_NAMESPACE] {
        trial.namespace(namespace).await?;
    }
    for slip in slips() {
        let in_cluster = say_there(trial, &slip)
            .await
            .with_context(|| format!("{}, in the cluster", slip.what))?;
        let on_terminal = say_here(trial, &slip)
            .await
            .with_context(|| format!("{}, with rouse local", slip.what))?;
        // The reason is a word for programs: a terminal has none. Where it is one of a condition, it is checked here.
        let (reason, words) = match (slip.said, in_cluster.split_once(": ")) {
            (Said::Refused, _) | (_, None) => ("", in_cluster.as_str()),
            (_, Some((reason, words))) => (reason, words),
        };
        let (expected_reason, expected) = match (slip.said, slip.expected.split_once(": ")) {
            (Said::Refused, _) | (_, None) => ("", slip.expected),
            (_, Some((reason, words))) => (reason, words),
        };
        anyhow::ensure!(
            expected_reason.is_empty() || reason == expected_reason,
            "{}: the reason is {reason}, expected {expected_reason}",
            slip.what
        );
        for (sights, words) in [(&mut there, words), (&mut here, on_terminal.as_str())] {
            if expected.is_empty() {
                sights.saw_alike(slip.what, words);
            } else {
                sights.saw(slip.what, expected, words);
            }
        }
    }
    trial.evidence.note(sights::table(&there, &here));
    trial.evidence.note(
        "Not compared: the file, the document and the field that `rouse local` names before the words, and the conditions' \
         reasons, which a terminal has no use for.",
    );
    sights::compare(&there, &here)
}

/// The reason and the message in the cluster.
async fn say_there(trial: &mut Trial, slip: &Slip) -> anyhow::Result<String> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": slip.objects }).to_string();
    let applied = trial.apply(&list).await;
    if slip.said == Said::Refused {
        let refusal = match applied {
            Err(error) => format!("{error:#}"),
            Ok(()) => anyhow::bail!("the API server takes it"),
        };
        let line = refusal
            .lines()
            .find_map(|line| line.split_once("Invalid value: "));
        let (_, words) = line.with_context(|| format!("no words of a rule in {refusal}"))?;
        // Some versions say in between that it is an object.
        return Ok(words.trim_start_matches("\"object\": ").trim().to_owned());
    }
    applied?;
    let (api_version, kind) = HTTP_SCALED_OBJECT;
    let (namespace, name) = slip.culprit;
    let condition = if slip.said == Said::TargetNotFound {
        "TargetFound"
    } else {
        "Accepted"
    };
    let api = trial.cluster().dynamic(api_version, kind, namespace);
    let what = format!("{namespace}/{name} is {condition}=False");
    wait::until(&what, READY_BOUND, async || {
        let object = api.get(name).await?;
        let conditions = object.data.pointer("/status/conditions");
        let found = conditions
            .and_then(Value::as_array)
            .and_then(|conditions| conditions.iter().find(|found| found["type"] == condition));
        match found {
            Some(found) if found["status"] == "False" => {
                let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
                wait::done(format!("{}: {}", text("reason"), text("message")))
            }
            _ => wait::not_yet(object.data["status"].to_string()),
        }
    })
    .await
}

/// What `rouse local` writes, without the place of the fault.
async fn say_here(trial: &Trial, slip: &Slip) -> anyhow::Result<String> {
    let cluster = trial.cluster();
    let lines = if slip.said == Said::Warned {
        let running = Local::start(cluster, slip.culprit.1, &[], &slip.objects).await?;
        // It warns before it tells its addresses.
        let said = running.said();
        running.end().await?;
        let warnings = said.lines().filter_map(|line| line.strip_prefix("warning: "));
        warnings.map(str::to_owned).collect()
    } else {
        let (status, lines) = local::refused(cluster, slip.culprit.1, &slip.objects).await?;
        anyhow::ensure!(status == BAD_INPUT, "exit status {status}, having said {lines:?}");
        lines
    };
    Ok(match lines.as_slice() {
        [line] => words(line.trim_start_matches("error: "), slip.said).to_owned(),
        lines => format!("{} lines: {}", lines.len(), lines.join("; ")),
    })
}

/// What a line says after file, document and, where a condition's message does not begin with it, the field. A line of
/// another form is told whole.
fn words(line: &str, said: Said) -> &str {
    let after_document = line
        .split_once(", document ")
        .and_then(|(_, rest)| rest.split_once(": "))
        .filter(|(number, _)| number.parse::<u32>().is_ok());
    let Some((_, words)) = after_document else {
        return line;
    };
    match said {
        Said::TargetNotFound | Said::Refused => words.split_once(": ").map_or(words, |(_, words)| words),
        Said::Invalid | Said::Warned => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_place_of_a_fault_is_left_out() {
        let line = "/a: b/x.yaml, document 3: spec.scaleTargetRef.port: Service web has no TCP port";
        assert_eq!(words(line, Said::TargetNotFound), "Service web has no TCP port");
        let line = "x.yaml, document 3: spec.replicas: min (3) must not be above max (2)";
        assert_eq!(
            words(line, Said::Invalid),
            "spec.replicas: min (3) must not be above max (2)"
        );
        let line = "x.yaml, document 2: HTTPScaledObject a/b does not serve c/: it";
        assert_eq!(
            words(line, Said::Warned),
            "HTTPScaledObject a/b does not serve c/: it"
        );
        let line = "routes b (x.yaml, document 3) and c (x.yaml, document 6): both";
        assert_eq!(words(line, Said::Warned), line);
    }
}
