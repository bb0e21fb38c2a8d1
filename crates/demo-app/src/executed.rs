//! What the application executed: the application's side of "no request is lost, none runs twice".

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use http::{HeaderMap, Method};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Ids counted one by one; the requests of later ids are only summed up.
const MOST_IDS: usize = 200_000;

/// The counts of one process, shared between its connections. A clone is another handle on the same counts.
#[derive(Debug, Clone, Default)]
pub struct Executed {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    counts: Mutex<ExecutedCounts>,
    /// Opened for appending; each line is one `write`, so that the lines of several processes do not mix.
    record: Option<File>,
}

/// How many requests were executed. Probes and requests that only look at the application are not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutedCounts {
    /// Requests whose execution began.
    pub total: u64,
    /// Of these, the ones whose answer has not been given to the last byte.
    pub in_flight: u64,
    /// The highest value that `in_flight` has had.
    pub max_in_flight: u64,
    /// Requests without an `x-request-id`.
    pub without_id: u64,
    /// Requests whose id came when too many others were known already.
    pub beyond_limit: u64,
    /// How often each `x-request-id` was executed.
    pub by_id: BTreeMap<String, u64>,
}

/// A request in execution; the answer's body carries it.
#[derive(Debug)]
pub(crate) struct ExecutionGuard(Arc<Shared>);

impl Executed {
    /// Counts that are also appended to `record`.
    pub(crate) fn recorded(record: &Path) -> io::Result<Self> {
        let record = File::options().create(true).append(true).open(record)?;
        let shared = Shared {
            counts: Mutex::default(),
            record: Some(record),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The counts as they are now.
    pub fn counts(&self) -> ExecutedCounts {
        self.shared.counts.lock().clone()
    }

    /// Counts a request whose execution begins.
    pub(crate) fn begin(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> io::Result<ExecutionGuard> {
        let id = headers
            .get("x-request-id")
            .map(|id| String::from_utf8_lossy(id.as_bytes()));
        if let Some(mut record) = self.shared.record.as_ref() {
            let id = id.as_deref().unwrap_or("-");
            record.write_all(format!("{} {id} {method} {path}\n", std::process::id()).as_bytes())?;
        }
        let mut counts = self.shared.counts.lock();
        counts.total += 1;
        counts.in_flight += 1;
        counts.max_in_flight = counts.max_in_flight.max(counts.in_flight);
        match id {
            None => counts.without_id += 1,
            Some(id) => {
                let is_full = counts.by_id.len() >= MOST_IDS;
                match counts.by_id.get_mut(id.as_ref()) {
                    Some(count) => *count += 1,
                    None if is_full => counts.beyond_limit += 1,
                    None => {
                        counts.by_id.insert(id.into_owned(), 1);
                    }
                }
            }
        }
        drop(counts);
        Ok(ExecutionGuard(Arc::clone(&self.shared)))
    }
}

impl Drop for ExecutionGuard {
    fn drop(&mut self) {
        self.0.counts.lock().in_flight -= 1;
    }
}
