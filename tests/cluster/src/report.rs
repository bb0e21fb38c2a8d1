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

/// The page with the table.
const PAGE: &str = "README.md";
/// What is added to a case that was run later than the others.
const LATER: &str = ", in a later run";

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
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, directory: &Path, cases: &[Case], how: &str) -> anyhow::Result<()> {
        let cores = thread::available_parallelism().map_or(0, usize::from);
        let head = format!(
            "Written by `{how}`, on a machine with {cores} cores. Each case has a page here, written when it passes."
        );
        self.write_page(directory, cases, &head)
    }

    /// Puts the cases that were run into the table of an earlier run, and says of them that they were run later.
    ///
    /// # Errors
    /// When there is no table, or it cannot be written.
    pub fn amend(&self, directory: &Path, cases: &[Case]) -> anyhow::Result<()> {
        let path = directory.join(PAGE);
        let page = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let head = page.lines().nth(2).context("the earlier table has no head")?;
        let mut both = Self {
            lines: self.lines.iter().map(|line| format!("{line}{LATER}")).collect(),
        };
        let earlier = page.lines().filter_map(line_of_row);
        both.lines.extend(earlier.filter(|line| {
            let name = name_of(line);
            self.lines.iter().all(|known| name_of(known) != name)
        }));
        both.write_page(directory, cases, head)
    }

    fn write_page(&self, directory: &Path, cases: &[Case], head: &str) -> anyhow::Result<()> {
        let Outcome { passed, failed } = self.outcome();
        let mut page = format!(
            "# What was seen on a real cluster\n\n{head}\n\n{passed} passed, {failed} failed.\n\n| case | came out |\n|---|---|\n"
        );
        for case in cases {
            let Some(line) = self.lines.iter().find(|line| name_of(line) == Some(case.name)) else {
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
        let path = directory.join(PAGE);
        fs::write(&path, page).with_context(|| format!("write {}", path.display()))
    }
}

/// The case that a line is about.
fn name_of(line: &str) -> Option<&str> {
    line.get(OK.len()..)?.split([' ', ':']).next()
}

/// The line that a row of the table was made from.
fn line_of_row(row: &str) -> Option<String> {
    let (name, rest) = row.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
    let name = name
        .strip_prefix('[')
        .and_then(|link| link.split_once(']'))
        .map_or(name, |(name, _)| name);
    let (start, rest) = [OK, FAIL, SKIP]
        .into_iter()
        .find_map(|start| Some((start, rest.strip_prefix(start.trim_end())?)))?;
    let rest = rest.trim_start().replace("\\|", "|");
    Some(format!("{start}{name} {rest}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        assert_eq!(name_of("ok   wake (1.2 s)"), Some("wake"));
        assert_eq!(name_of("FAIL gone: why"), Some("gone"));
    }

    #[test]
    fn later_run_takes_the_place_of_what_it_ran_again() {
        fn case(name: &'static str) -> Case {
            Case {
                name,
                about: "",
                needs: &[],
                smoke: false,
                bound: Duration::ZERO,
                run: |_| Box::pin(async { Ok(()) }),
            }
        }
        let cases = ["wake", "drain", "node"].map(case);
        let directory = tempfile::tempdir().expect("a directory");
        let mut first = Report::default();
        for line in [
            "ok   wake (1.2 s)",
            "FAIL drain (3.0 s): a | b",
            "FAIL node (2.0 s): no",
        ] {
            first.note(line);
        }
        first
            .write(directory.path(), &cases, "all of them")
            .expect("written");
        let mut second = Report::default();
        second.note("ok   node (4.0 s)");
        second.amend(directory.path(), &cases).expect("amended");

        let page = fs::read_to_string(directory.path().join(PAGE)).expect("a page");
        assert!(page.contains("Written by `all of them`"), "{page}");
        assert!(page.contains("2 passed, 1 failed."), "{page}");
        let rows: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("| "))
            .skip(1)
            .collect();
        let expected = [
            "| [wake](wake.md) | ok (1.2 s) |",
            "| drain | FAIL (3.0 s): a \\| b |",
            "| [node](node.md) | ok (4.0 s), in a later run |",
        ];
        assert_eq!(rows, expected);
    }
}
