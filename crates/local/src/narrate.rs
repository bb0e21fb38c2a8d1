//! What a person at the terminal sees: one short line for each thing that happens, with the time since the start.
//!
//! Everything that is told here is told nowhere else; `tracing` is for what goes wrong inside. A thread of its own
//! writes, behind a queue of [`QUEUE_LINES`]: a terminal that is paused, or a pipe that nobody reads, must not stop the
//! scaling. Lines that find the queue full are counted and dropped.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::time::Instant;

/// Lines that wait for the terminal.
const QUEUE_LINES: usize = 4096;
/// For the terminal to take the last lines at the end.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

/// The terminal, or what stands for it in tests. Clones share it.
#[derive(Debug, Clone)]
pub struct Narrator {
    start: Instant,
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(String),
    Flush(SyncSender<()>),
}

impl Narrator {
    /// Writes to standard output; the clock starts now.
    pub fn to_terminal() -> Self {
        Self::to(std::io::stdout())
    }

    /// Writes to `output`; the clock starts now.
    pub fn to(output: impl Write + Send + 'static) -> Self {
        let (queue, messages) = sync_channel(QUEUE_LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        std::thread::spawn(move || write(output, &messages, &counter));
        Self {
            start: Instant::now(),
            queue,
            lost,
        }
    }

    /// Tells something that happened to `subject` (a Deployment or a route), at this moment.
    pub fn event(&self, subject: impl fmt::Display, text: impl fmt::Display) {
        let elapsed = self.start.elapsed().as_secs_f64();
        self.send(format!("{elapsed:>9.3}s  {subject}  {text}\n"));
    }

    /// Tells something without a time: the opening lines.
    pub fn say(&self, text: impl fmt::Display) {
        self.send(format!("{text}\n"));
    }

    /// Shows a line of a replica's own output.
    pub fn output(&self, pod: &str, line: &str) {
        self.send(format!("[{pod}] {line}\n"));
    }

    /// Waits until all that was told is written, for a second at most. Blocks.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        let deadline = Instant::now() + FLUSH_DEADLINE;
        if self.queue.try_send(Message::Flush(done)).is_ok()
            && written
                .recv_timeout(deadline.duration_since(Instant::now()))
                .is_err()
        {
            tracing::debug!("the terminal does not take the last lines");
        }
    }

    fn send(&self, line: String) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Message::Line(line)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes until the last narrator is gone or the output is closed.
fn write(mut output: impl Write, messages: &Receiver<Message>, lost: &AtomicU64) {
    while let Ok(message) = messages.recv() {
        let written = match message {
            Message::Line(line) => output.write_all(line.as_bytes()),
            Message::Flush(done) => {
                if done.try_send(()).is_err() {
                    tracing::trace!("whoever asked has given up");
                }
                continue;
            }
        };
        let lost = lost.swap(0, Ordering::Relaxed);
        let told = match lost {
            0 => Ok(()),
            lost => writeln!(output, "({lost} lines were lost: the terminal was too slow)"),
        };
        if written.and(told).and_then(|()| output.flush()).is_err() {
            return;
        }
    }
}

/// A duration as people say it: `340 ms`, `2.41 s`, `3 min 20 s`.
#[derive(Debug, Clone, Copy)]
pub struct Human(pub Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if self.0.is_zero() {
            f.write_str("0 s")
        } else if self.0 < Duration::from_millis(10) {
            write!(f, "{:.1} ms", self.0.as_secs_f64() * 1e3)
        } else if self.0 < Duration::from_secs(1) {
            write!(f, "{} ms", self.0.as_millis())
        } else if seconds >= 120 && seconds.is_multiple_of(60) {
            write!(f, "{} min", seconds / 60)
        } else if seconds >= 120 {
            write!(f, "{} min {} s", seconds / 60, seconds % 60)
        } else if self.0.subsec_millis() == 0 {
            write!(f, "{seconds} s")
        } else {
            write!(f, "{:.2} s", self.0.as_secs_f64())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An output that takes nothing before it is opened.
    struct Gate(Receiver<()>, SyncSender<Vec<u8>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // Waits until the other end is gone.
            assert!(self.0.recv().is_err());
            drop(self.1.send(bytes.to_vec()));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_paused_terminal_holds_nobody_up_and_what_was_lost_is_counted() {
        let (closed, gate) = sync_channel(1);
        let (sender, written) = sync_channel(2 * QUEUE_LINES);
        let narrator = Narrator::to(Gate(gate, sender));
        for number in 0..2 * QUEUE_LINES {
            narrator.say(number);
        }
        drop(closed);
        narrator.flush();
        drop(narrator);
        let text: Vec<u8> = written.iter().flatten().collect();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains(" lines were lost: the terminal was too slow)"),
            "{}",
            text.len()
        );
        let kept = text.lines().count() - 1;
        assert!((QUEUE_LINES..=QUEUE_LINES + 1).contains(&kept), "{kept}");
    }

    #[test]
    fn durations_read_as_people_say_them() {
        let table: &[(u64, &str)] = &[
            (0, "0 s"),
            (3_400, "3.4 ms"),
            (340_000, "340 ms"),
            (2_410_000, "2.41 s"),
            (40_000_000, "40 s"),
            (60_000_000, "60 s"),
            (200_000_000, "3 min 20 s"),
            (300_000_000, "5 min"),
        ];
        for (micros, expected) in table {
            assert_eq!(Human(Duration::from_micros(*micros)).to_string(), *expected);
        }
    }
}
