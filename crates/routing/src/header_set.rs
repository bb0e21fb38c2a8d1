//! The headers of one rule, in a form that is compared with other rules' and matched against a request's.

use std::cmp::Ordering;

use http::{HeaderMap, HeaderName};

use crate::HeaderMatch;

/// Headers that a request must all have. Never empty: a rule without headers has no set.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeaderSet {
    /// Sorted by name and value, without duplicates, so that equal sets are equal.
    matches: Box<[(HeaderName, Option<Box<str>>)]>,
    with_value: usize,
}

impl HeaderSet {
    pub(crate) fn new(headers: &[HeaderMatch]) -> Option<Self> {
        let mut matches: Vec<_> = headers
            .iter()
            .map(|header| (header.name.clone(), header.value.as_deref().map(Box::from)))
            .collect();
        matches.sort_by(|a, b| key(a).cmp(&key(b)));
        matches.dedup();
        let with_value = matches.iter().filter(|(_, value)| value.is_some()).count();
        if matches.is_empty() {
            return None;
        }
        Some(Self {
            matches: matches.into(),
            with_value,
        })
    }

    /// Whether each header is there, with its value where one is asked for.
    pub(crate) fn matches(&self, headers: &HeaderMap) -> bool {
        self.matches.iter().all(|(name, value)| match value {
            None => headers.contains_key(name),
            Some(value) => headers
                .get_all(name)
                .iter()
                .any(|sent| sent.as_bytes() == value.as_bytes()),
        })
    }

    /// Greater is more specific: first by headers with a value, then by headers.
    pub(crate) fn specificity(set: Option<&Self>) -> (usize, usize) {
        set.map_or((0, 0), |set| (set.with_value, set.matches.len()))
    }
}

/// By content, to bring equal sets together.
impl Ord for HeaderSet {
    fn cmp(&self, other: &Self) -> Ordering {
        self.matches.iter().map(key).cmp(other.matches.iter().map(key))
    }
}

impl PartialOrd for HeaderSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn key((name, value): &(HeaderName, Option<Box<str>>)) -> (&str, Option<&str>) {
    (name.as_str(), value.as_deref())
}
