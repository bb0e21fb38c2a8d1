//! What is wrong with a watch, in the few kinds that differ in what a person has to do.

use std::{error::Error, fmt};

use kube::runtime::watcher;
use rouse_daemon::chain::chain;

/// What is wrong, and the words for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) reason: Reason,
    pub(crate) text: String,
}

/// Also the metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The API server does not know the kind: install its CustomResourceDefinition.
    Missing,
    /// It knows it and does not let us: mend the role.
    Forbidden,
    /// No answer from it.
    Unreachable,
    /// It answers with something else.
    Failed,
}

impl Reason {
    pub(crate) const ALL: [Self; 4] = [Self::Missing, Self::Forbidden, Self::Unreachable, Self::Failed];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Forbidden => "forbidden",
            Self::Unreachable => "unreachable",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Trouble {
    /// What `error` means for the kind that the API server calls `resource` (`httpscaledobjects.http.keda.sh/v1alpha1`).
    /// `None` where it is the ordinary way of things: the news that were missed are too old to be told, so all objects are
    /// listed anew.
    pub(crate) fn of(error: &watcher::Error, resource: &str) -> Option<Self> {
        let (status, source) = match error {
            watcher::Error::WatchError(status) => (Some(&**status), None),
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => match error {
                kube::Error::Api(status) => (Some(&**status), None),
                error => (None, Some(error)),
            },
            watcher::Error::NoResourceVersion => {
                return Some(Self {
                    reason: Reason::Failed,
                    text: "the API server told of an object without a resource version".to_owned(),
                });
            }
        };
        if let Some(status) = status {
            return match status.code {
                410 => None,
                404 => Some(Self {
                    reason: Reason::Missing,
                    text: format!(
                        "the cluster has no {resource}: its CustomResourceDefinition is missing or of another version{}",
                        remedy(resource)
                    ),
                }),
                401 | 403 => Some(Self {
                    reason: Reason::Forbidden,
                    text: format!("not allowed to watch {resource}: {}", status.message),
                }),
                code => Some(Self {
                    reason: Reason::Failed,
                    text: format!("the API server answers {code}: {}", status.message),
                }),
            };
        }
        let source = source?;
        let (reason, what) = match source {
            kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_) => {
                (Reason::Unreachable, "no answer from the API server")
            }
            _ => (Reason::Failed, "the API server's answer cannot be used"),
        };
        Some(Self {
            reason,
            text: format!("{what}: {}", innermost(source)),
        })
    }
}

/// What to do about a definition that is missing: only Rouse's own are Rouse's to give.
fn remedy(resource: &str) -> &'static str {
    if resource.contains(".http.keda.sh/") || resource.contains(".rouse.dev/") {
        " (`rouse crds` prints Rouse's)"
    } else {
        ""
    }
}

/// kube's and hyper's errors repeat their sources' texts; the innermost says it all.
fn innermost(error: &kube::Error) -> String {
    let mut innermost: &(dyn Error + 'static) = error;
    for _ in 0..16 {
        match innermost.source() {
            Some(source) => innermost = source,
            None => break,
        }
    }
    chain(innermost).to_string()
}

#[cfg(test)]
mod tests {
    use std::io;

    use kube::core::Status;

    use super::*;

    const RESOURCE: &str = "httpscaledobjects.http.keda.sh/v1alpha1";

    fn status(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(Status {
            code,
            message: "says the server".to_owned(),
            ..Status::default()
        }))
    }

    #[test]
    fn each_cause_has_its_reason() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
        let cases = [
            (status(404), Some(Reason::Missing)),
            (status(403), Some(Reason::Forbidden)),
            (status(401), Some(Reason::Forbidden)),
            (status(500), Some(Reason::Failed)),
            (status(410), None),
            (kube::Error::Service(refused.into()), Some(Reason::Unreachable)),
        ];
        for (error, reason) in cases {
            let text = error.to_string();
            let trouble = Trouble::of(&watcher::Error::InitialListFailed(error), RESOURCE);
            assert_eq!(trouble.map(|trouble| trouble.reason), reason, "{text}");
        }
    }

    #[test]
    fn a_missing_kind_is_named() {
        let trouble = Trouble::of(&watcher::Error::InitialListFailed(status(404)), RESOURCE).unwrap();
        assert!(trouble.text.contains(RESOURCE), "{trouble}");
        assert!(trouble.text.contains("rouse crds"), "{trouble}");
        let others = "scaledobjects.keda.sh/v1alpha1";
        let trouble = Trouble::of(&watcher::Error::InitialListFailed(status(404)), others).unwrap();
        assert!(trouble.text.contains(others), "{trouble}");
        assert!(
            !trouble.text.contains("rouse crds"),
            "not Rouse's to give: {trouble}"
        );
    }
}
