//! The conditions of a route: one file per condition, each a pure function of what is [observed](crate::observed), and
//! the way from what they find to the status that is written.
//!
//! ```text
//! accepted, target_found, scaler_ready ─┐
//! ConditionSource (gateway, wake) ──────┴─▶ Finding… ─▶ ready ─▶ conditions() ─▶ status
//! ```

pub(crate) mod accepted;
pub(crate) mod ready;
pub(crate) mod scaler_ready;
mod source;
pub(crate) mod target_found;

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rouse_api::condition::{ALL, Condition};

pub(crate) use self::source::ConditionSource;

/// Longer messages are cut: a status is read by people, and each version of it is kept by etcd.
const MAX_MESSAGE: usize = 1_024;

/// A condition's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    True,
    False,
    Unknown,
}

/// What is found of one aspect of a route: a condition without its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// One of [`ALL`].
    pub(crate) kind: &'static str,
    pub(crate) status: Status,
    /// One word in CamelCase, from a closed set.
    pub(crate) reason: &'static str,
    /// For people. The same text for the same state, or the status is written again and again: no times, no counters.
    pub(crate) message: String,
}

impl Finding {
    /// The aspect is as it should be.
    pub(crate) fn holds(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(kind, Status::True, reason, message)
    }

    /// The aspect is not as it should be.
    pub(crate) fn fails(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(kind, Status::False, reason, message)
    }

    /// Nobody knows yet.
    pub(crate) fn unknown(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(kind, Status::Unknown, reason, message)
    }

    fn new(kind: &'static str, status: Status, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            status,
            reason,
            message: cut(message.into()),
        }
    }
}

impl Status {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The findings as conditions of generation `generation`, in the order of [`ALL`]. A condition whose status is the one that
/// it has in `live` keeps its time.
pub(crate) fn conditions(
    findings: &[Finding],
    live: &[Condition],
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let of_kind = |kind: &str| findings.iter().find(|finding| finding.kind == kind);
    ALL.iter()
        .filter_map(|kind| of_kind(kind))
        .map(|finding| {
            let since = live
                .iter()
                .find(|live| live.type_ == finding.kind && live.status == finding.status.as_str())
                .map_or(now, |live| live.last_transition_time.0);
            Condition {
                type_: finding.kind.to_owned(),
                status: finding.status.to_string(),
                reason: finding.reason.to_owned(),
                message: finding.message.clone(),
                observed_generation: Some(generation),
                last_transition_time: Time(since),
            }
        })
        .collect()
}

/// Whether `live` says of Rouse's conditions what `desired` says. Others' conditions and the order make no difference.
pub(crate) fn are_written(desired: &[Condition], live: &[Condition]) -> bool {
    ALL.iter().all(|kind| {
        let find =
            |conditions: &[Condition]| conditions.iter().position(|condition| condition.type_ == **kind);
        match (find(desired), find(live)) {
            (Some(desired_at), Some(live_at)) => desired.get(desired_at) == live.get(live_at),
            (None, None) => true,
            _ => false,
        }
    })
}

/// Several problems as one message.
pub(crate) fn joined<T: fmt::Display>(problems: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = problems.into_iter().map(|problem| problem.to_string()).collect();
    texts.join("; ")
}

fn cut(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE - '…'.len_utf8())
            .rev()
            .find(|at| message.is_char_boundary(*at))
            .unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests;
