//! Everything served on one host, immutable. Built by the index when a claim on the host changes, read by lookups.

use std::{collections::BTreeSet, sync::Arc};

use http::HeaderMap;

use crate::{
    Conflict, ConflictKind, HostOwnership, HostPattern,
    header_set::HeaderSet,
    path::{RequestPath, prefix_of_key},
    route::{ByAge, Route},
};

/// A decoded path up to this length needs no allocation. Longer ones are rare: it is the length of the host's longest
/// prefix that counts.
const STACK_PATH_BYTES: usize = 256;

const NO_PARENT: u32 = u32::MAX;

/// The routes of one host.
///
/// The prefixes are sorted, and each knows the longest other one that it begins with. The longest prefix of a path is
/// then its predecessor in the order or one of that one's ancestors, so that the work per path grows with the stored
/// prefixes (the logarithm of their number, their length and the depth to which they nest) and never with the number of
/// slashes that a client sends.
#[derive(Debug)]
pub(crate) struct HostTable<T> {
    pub(crate) pattern: HostPattern,
    /// The length of the longest key. More of a path is neither read nor decoded.
    longest: usize,
    prefixes: Box<[Prefix]>,
    /// By prefix, and within a prefix in the order in which they are tried.
    entries: Box<[Entry<T>]>,
}

#[derive(Debug)]
struct Prefix {
    key: Arc<str>,
    /// The longest other prefix that this one begins with.
    parent: u32,
    /// Where this prefix's entries end and the next one's begin.
    entries_end: u32,
}

#[derive(Debug)]
struct Entry<T> {
    headers: Option<Arc<HeaderSet>>,
    value: T,
}

impl<T> HostTable<T> {
    /// The first route whose path and headers match: the longest prefix first.
    pub(crate) fn find(&self, path: RequestPath<'_>, headers: &HeaderMap) -> Option<&T> {
        if self.longest == 0 {
            // The only prefix is `/`.
            return first_match(&self.entries, headers);
        }
        if let Some(head) = path.plain_head(self.longest) {
            return self.find_decoded(head, headers);
        }
        if self.longest <= STACK_PATH_BYTES {
            let mut head = [0; STACK_PATH_BYTES];
            self.find_decoded(path.decode_head(&mut head[..self.longest]), headers)
        } else {
            self.find_decoded(path.decode_head(&mut vec![0; self.longest]), headers)
        }
    }

    /// As [`find`](Self::find), with the first [`longest`](Self::longest) bytes of the decoded path.
    fn find_decoded(&self, head: &[u8], headers: &HeaderMap) -> Option<&T> {
        let mut at = self
            .prefixes
            .partition_point(|prefix| is_at_most(prefix.key.as_bytes(), head))
            .checked_sub(1)?;
        let common = common_length(self.prefixes[at].key.as_bytes(), head);
        loop {
            let prefix = &self.prefixes[at];
            // What begins both the predecessor and the path begins the path.
            if prefix.key.len() <= common {
                let matching = first_match(self.entries_of(at), headers);
                if matching.is_some() {
                    return matching;
                }
            }
            if prefix.parent == NO_PARENT {
                return None;
            }
            at = prefix.parent as usize;
        }
    }

    fn entries_of(&self, at: usize) -> &[Entry<T>] {
        let start = at
            .checked_sub(1)
            .map_or(0, |before| self.prefixes[before].entries_end);
        &self.entries[start as usize..self.prefixes[at].entries_end as usize]
    }
}

fn first_match<'a, T>(entries: &'a [Entry<T>], headers: &HeaderMap) -> Option<&'a T> {
    let matches = |entry: &&Entry<T>| entry.headers.as_ref().is_none_or(|set| set.matches(headers));
    entries.iter().find(matches).map(|entry| &entry.value)
}

/// Whether a key sorts before a path and its final slash, or is equal to them. A head cut off at the longest key
/// compares as the whole path would.
fn is_at_most(key: &[u8], head: &[u8]) -> bool {
    let shared = key.len().min(head.len());
    key[..shared]
        .cmp(&head[..shared])
        .then_with(|| key[shared..].cmp(b"/"))
        .is_le()
}

/// How many bytes a key and a path with its final slash have in common.
fn common_length(key: &[u8], head: &[u8]) -> usize {
    let shared = key.iter().zip(head).take_while(|(a, b)| a == b).count();
    shared + usize::from(shared == head.len() && key.get(shared) == Some(&b'/'))
}

