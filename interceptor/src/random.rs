//! Random numbers for load balancing: cheap, per thread, of no cryptographic worth.

use std::cell::Cell;

thread_local! {
    // Seeded from the process's hash keys; never zero, or xorshift would stay there.
    static STATE: Cell<u64> = Cell::new(ahash::RandomState::new().hash_one(0_u8) | 1);
}

/// Marsaglia's xorshift64.
fn next() -> u64 {
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        x
    })
}

/// Two different numbers below `n`, which is at least 2.
pub(crate) fn two_below(n: usize) -> (usize, usize) {
    let random = next();
    let n64 = n as u64;
    let first = (random >> 32) % n64;
    // An offset of 1 to n - 1 never comes back to `first`.
    let second = (first + 1 + (random & 0xffff_ffff) % (n64 - 1)) % n64;
    (first as usize, second as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_choices_differ_and_reach_every_index() {
        for n in 2..20 {
            let mut seen = vec![false; n];
            for _ in 0..1000 {
                let (first, second) = two_below(n);
                assert_ne!(first, second);
                seen[first] = true;
                seen[second] = true;
            }
            assert!(seen.iter().all(|seen| *seen), "{n}: {seen:?}");
        }
    }
}
