//! What became of the traffic.

use std::{sync::Arc, time::Duration};

use super::Kind;
use crate::trial::Trial;

/// A request, and what became of it.
#[derive(Debug, Clone)]
pub(in crate::cases) struct Sent {
    pub(in crate::cases) kind: Kind,
    /// When it was sent, from the beginning of the traffic.
    pub(in crate::cases) at: Duration,
    pub(in crate::cases) took: Duration,
    pub(in crate::cases) fate: Fate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cases) enum Fate {
    /// By the application, in whole.
    Answered,
    /// By Rouse, with the one answer that a request gets which may not be repeated and was sent to a pod that went away:
    /// 502, `rouse-error: upstream_reset`.
    Told,
    /// Not at all, or with anything else.
    Lost(Arc<str>),
}

/// Every request of a tenant's traffic.
#[derive(Debug, Default)]
pub(in crate::cases) struct Report {
    sent: Vec<Sent>,
}

impl Report {
    pub(super) const fn new() -> Self {
        Self { sent: Vec::new() }
    }

    pub(super) fn add(&mut self, sent: Vec<Sent>) {
        self.sent.extend(sent);
    }

    pub(in crate::cases) fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// Writes down how it went; fails when a request was lost, or more than `most_told` got no answer of the application.
    pub(in crate::cases) fn check(
        &self,
        trial: &mut Trial,
        host: &str,
        most_told: usize,
    ) -> anyhow::Result<()> {
        trial.evidence.note(self.table(host));
        let lost: Vec<_> = self
            .sent
            .iter()
            .filter(|sent| matches!(sent.fate, Fate::Lost(_)))
            .collect();
        if let Some(first) = lost.first() {
            anyhow::bail!(
                "{host}: {} of {} requests were lost, the first: {first:?}",
                lost.len(),
                self.sent.len()
            );
        }
        let told = self.count(|sent| sent.fate == Fate::Told);
        anyhow::ensure!(told <= most_told, "{host}: {told} requests got a 502");
        for kind in Kind::ALL {
            let answered = self.count(|sent| sent.kind == kind && sent.fate == Fate::Answered);
            anyhow::ensure!(answered > 0, "{host}: no {} was answered", kind.name());
        }
        Ok(())
    }

    fn count(&self, holds: impl Fn(&Sent) -> bool) -> usize {
        self.sent.iter().filter(|sent| holds(sent)).count()
    }

    fn table(&self, host: &str) -> String {
        let mut lines = vec![
            format!(
                "| traffic to {host} | sent | answered | 502 `upstream_reset` | lost | median | longest |"
            ),
            "|---|---|---|---|---|---|---|".to_owned(),
        ];
        for kind in Kind::ALL {
            let mut times: Vec<_> = self
                .sent
                .iter()
                .filter(|sent| sent.kind == kind)
                .map(|sent| sent.took)
                .collect();
            times.sort_unstable();
            let median = times.get(times.len() / 2).copied().unwrap_or_default();
            let longest = times.last().copied().unwrap_or_default();
            lines.push(format!(
                "| {} | {} | {} | {} | {} | {:.3} s | {:.1} s |",
                kind.name(),
                times.len(),
                self.count(|sent| sent.kind == kind && sent.fate == Fate::Answered),
                self.count(|sent| sent.kind == kind && sent.fate == Fate::Told),
                self.count(|sent| sent.kind == kind && matches!(sent.fate, Fate::Lost(_))),
                median.as_secs_f64(),
                longest.as_secs_f64()
            ));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(kind: Kind, fate: Fate) -> Sent {
        Sent {
            kind,
            at: Duration::ZERO,
            took: Duration::from_millis(2),
            fate,
        }
    }

    #[test]
    fn what_is_lost_is_told_apart_from_what_got_the_one_allowed_answer() {
        let mut report = Report::new();
        report.add(vec![
            sent(Kind::Get, Fate::Answered),
            sent(Kind::Post, Fate::Told),
            sent(Kind::Post, Fate::Lost("504".into())),
        ]);
        let table = report.table("app");
        assert!(
            table.contains("| GET, new connection | 1 | 1 | 0 | 0 | 0.002 s | 0.0 s |"),
            "{table}"
        );
        assert!(
            table.contains("| POST, new connection | 2 | 0 | 1 | 1 | 0.002 s | 0.0 s |"),
            "{table}"
        );
    }
}
