//! Local ports for replicas.
//!
//! The kernel picks a free port of 127.0.0.1; it is then reserved here, so that two replicas that start at once never
//! get the same one although neither listens yet. Another program may still take it in between: a replica gets new
//! ports with every start, so its next start is not spoilt too.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use parking_lot::Mutex;

/// The kernel offers a reserved port only when nobody listens on it yet; it does not offer the same one for ever.
const ATTEMPTS: usize = 64;

/// Hands out ports. Clones share what is reserved.
#[derive(Debug, Clone, Default)]
pub struct PortAllocator {
    reserved: Arc<Mutex<HashSet<u16>>>,
}

/// Reserved ports, given back when this is dropped.
#[derive(Debug)]
pub struct PortsGuard {
    ports: Vec<u16>,
    allocator: PortAllocator,
}

impl PortAllocator {
    /// Reserves `count` different free ports.
    ///
    /// # Errors
    /// When the kernel has none left.
    pub fn reserve(&self, count: usize) -> io::Result<PortsGuard> {
        let mut guard = PortsGuard {
            ports: Vec::with_capacity(count),
            allocator: self.clone(),
        };
        for _ in 0..count {
            guard.ports.push(self.reserve_one()?);
        }
        Ok(guard)
    }

    fn reserve_one(&self) -> io::Result<u16> {
        for _ in 0..ATTEMPTS {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            if self.reserved.lock().insert(port) {
                return Ok(port);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "no free port on 127.0.0.1",
        ))
    }
}

impl PortsGuard {
    /// The ports, in the order asked for.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }
}

impl Drop for PortsGuard {
    fn drop(&mut self) {
        let mut reserved = self.allocator.reserved.lock();
        for port in &self.ports {
            reserved.remove(port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_different_and_given_back() {
        let allocator = PortAllocator::default();
        let first = allocator.reserve(20).unwrap();
        let second = allocator.reserve(20).unwrap();
        let all: HashSet<_> = first.ports().iter().chain(second.ports()).collect();
        assert_eq!(all.len(), 40);
        drop((first, second));
        assert!(allocator.reserved.lock().is_empty());
    }
}
