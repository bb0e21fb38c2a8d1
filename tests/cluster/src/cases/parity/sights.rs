//! What was seen in a place, row by row, and what two places saw beside each other.

use std::fmt::{Display, Write as _};

/// The rows of one place, in the order in which they were seen.
#[derive(Debug, Default)]
pub(super) struct Sights {
    rows: Vec<Sight>,
    scene: &'static str,
}

#[derive(Debug)]
struct Sight {
    scene: &'static str,
    what: String,
    expected: Option<String>,
    seen: String,
}

impl Sights {
    /// What follows belongs to this scene.
    pub(super) fn begin(&mut self, scene: &'static str) {
        self.scene = scene;
    }

    /// Something that the documents say how it has to be.
    pub(super) fn saw(&mut self, what: impl Display, expected: impl Display, seen: impl Display) {
        let expected = expected.to_string();
        self.add(what, Some(expected), seen);
    }

    /// Something that only has to be alike in both places.
    pub(super) fn saw_alike(&mut self, what: impl Display, seen: impl Display) {
        self.add(what, None, seen);
    }

    fn add(&mut self, what: impl Display, expected: Option<String>, seen: impl Display) {
        self.rows.push(Sight {
            scene: self.scene,
            what: what.to_string(),
            expected,
            seen: seen.to_string(),
        });
    }
}

/// Fails with every row that is not alike in both, or not as it has to be.
pub(super) fn compare(there: &Sights, here: &Sights) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    for (a, b) in there.rows.iter().zip(&here.rows) {
        let what = format!("{}: {}", a.scene, a.what);
        if a.what != b.what {
            faults.push(format!("{what}: `rouse local` saw something else, {}", b.what));
        } else if a.seen != b.seen {
            faults.push(format!(
                "{what}: in the cluster {}, with `rouse local` {}",
                a.seen, b.seen
            ));
        } else if let Some(expected) = a.expected.as_ref().filter(|expected| **expected != a.seen) {
            faults.push(format!("{what}: in both {}, expected {expected}", a.seen));
        }
    }
    let (count_there, count_here) = (there.rows.len(), here.rows.len());
    if count_there != count_here {
        faults.push(format!(
            "{count_there} rows in the cluster, {count_here} with `rouse local`"
        ));
    }
    anyhow::ensure!(
        count_there > 0 && faults.is_empty(),
        "{} differences:\n  {}",
        faults.len(),
        faults.join("\n  ")
    );
    Ok(())
}

/// Both places' rows, as a table.
pub(super) fn table(there: &Sights, here: &Sights) -> String {
    let mut table = String::new();
    let mut scene = "";
    for (a, b) in there.rows.iter().zip(&here.rows) {
        if a.scene != scene {
            scene = a.scene;
            // Writing into a String does not fail.
            let _infallible = write!(
                table,
                "\n## {scene}\n\n| what | cluster | `rouse local` |\n|---|---|---|\n"
            );
        }
        let _infallible = writeln!(
            table,
            "| {} | {} | {} |",
            cell(&a.what),
            cell(&a.seen),
            cell(&b.seen)
        );
    }
    table
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sights(rows: &[(&str, Option<&str>, &str)]) -> Sights {
        let mut sights = Sights::default();
        sights.begin("scene");
        for (what, expected, seen) in rows {
            match expected {
                Some(expected) => sights.saw(what, expected, seen),
                None => sights.saw_alike(what, seen),
            }
        }
        sights
    }

    fn faults(there: &Sights, here: &Sights) -> String {
        compare(there, here).unwrap_err().to_string()
    }

    #[test]
    fn what_is_alike_and_as_expected_passes() {
        let rows = [("status", Some("200"), "200"), ("headers", None, "a: b")];
        compare(&sights(&rows), &sights(&rows)).unwrap();
    }

    #[test]
    fn a_difference_is_told_with_both_sides() {
        let told = faults(
            &sights(&[("status", None, "200")]),
            &sights(&[("status", None, "503")]),
        );
        assert!(
            told.contains("scene: status: in the cluster 200, with `rouse local` 503"),
            "{told}"
        );
    }

    #[test]
    fn what_is_alike_and_wrong_in_both_is_a_fault() {
        let rows = [("status", Some("200"), "502")];
        let told = faults(&sights(&rows), &sights(&rows));
        assert!(told.contains("in both 502, expected 200"), "{told}");
    }

    #[test]
    fn a_row_that_one_place_lacks_is_a_fault_and_so_is_no_row_at_all() {
        let one = sights(&[("status", None, "200")]);
        assert!(faults(&one, &Sights::default()).contains("1 rows in the cluster, 0"));
        compare(&Sights::default(), &Sights::default()).unwrap_err();
    }
}
