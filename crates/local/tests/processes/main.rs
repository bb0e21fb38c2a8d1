//! Replicas as real processes.
//!
//! This program is its own shim (`local-shim`), its own application (`app`) and its own stand-in for a parent that is
//! killed (`stand-in-parent`), because a library's tests have no other binary to start. So it has no test harness of the
//! standard kind: it runs every check in turn, or those whose name holds one of the words given.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests, though without the attribute"
)]

mod app;
mod deployment;
mod shim;
mod support;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rouse_local::replica::process::ShimLauncher;
use rouse_local::{ShimArgs, shim_main};
use tokio::time::{Instant, sleep, timeout};

/// Far more than anything here takes on an idle machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A check and its name.
type Check = (&'static str, fn());

#[derive(Parser)]
struct Shim {
    #[command(flatten)]
    args: ShimArgs,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("local-shim") => return shim_main(Shim::parse_from(words).args),
        Some("app") => return app::serve(&words),
        Some("stand-in-parent") => {
            block_on(shim::stand_in_parent(words.get(1).map_or("", String::as_str)));
            return ExitCode::SUCCESS;
        }
        // Other harnesses are asked what they hold; this one says nothing.
        Some("--list") => return ExitCode::SUCCESS,
        _ => {}
    }
    let filters: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    for (name, check) in shim::CHECKS.iter().chain(deployment::CHECKS) {
        if filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())) {
            print_line(&format!("test {name} ... "));
            check();
            print_line("ok\n");
        }
    }
    ExitCode::SUCCESS
}

fn print_line(text: &str) {
    let mut output = std::io::stdout();
    assert!(
        output
            .write_all(text.as_bytes())
            .and_then(|()| output.flush())
            .is_ok(),
        "standard output is closed"
    );
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        timeout(PATIENCE * 3, future)
            .await
            .expect("the check took too long")
    })
}

fn launcher() -> ShimLauncher {
    ShimLauncher::of_this_program().unwrap()
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
