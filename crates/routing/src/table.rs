//! The immutable view of all routes. Made by the index, published by its owner, read by every request.

use std::sync::Arc;

use ahash::RandomState;
use http::HeaderMap;

use crate::{
    HostPattern,
    host::{MAX_HOST_BYTES, bare_name, is_pattern},
    host_table::HostTable,
    path::RequestPath,
};

/// How many shards the hosts are spread over. A change copies one shard and this many pointers (microseconds), and at
/// 100,000 hosts a shard has a hundred.
pub(crate) const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 10;

/// Hosts of one shard, in the order of their hashes. A name and the wildcard below it have the same hash.
pub(crate) type Shard<T> = Arc<[Slot<T>]>;

#[derive(Debug)]
pub(crate) struct Slot<T> {
    pub(crate) hash: u64,
    pub(crate) host: Arc<HostTable<T>>,
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self {
            hash: self.hash,
            host: self.host.clone(),
        }
    }
}

/// Which route each request belongs to, as of one moment. See the [crate's documentation](crate) for the rules.
///
/// Its hosts are in shards that later tables share as long as they do not change.
#[derive(Debug)]
pub struct RouteTable<T> {
    /// Keyed at random per index: clients choose the hosts that are looked up, tenants those that are stored.
    pub(crate) hasher: RandomState,
    pub(crate) shards: Box<[Shard<T>]>,
    pub(crate) wildcard_depths: WildcardDepths,
    pub(crate) catch_all: Option<Arc<HostTable<T>>>,
}

impl<T> RouteTable<T> {
    /// The value of the route that a request belongs to.
    ///
    /// `host` is the `Host` header or the authority, with or without a port; `path` the request's path as it was sent.
    ///
    /// Does not allocate, except where a path has escapes and a host has a prefix of more than 256 bytes. The work is
    /// bounded by what is stored, whatever the client sends: one hash of the host for its exact name and one for each
    /// number of labels that some wildcard has; for each host found, a binary search among its prefixes and the header
    /// matches of those that begin the path. A host of more than 253 bytes is not looked at further and matches a
    /// catch-all only.
    pub fn lookup(&self, host: &str, path: &str, headers: &HeaderMap) -> Option<&T> {
        let path = RequestPath::new(path);
        let name = bare_name(host);
        let found = if name.len() > MAX_HOST_BYTES || is_pattern(name) {
            None
        } else if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            let mut buffer = [0; MAX_HOST_BYTES];
            let lower_case = &mut buffer[..name.len()];
            lower_case.copy_from_slice(name.as_bytes());
            lower_case.make_ascii_lowercase();
            self.find_by_name(lower_case, path, headers)
        } else {
            self.find_by_name(name.as_bytes(), path, headers)
        };
        found.or_else(|| self.catch_all.as_ref()?.find(path, headers))
    }

    /// Tries the exact host and then the wildcards above it, the longest first.
    fn find_by_name(&self, name: &[u8], path: RequestPath<'_>, headers: &HeaderMap) -> Option<&T> {
        let exact =
            |pattern: &HostPattern| matches!(pattern, HostPattern::Exact(own) if own.as_bytes() == name);
        if let Some(value) = self.host(name, exact).and_then(|host| host.find(path, headers)) {
            return Some(value);
        }
        if self.wildcard_depths.is_empty() {
            return None;
        }
        let mut depth = depth(name);
        name.iter().enumerate().filter(|(_, byte)| **byte == b'.').find_map(|(dot, _)| {
            depth -= 1;
            // An empty label in front is no host below the name.
            if dot == 0 || !self.wildcard_depths.contains(depth) {
                return None;
            }
            let parent = &name[dot + 1..];
            let wildcard =
                |pattern: &HostPattern| matches!(pattern, HostPattern::Wildcard(own) if own.as_bytes() == parent);
            self.host(parent, wildcard)?.find(path, headers)
        })
    }

    fn host(&self, name: &[u8], is_it: impl Fn(&HostPattern) -> bool) -> Option<&HostTable<T>> {
        let hash = self.hash(name);
        let shard = &self.shards[shard_of(hash)];
        shard[shard.partition_point(|slot| slot.hash < hash)..]
            .iter()
            .take_while(|slot| slot.hash == hash)
            .map(|slot| &*slot.host)
            .find(|host| is_it(&host.pattern))
    }

    pub(crate) fn hash(&self, name: &[u8]) -> u64 {
        self.hasher.hash_one(name)
    }
}

/// A table without routes.
impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        let empty: Shard<T> = Arc::new([]);
        Self {
            hasher: RandomState::new(),
            shards: vec![empty; SHARDS].into(),
            wildcard_depths: WildcardDepths::default(),
            catch_all: None,
        }
    }
}

pub(crate) fn shard_of(hash: u64) -> usize {
    (hash >> (u64::BITS - SHARD_BITS)) as usize
}

/// The number of labels in a name.
pub(crate) fn depth(name: &[u8]) -> usize {
    name.split(|byte| *byte == b'.').count()
}

/// The numbers of labels that stored wildcards have, so that a host of many labels costs no more look-ups than there
/// are different ones. The deepest bit stands for all depths beyond it too; a DNS name has at most 127 labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WildcardDepths(u128);

impl WildcardDepths {
    pub(crate) const COUNT: usize = u128::BITS as usize;

    pub(crate) fn bit(depth: usize) -> usize {
        depth.min(Self::COUNT - 1)
    }

    pub(crate) fn insert(&mut self, depth: usize) {
        self.0 |= 1 << Self::bit(depth);
    }

    fn contains(self, depth: usize) -> bool {
        self.0 & (1 << Self::bit(depth)) != 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}
