//! Takes a request's path and query apart.

use std::time::Duration;

use crate::{kinds::Kind, selector::Selector, status::Refusal};

/// What a path under `/api` or `/apis` names.
#[derive(Debug, Clone)]
pub(crate) struct ObjectPath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) namespace: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl ObjectPath {
    /// `None` for a path that names no objects (discovery, health, nonsense).
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned);
        let (group, version) = match parts.next()?.as_str() {
            "api" => (String::new(), parts.next()?),
            "apis" => (parts.next()?, parts.next()?),
            _ => return None,
        };
        let rest: Vec<String> = parts.collect();
        let (namespace, rest) = match rest.as_slice() {
            // The namespace itself: /api/v1/namespaces/team and /api/v1/namespaces/team/status.
            [first, _] if first == "namespaces" => (String::new(), rest.as_slice()),
            [first, _, last] if first == "namespaces" && (last == "status" || last == "finalize") => {
                (String::new(), rest.as_slice())
            }
            [first, namespace, ..] if first == "namespaces" => (namespace.clone(), &rest[2..]),
            _ => (String::new(), rest.as_slice()),
        };
        let plural = rest.first()?.clone();
        Some(Self {
            group,
            version,
            plural,
            namespace,
            name: rest.get(1).cloned(),
            subresource: rest.get(2).cloned(),
        })
    }

    pub(crate) fn names(&self, kind: &Kind) -> bool {
        kind.group == self.group && kind.version == self.version && kind.plural == self.plural
    }
}

/// The query parameters that the server knows.
#[expect(
    clippy::struct_excessive_bools,
    reason = "so many yes-or-no parameters there are"
)]
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    pub(crate) is_watch: bool,
    pub(crate) resource_version: Option<String>,
    pub(crate) sends_initial_events: bool,
    pub(crate) allows_bookmarks: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) limit: usize,
    pub(crate) continue_token: Option<String>,
    pub(crate) selector: Selector,
    pub(crate) field_manager: Option<String>,
    pub(crate) forces: bool,
    pub(crate) is_dry_run: bool,
    pub(crate) propagation_policy: Option<String>,
}

impl Query {
    pub(crate) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut parsed = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let is_true = value == "true" || value == "1";
            match key.as_ref() {
                "watch" => parsed.is_watch = is_true,
                "resourceVersion" if !value.is_empty() => parsed.resource_version = Some(value.into_owned()),
                "sendInitialEvents" => parsed.sends_initial_events = is_true,
                "allowWatchBookmarks" => parsed.allows_bookmarks = is_true,
                "timeoutSeconds" => parsed.timeout = value.parse().ok().map(Duration::from_secs),
                "limit" => parsed.limit = value.parse().unwrap_or(0),
                "continue" if !value.is_empty() => parsed.continue_token = Some(value.into_owned()),
                "labelSelector" => parsed.selector.add_labels(&value)?,
                "fieldSelector" => parsed.selector.add_fields(&value)?,
                "fieldManager" => parsed.field_manager = Some(value.into_owned()),
                "force" => parsed.forces = is_true,
                "dryRun" => parsed.is_dry_run = value == "All",
                "propagationPolicy" => parsed.propagation_policy = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(parsed)
    }
}
