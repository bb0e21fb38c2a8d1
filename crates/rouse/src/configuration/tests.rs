use std::{env, fs, path::Path};

use super::*;

/// The part of `page` that is about `process`.
fn section<'a>(page: &'a str, process: &str) -> &'a str {
    let heading = format!("\n## `rouse {process}`\n");
    let (_, rest) = page.split_once(&heading).expect(process);
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// The cells of the one row of `section` that begins with `flag`.
fn cells<'a>(section: &'a str, flag: &str) -> Vec<&'a str> {
    let mut rows = section
        .lines()
        .map(|line| line.split('|').map(str::trim).skip(1).collect::<Vec<_>>())
        .filter(|cells| cells.first() == Some(&flag));
    let row = rows.next().expect(flag);
    assert_eq!(rows.next(), None, "{flag} is there twice");
    row
}

#[test]
fn the_committed_page_is_what_the_flags_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/configuration.md");
    let page = page();
    if env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        fs::write(&path, &page).expect("write the page");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "{} is stale: `cargo xtask gen` writes it anew",
        path.display()
    );
}

/// Looked for by what clap takes, not by what the page is made with.
#[test]
fn every_option_of_each_process_is_in_its_section_with_variable_and_default() {
    let page = page();
    let cli = Cli::command();
    for process in PROCESSES {
        let section = section(&page, process);
        let command = cli.find_subcommand(process).expect(process);
        let mut count = 0;
        for arg in command.get_arguments() {
            let Some(long) = arg.get_long() else { continue };
            let row = section
                .lines()
                .find(|line| line.starts_with('|') && line.contains(&format!("`--{long}` |")))
                .unwrap_or_else(|| panic!("{process} has no --{long}"));
            if let Some(variable) = arg.get_env() {
                let variable = variable.to_string_lossy();
                assert!(row.contains(&format!("| `{variable}` |")), "{row}");
            }
            if let Some(default) = arg.get_default_values().first().filter(|value| !value.is_empty()) {
                let default = default.to_string_lossy();
                assert!(row.contains(&format!("| `{default}` |")), "{row}");
            }
            count += 1;
        }
        assert!(count > 10, "{process} has {count} options only");
    }
}

#[test]
fn a_row_holds_flag_variable_default_and_meaning() {
    let page = page();
    let row = cells(section(&page, "interceptor"), "`--shutdown-delay`");
    assert_eq!(row.get(1..3), Some(&["`KEDA_HTTP_SHUTDOWN_DELAY`", "`5s`"][..]));
    assert!(
        row[3].starts_with("`DURATION`. How long connections are still accepted after SIGTERM")
            && row[3].ends_with("at once."),
        "{row:?}"
    );
    let row = cells(section(&page, "interceptor"), "`--log-requests`");
    assert_eq!(row.get(1..3), Some(&["`KEDA_HTTP_LOG_REQUESTS`", "`false`"][..]));
    assert!(row[3].starts_with("`BOOL`. "), "{row:?}");
    let row = cells(section(&page, "local"), "`-f`, `--filename`");
    assert_eq!(row.get(1..3), Some(&["", ""][..]));
    let row = cells(section(&page, "local"), "`--logs`");
    assert!(row[3].starts_with("No value. "), "{row:?}");
    let row = cells(&page, "`--log-format`");
    assert_eq!(row.get(1..3), Some(&["`ROUSE_LOG_FORMAT`", "`text`"][..]));
    assert!(row[3].contains("`json`: One JSON object a line"), "{row:?}");
}

#[test]
fn every_option_says_what_it_is_for_and_how_its_value_is_written() {
    let cli = cli();
    for process in PROCESSES {
        let command = cli.find_subcommand(process).expect(process);
        for arg in own_arguments(command) {
            let id = arg.get_id();
            assert!(arg.get_help().is_some(), "{process}: {id} has no help");
            if takes_value(arg) {
                let value = value(arg).unwrap_or_default();
                assert!(
                    VALUES.iter().any(|(name, _)| *name == value),
                    "{process}: {id} takes {value:?}, which is not explained"
                );
            }
        }
    }
}