/// One claim of one path, before it is known whether it is served.
struct Candidate<'a, T> {
    key: &'a Arc<str>,
    headers: Option<&'a Arc<HeaderSet>>,
    age: usize,
    route: &'a Route<T>,
}

impl<T: Clone> HostTable<T> {
    /// Builds the table of a host from all routes that claim it, the oldest first, and says what it does not serve.
    /// Costs `n log n` in the claims on the host.
    pub(crate) fn build(
        pattern: &HostPattern,
        claimants: &BTreeSet<ByAge<T>>,
        ownership: HostOwnership,
    ) -> (Self, Vec<Conflict>) {
        let conflict = |kind, key: &str, route: &Route<T>, serving: &Route<T>| Conflict {
            host: pattern.clone(),
            path: prefix_of_key(key).into(),
            route: route.id.clone(),
            serving: serving.id.clone(),
            kind,
        };
        let mut conflicts = Vec::new();
        let mut candidates = Vec::with_capacity(claimants.len());
        let owner = claimants.first().map(|oldest| &oldest.0);
        for (age, ByAge(route)) in claimants.iter().enumerate() {
            let other_owner = match (ownership, owner) {
                (HostOwnership::FirstNamespace, Some(owner)) if owner.id.namespace != route.id.namespace => {
                    Some(owner)
                }
                _ => None,
            };
            for claim in route.claims_on(pattern) {
                if let Some(owner) = other_owner {
                    let paths = claim.paths.iter();
                    conflicts.extend(paths.map(|key| conflict(ConflictKind::HostOwned, key, route, owner)));
                } else {
                    let headers = claim.headers.as_ref();
                    candidates.extend(claim.paths.iter().map(|key| Candidate {
                        key,
                        headers,
                        age,
                        route,
                    }));
                }
            }
        }

        candidates.sort_unstable_by(|a, b| (a.key, a.headers, a.age).cmp(&(b.key, b.headers, b.age)));
        candidates.dedup_by(|later, served| {
            let is_same = (later.key, later.headers) == (served.key, served.headers);
            if is_same && later.age != served.age {
                conflicts.push(conflict(
                    ConflictKind::SameMatch,
                    later.key,
                    later.route,
                    served.route,
                ));
            }
            is_same
        });
        conflicts.sort_unstable();
        conflicts.dedup();

        (Self::from_served(pattern.clone(), candidates), conflicts)
    }

    fn from_served(pattern: HostPattern, mut served: Vec<Candidate<'_, T>>) -> Self {
        let specificity = |of: &Candidate<'_, T>| HeaderSet::specificity(of.headers.map(AsRef::as_ref));
        served.sort_by(|a, b| {
            a.key
                .cmp(b.key)
                .then_with(|| specificity(b).cmp(&specificity(a)))
                .then_with(|| a.age.cmp(&b.age))
        });
        let mut prefixes: Vec<Prefix> = Vec::new();
        let mut ancestors: Vec<u32> = Vec::new();
        let mut entries_end = 0;
        for group in served.chunk_by(|a, b| a.key == b.key) {
            let key = group[0].key;
            let begins_key = |at: u32, prefixes: &[Prefix]| key.starts_with(&*prefixes[at as usize].key);
            while ancestors
                .pop_if(|nearest| !begins_key(*nearest, &prefixes))
                .is_some()
            {}
            entries_end += group.len() as u32;
            prefixes.push(Prefix {
                key: key.clone(),
                parent: ancestors.last().copied().unwrap_or(NO_PARENT),
                entries_end,
            });
            ancestors.push(prefixes.len() as u32 - 1);
        }
        Self {
            pattern,
            longest: prefixes.iter().map(|prefix| prefix.key.len()).max().unwrap_or(0),
            prefixes: prefixes.into(),
            entries: served
                .into_iter()
                .map(|candidate| Entry {
                    headers: candidate.headers.cloned(),
                    value: candidate.route.value.clone(),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{mem::size_of, sync::Arc};

    use super::{Entry, Prefix};

    #[test]
    fn what_there_is_one_of_per_claim_stays_small() {
        assert_eq!(size_of::<Prefix>(), 24);
        assert_eq!(size_of::<Entry<Arc<()>>>(), 16);
    }
}
