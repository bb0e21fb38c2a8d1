//! What the user is told when a command does not run or does not succeed: one line on standard error, and the status.
//! 64 for bad usage and bad settings, 1 for everything else.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::error::ErrorKind;
use rouse_daemon::{BadUsage, EXIT_USAGE};

/// For what clap returns in place of arguments: help and the version with status 0, everything else with 64.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Standard output may be closed already, as under `rouse --help | head -1`.
            drop(error.print());
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            drop(error.print());
            ExitCode::from(EXIT_USAGE)
        }
        _ => {
            line(&one_line(&error.render().to_string()));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// For a setting outside of the command line that cannot be used.
pub(crate) fn bad_setting(error: &anyhow::Error) -> ExitCode {
    line(&format!("error: {error:#}"));
    ExitCode::from(EXIT_USAGE)
}

/// For a command that failed, or found that it cannot run with these settings.
pub(crate) fn failure(error: &anyhow::Error) -> ExitCode {
    if error.is::<BadUsage>() {
        return bad_setting(error);
    }
    line(&format!("error: {error:#}"));
    ExitCode::FAILURE
}

fn line(text: &str) {
    // Nobody is left to be told if standard error is closed.
    drop(writeln!(io::stderr(), "{text}"));
}

/// clap's message without the usage that follows it: `error: …; tip: …`.
fn one_line(rendered: &str) -> String {
    rendered
        .split("\n\n")
        .take_while(|paragraph| !paragraph.starts_with("Usage:") && !paragraph.starts_with("For more"))
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|paragraph| !paragraph.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usage_error_is_one_line_with_its_tip() {
        let rendered = "error: unexpected argument '--lisen' found\n\n  tip: a similar argument exists: \
                        '--listen'\n\nUsage: rouse local --listen <ADDR>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            one_line(rendered),
            "error: unexpected argument '--lisen' found; tip: a similar argument exists: '--listen'"
        );
    }

    #[test]
    fn a_list_in_a_usage_error_is_joined() {
        let rendered = "error: the following required arguments were not provided:\n  --image <IMAGE>\n  --port \
                        <PORT>\n\nUsage: rouse …\n";
        assert_eq!(
            one_line(rendered),
            "error: the following required arguments were not provided: --image <IMAGE> --port <PORT>"
        );
    }
}
