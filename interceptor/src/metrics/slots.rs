//! A small map that is only ever added to: read and written without a lock.

use std::sync::OnceLock;

/// How many slots are allocated together. Most routes answer with one or two kinds of status.
const CHUNK: usize = 8;

/// The most entries. More keys than this share nothing but a refusal.
pub(super) const MAX_ENTRIES: usize = 64;

/// Maps up to [`MAX_ENTRIES`] keys to values, in the order in which they came. Allocates with the first.
///
/// Slots are filled in order, and a slot once filled never changes. So whoever looks for a key looks at every entry that
/// is there before it comes to an empty slot, and only there may it put the key: no key is in twice.
#[derive(Debug)]
pub(super) struct Slots<K, V>(OnceLock<Box<Chunk<K, V>>>);

#[derive(Debug)]
struct Chunk<K, V> {
    slots: [OnceLock<Box<(K, V)>>; CHUNK],
    next: OnceLock<Box<Self>>,
}

impl<K, V> Slots<K, V> {
    pub(super) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The value of `key`, made by `make` if there is none yet; `None` when there is no room.
    pub(super) fn get_or_insert(&self, key: K, make: impl Fn() -> V) -> Option<&V>
    where
        K: Copy + Eq,
    {
        let mut chunk = self.0.get_or_init(Box::default);
        for _ in 0..MAX_ENTRIES / CHUNK {
            for slot in &chunk.slots {
                let (found, value) = &**slot.get_or_init(|| Box::new((key, make())));
                if *found == key {
                    return Some(value);
                }
            }
            chunk = chunk.next.get_or_init(Box::default);
        }
        None
    }

    /// Every entry, in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        std::iter::successors(self.0.get(), |chunk| chunk.next.get())
            .flat_map(|chunk| &chunk.slots)
            .map_while(OnceLock::get)
            .map(|entry| (&entry.0, &entry.1))
    }
}

impl<K, V> Default for Chunk<K, V> {
    fn default() -> Self {
        Self {
            slots: [const { OnceLock::new() }; CHUNK],
            next: OnceLock::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn each_key_has_one_value() {
        let slots: Slots<usize, AtomicUsize> = Slots::new();
        for _ in 0..3 {
            for key in 0..20 {
                let value = slots.get_or_insert(key, AtomicUsize::default).expect("room");
                value.fetch_add(key, Ordering::Relaxed);
            }
        }

        let entries: Vec<_> = slots
            .iter()
            .map(|(key, value)| (*key, value.load(Ordering::Relaxed)))
            .collect();
        assert_eq!(entries, (0..20).map(|key| (key, 3 * key)).collect::<Vec<_>>());
    }

    #[test]
    fn there_is_room_for_so_many_and_not_one_more() {
        let slots: Slots<usize, ()> = Slots::new();
        for key in 0..MAX_ENTRIES {
            assert!(slots.get_or_insert(key, || ()).is_some(), "{key}");
        }

        assert!(slots.get_or_insert(MAX_ENTRIES, || ()).is_none());
        assert!(
            slots.get_or_insert(0, || ()).is_some(),
            "those that are there stay"
        );
        assert_eq!(slots.iter().count(), MAX_ENTRIES);
    }

    #[test]
    fn no_key_is_in_twice_when_threads_insert_at_once() {
        let slots: Slots<usize, AtomicUsize> = Slots::new();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let slots = &slots;
                scope.spawn(move || {
                    for nth in 0..MAX_ENTRIES {
                        let key = (nth * (2 * thread + 1)) % MAX_ENTRIES;
                        let value = slots.get_or_insert(key, AtomicUsize::default).expect("room");
                        value.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });

        let mut keys: Vec<_> = slots.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        assert_eq!(keys, (0..MAX_ENTRIES).collect::<Vec<_>>());
        assert!(slots.iter().all(|(_, value)| value.load(Ordering::Relaxed) == 4));
    }
}
