//! How the cases of a run came out, each in a line, for the log and for `docs/evidence/README.md`.

use std::{fmt::Write as _, fs, path::Path, thread};

use anyhow::Context as _;

use crate::case::{Case, Outcome};

/// What a line on a case begins with.
pub(crate) const OK: &str = "ok   ";
/// The same, of one that failed.
pub(crate) const FAIL: &str = "FAIL ";
/// The same, of one that a cluster is not fit for.
pub(crate) const SKIP: &str = "skip ";

/// The lines of a run.
#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<String>,
}

impl Report {
    /// Keeps a line if it says how a case came out.
    pub fn note(&mut self, line: &str) {
        if [OK, FAIL, SKIP].iter().any(|start| line.starts_with(start)) {
            self.lines.push(line.to_owned());
        }
    }

    /// Adds a case that could not say so itself.
    pub fn failed(&mut self, case: &str, why: &str) {
        self.lines.push(format!("{FAIL}{case}: {why}"));
    }

    /// How many cases are in it.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds another's.
    pub fn extend(&mut self, other: Self) {
        self.lines.extend(other.lines);
    }

    /// The sums.
    pub fn outcome(&self) -> Outcome {
        let count = |start| self.lines.iter().filter(|line| line.starts_with(start)).count();
        Outcome {
            passed: count(OK),
            failed: count(FAIL),
        }
    }

    /// The lines of the cases that failed.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.lines
            .iter()
            .map(String::as_str)
            .filter(|line| line.starts_with(FAIL))
    }

    /// Writes a table of the cases, in their order, to `README.md` in the directory of the evidence. `how` is the command.
    pub fn write(&self, directory: &Path, cases: &[Case], how: &str) -> anyhow::Result<()> {
        let Outcome { passed, failed } = self.outcome();
        let cores = thread::available_parallelism().map_or(0, usize::from);
        let mut page = format!(
            "# What was seen on a real cluster\n\nWritten by `{how}`, on a machine with {cores} cores. Each case has a page here, \
             written when it passes.\n\n{passed} passed, {failed} failed.\n\n| case | came out |\n|---|---|\n"
        );
        for case in cases {
            let Some(line) = self.lines.iter().find(|line| is_of(line, case.name)) else {
                continue;
            };
            let (verdict, rest) = line.split_at(OK.len());
            let rest = rest.trim_start_matches(case.name).trim_start_matches([' ', ':']);
            let name = if verdict == OK {
                format!("[{0}]({0}.md)", case.name)
            } else {
                case.name.to_owned()
            };
            // In memory: it cannot fail.
            writeln!(
                page,
                "| {name} | {} {} |",
                verdict.trim_end(),
                rest.replace('|', "\\|")
            )?;
        }
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        let path = directory.join("README.md");
        fs::write(&path, page).with_context(|| format!("write {}", path.display()))
    }
}

fn is_of(line: &str, case: &str) -> bool {
    let name = line
        .get(OK.len()..)
        .and_then(|rest| rest.split([' ', ':']).next());
    name == Some(case)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_on_cases_are_counted_and_no_others() {
        let mut report = Report::default();
        for line in [
            "run  wake",
            "ok   wake (1.2 s)",
            "     a node is started",
            "FAIL drain (3.0 s): 2 lost",
            "skip node: no",
            "1 passed, 1 failed",
        ] {
            report.note(line);
        }
        report.failed("gone", "it said nothing of it");
        assert_eq!(report.outcome(), Outcome { passed: 1, failed: 2 });
        assert_eq!(report.len(), 4);
        assert!(is_of("ok   wake (1.2 s)", "wake") && is_of("FAIL gone: why", "gone"));
        assert!(!is_of("ok   wake_again (1.2 s)", "wake"));
    }
}
