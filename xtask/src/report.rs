//! What the steps of a task came to.

use std::{fmt, time::Duration};

/// Tests counted from the output of `cargo test`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TestCounts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl TestCounts {
    /// Adds what a line says, if it is the result line of a test binary:
    /// `test result: ok. 13 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 4.76s`.
    pub(crate) fn add_line(&mut self, line: &str) {
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    /// Not run, and no fault of the code.
    Skipped(String),
    /// `cargo test` ran; it also has to have ended well.
    Tested {
        counts: TestCounts,
        ended_well: bool,
    },
}

/// The steps in the order they ran, with their times.
#[derive(Debug, Default)]
pub(crate) struct Report {
    steps: Vec<(&'static str, Duration, Outcome)>,
}

impl Report {
    pub(crate) fn add(&mut self, name: &'static str, took: Duration, outcome: Outcome) {
        self.steps.push((name, took, outcome));
    }

    /// Tests that passed and failed. A step that failed otherwise counts as one more failure, so that the count is never 0
    /// when something is wrong.
    pub(crate) fn totals(&self) -> (u64, u64) {
        self.steps
            .iter()
            .fold((0, 0), |(passed, failed), (_, _, outcome)| match outcome {
                Outcome::Passed | Outcome::Skipped(_) => (passed, failed),
                Outcome::Failed(_) => (passed, failed + 1),
                Outcome::Tested { counts, ended_well } => {
                    let unseen = u64::from(!ended_well && counts.failed == 0);
                    (passed + counts.passed, failed + counts.failed + unseen)
                }
            })
    }
}

impl fmt::Display for Report {
    /// A line for each step, and the summary alone on the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, took, outcome) in &self.steps {
            write!(f, "{name:<16} {:>7.1} s  ", took.as_secs_f64())?;
            match outcome {
                Outcome::Passed => writeln!(f, "ok")?,
                Outcome::Failed(why) => writeln!(f, "FAILED: {why}")?,
                Outcome::Skipped(why) => writeln!(f, "skipped: {why}")?,
                Outcome::Tested { counts, ended_well } => {
                    let TestCounts {
                        passed,
                        failed,
                        ignored,
                    } = counts;
                    let verdict = if *ended_well { "ok" } else { "FAILED" };
                    writeln!(
                        f,
                        "{verdict}: {passed} passed, {failed} failed, {ignored} ignored"
                    )?;
                }
            }
        }
        let (passed, failed) = self.totals();
        write!(f, "{passed} passed, {failed} failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_test_binaries_are_summed_up() {
        let mut counts = TestCounts::default();
        for line in [
            "running 3 tests",
            "test result: ok. 13 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 4.76s",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.00s",
            "a test's own output about a test result: 5 passed; 5 failed",
        ] {
            counts.add_line(line);
        }
        assert_eq!(
            counts,
            TestCounts {
                passed: 15,
                failed: 1,
                ignored: 1
            }
        );
    }

    #[test]
    fn a_test_binary_that_dies_is_a_failure_though_it_reports_none() {
        let mut report = Report::default();
        let counts = TestCounts {
            passed: 4,
            failed: 0,
            ignored: 0,
        };
        report.add(
            "tests",
            Duration::ZERO,
            Outcome::Tested {
                counts,
                ended_well: false,
            },
        );
        assert_eq!(report.totals(), (4, 1));
    }

    #[test]
    fn the_summary_stands_alone_on_the_last_line() {
        let mut report = Report::default();
        report.add(
            "clippy",
            Duration::from_secs(3),
            Outcome::Failed("exit status: 101".to_owned()),
        );
        let counts = TestCounts {
            passed: 7,
            failed: 2,
            ignored: 0,
        };
        report.add(
            "tests",
            Duration::from_secs(9),
            Outcome::Tested {
                counts,
                ended_well: false,
            },
        );
        assert_eq!(report.to_string().lines().last(), Some("7 passed, 3 failed"));
    }
}
