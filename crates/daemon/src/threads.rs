//! How many threads a part gets.

use std::{num::NonZeroUsize, thread};

/// What was asked for, else the number of cores this process may use, which counts CPU affinity and the cgroup's quota.
pub fn worker_threads(requested: Option<NonZeroUsize>) -> NonZeroUsize {
    requested.unwrap_or_else(|| thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_wins_and_without_one_the_machine_decides() {
        let three = NonZeroUsize::new(3).unwrap();
        assert_eq!(worker_threads(Some(three)), three);
        assert_eq!(worker_threads(None), thread::available_parallelism().unwrap());
    }
}
