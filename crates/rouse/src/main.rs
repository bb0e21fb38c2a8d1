//! The one binary of Rouse. What it does is in the crates it calls; here are the allocator, the command line, the log and
//! the exit status.

mod cli;
mod commands;
#[cfg(test)]
mod configuration;
mod report;

use std::process::ExitCode;

/// jemalloc, with a background thread and a short decay: of the allocators measured with 5,000 held requests it needed the
/// least per request, and it alone gave the memory back within 2 s. Its settings are compiled in by `.cargo/config.toml`
/// (`JEMALLOC_SYS_WITH_MALLOC_CONF`), because setting them at run time takes unsafe code or the user's environment.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    commands::run(&args)
}
