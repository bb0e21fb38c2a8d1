//! The signals that end a process.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ends at the first SIGTERM or SIGINT. From then on a second one ends the process at once, for whoever does not want to
/// wait for the drain.
///
/// Listening begins with the call, not with the first poll, so no signal is missed in between. Call it once, in a runtime
/// with its I/O driver enabled.
pub fn shutdown_requested() -> impl Future<Output = ()> + Send + 'static {
    let mut signals = Signals {
        terminate: listen(SignalKind::terminate(), "SIGTERM"),
        interrupt: listen(SignalKind::interrupt(), "SIGINT"),
    };
    async move {
        let (name, _) = signals.next().await;
        tracing::info!(
            signal = name,
            "shutting down; a second signal ends the process at once"
        );
        tokio::spawn(async move {
            let (name, status) = signals.next().await;
            tracing::warn!(signal = name, "second signal: ending without drain");
            exit(status);
        });
    }
}

#[expect(clippy::exit, reason = "the user asked twice: nothing is to be waited for")]
fn exit(status: i32) -> ! {
    std::process::exit(status)
}

#[derive(Debug)]
struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl Signals {
    /// The next signal's name and the exit status a shell would report for it.
    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            () = recv(&mut self.terminate) => ("SIGTERM", 128 + SignalKind::terminate().as_raw_value()),
            () = recv(&mut self.interrupt) => ("SIGINT", 128 + SignalKind::interrupt().as_raw_value()),
        }
    }
}

/// Starts to listen. Where that fails the signal keeps its default action, which ends the process as well.
fn listen(kind: SignalKind, name: &'static str) -> Option<Signal> {
    match signal(kind) {
        Ok(signal) => Some(signal),
        Err(error) => {
            tracing::error!(%error, signal = name, "cannot listen for a signal");
            None
        }
    }
}

async fn recv(signal: &mut Option<Signal>) {
    let received = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if received.is_none() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    // The only test of this crate that sends a signal: signals reach the whole test process.
    #[tokio::test]
    async fn a_signal_sent_before_the_first_poll_is_not_missed() {
        let requested = super::shutdown_requested();
        kill_process(getpid(), Signal::TERM).unwrap();
        requested.await;
    }
}
