//! Runs programs to their end, within a bound.

use std::{process::Stdio, time::Duration};

use anyhow::Context as _;
use tokio::{process::Command, time::timeout};

/// How much of what a failed program wrote is shown.
const SHOWN: usize = 4_000;

/// Runs a program to its end and gives what it wrote to standard output; a failure shows what it wrote to standard error.
/// A program that is not done within `bound` is killed.
pub async fn run(command: &mut Command, bound: Duration) -> anyhow::Result<String> {
    let shown = line(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(bound, command.output())
        .await
        .with_context(|| format!("`{shown}` is not done after {bound:?}"))?
        .with_context(|| format!("run `{shown}`"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!("`{shown}`: {}\n{}{}", output.status, tail(&stdout), tail(&stderr));
    }
    Ok(stdout)
}

/// The last part of a text, from the start of a line on.
pub fn tail(text: &str) -> &str {
    let Some(start) = text.len().checked_sub(SHOWN) else {
        return text;
    };
    let start = text
        .bytes()
        .skip(start)
        .position(|byte| byte == b'\n')
        .map_or(0, |newline| start + newline + 1);
    text.get(start..).unwrap_or(text)
}

fn line(command: &Command) -> String {
    let command = command.as_std();
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_the_start_of_a_line() {
        let text = format!("{}\nsecond\nthird\n", "x".repeat(SHOWN));
        assert_eq!(tail(&text), "second\nthird\n");
        assert_eq!(tail("short"), "short");
    }

    #[tokio::test]
    async fn a_failure_shows_the_command_and_its_complaint() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo complaint >&2; exit 3"]);
        let error = run(&mut command, Duration::from_secs(10))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("complaint"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_at_the_bound() {
        let mut command = Command::new("sleep");
        command.arg("600");
        let error = run(&mut command, Duration::from_millis(50)).await.unwrap_err();
        assert!(format!("{error:#}").contains("not done after 50ms"), "{error:#}");
    }
}
