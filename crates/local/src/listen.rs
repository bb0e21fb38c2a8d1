//! Which addresses to listen on: what was asked for, or the default and, where that is taken, the next free port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// How far from the default to look for a free port.
const PORTS_TRIED: u16 = 100;

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// What was asked for cannot be had.
    #[error("{flag} {address}")]
    AskedFor {
        flag: &'static str,
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// Two flags name the same address.
    #[error("{flag} {address}: the same address as {other}")]
    Twice {
        flag: &'static str,
        other: &'static str,
        address: SocketAddr,
    },
    /// The default and all after it are taken.
    #[error("{flag}: no port from {first} to {last} of 127.0.0.1 is free")]
    NoneFree {
        flag: &'static str,
        first: u16,
        last: u16,
    },
}

/// Finds an address for each flag (its name, what the user gave, the default port). The addresses are free at this
/// moment and different from each other.
pub(crate) fn choose<const N: usize>(
    flags: [(&'static str, Option<SocketAddr>, u16); N],
) -> Result<[SocketAddr; N], ListenError> {
    let mut chosen: Vec<(&'static str, SocketAddr)> = Vec::new();
    // Those that leave no choice come first.
    for (flag, asked_for, _) in flags {
        let Some(address) = asked_for else { continue };
        if let Some((other, _)) = chosen
            .iter()
            .find(|(_, it)| overlap(*it, address) && address.port() != 0)
        {
            return Err(ListenError::Twice { flag, other, address });
        }
        TcpListener::bind(address).map_err(|source| ListenError::AskedFor {
            flag,
            address,
            source,
        })?;
        chosen.push((flag, address));
    }
    for (flag, asked_for, first) in flags {
        if asked_for.is_some() {
            continue;
        }
        let last = first.saturating_add(PORTS_TRIED);
        let address = (first..=last)
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .find(|address| {
                chosen.iter().all(|(_, other)| other.port() != address.port())
                    && TcpListener::bind(address).is_ok()
            })
            .ok_or(ListenError::NoneFree { flag, first, last })?;
        chosen.push((flag, address));
    }
    Ok(flags.map(|(flag, _, first)| {
        let found = chosen
            .iter()
            .find(|(name, _)| *name == flag)
            .map(|(_, address)| *address);
        found.unwrap_or((Ipv4Addr::LOCALHOST, first).into())
    }))
}

/// Whether who listens on one cannot listen on the other.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[test]
    fn a_taken_default_gives_way_to_the_next_free_port() {
        let (_listener, address) = taken();
        let [first, second] = choose([("--a", None, address.port()), ("--b", None, address.port())]).unwrap();
        assert!(first.port() > address.port());
        assert!(second.port() > first.port());
    }

    #[test]
    fn a_port_asked_for_and_taken_is_an_error() {
        let (_listener, address) = taken();
        let error = choose([("--listen", Some(address), 8080)]).unwrap_err();
        assert_eq!(error.to_string(), format!("--listen {address}"));
        assert!(
            matches!(error, ListenError::AskedFor { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
        );
    }

    #[test]
    fn the_same_address_twice_is_an_error() {
        let (listener, address) = taken();
        drop(listener);
        let error = choose([
            ("--listen", Some(address), 8080),
            ("--admin", Some(address), 9090),
        ])
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("--admin {address}: the same address as --listen")
        );
    }

    #[test]
    fn all_addresses_and_one_of_them_are_the_same() {
        let (listener, address) = taken();
        drop(listener);
        let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        let error = choose([("--listen", Some(all), 8080), ("--admin", Some(address), 9090)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("--admin {address}: the same address as --listen")
        );
    }

    #[test]
    fn a_default_avoids_what_was_asked_for() {
        let (listener, address) = taken();
        drop(listener);
        let [admin, listen] =
            choose([("--admin", None, address.port()), ("--listen", Some(address), 1)]).unwrap();
        assert_eq!(listen, address);
        assert_ne!(admin.port(), address.port());
    }
}
