//! The log of requests, for tests that count what a component asks of the API server.

use std::collections::VecDeque;

use crate::query::{ObjectPath, Query};

/// Requests remembered; older ones are forgotten.
const LONGEST_LOG: usize = 200_000;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// One object, or something that is none.
    Get,
    /// Objects of a kind.
    List,
    /// Changes of a kind.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH, server-side apply included.
    Patch,
    /// DELETE.
    Delete,
}

impl Verb {
    pub(crate) fn of(method: &http::Method, path: Option<&ObjectPath>, query: &Query) -> Self {
        match *method {
            http::Method::POST => Self::Create,
            http::Method::PUT => Self::Update,
            http::Method::PATCH => Self::Patch,
            http::Method::DELETE => Self::Delete,
            _ if query.is_watch => Self::Watch,
            _ if path.is_some_and(|path| path.name.is_none()) => Self::List,
            _ => Self::Get,
        }
    }

    /// Whether it may change something.
    pub fn is_write(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Patch | Self::Delete)
    }
}

/// One request and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// What it does.
    pub verb: Verb,
    /// Its path, without the query.
    pub path: String,
    /// Its query, as it came.
    pub query: String,
    /// The plural of the kind; empty for discovery.
    pub resource: String,
    /// Empty for a cluster-wide kind, and for a request over all namespaces.
    pub namespace: String,
    /// Empty for a collection.
    pub name: String,
    /// `status`, `scale`, or empty.
    pub subresource: String,
    /// The header `user-agent`, or empty.
    pub user_agent: String,
    /// The parameter `fieldManager`, or empty.
    pub field_manager: String,
    /// The answer's status code; 0 while there is none.
    pub code: u16,
    /// Whether it changed an object.
    pub has_changed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    records: VecDeque<RequestRecord>,
    /// Requests forgotten, so that a number stays that of its request.
    forgotten: u64,
}

impl RequestLog {
    /// Remembers a request that has just come in; the answer follows by its number.
    pub(crate) fn add(&mut self, record: RequestRecord) -> u64 {
        if self.records.len() == LONGEST_LOG {
            self.records.pop_front();
            self.forgotten += 1;
        }
        self.records.push_back(record);
        self.forgotten + self.records.len() as u64 - 1
    }

    pub(crate) fn answered(&mut self, number: u64, code: u16, has_changed: bool) {
        let place = number.checked_sub(self.forgotten).map(|place| place as usize);
        if let Some(record) = place.and_then(|place| self.records.get_mut(place)) {
            record.code = code;
            record.has_changed = has_changed;
        }
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &RequestRecord> {
        self.records.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.forgotten += self.records.len() as u64;
        self.records.clear();
    }
}
