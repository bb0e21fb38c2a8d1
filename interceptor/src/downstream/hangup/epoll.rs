//! The watcher on Linux: a second epoll instance per worker, itself an event source of the worker's runtime.
//!
//! The sockets stay registered with the runtime for reading and writing; here they are registered for the read side
//! closing only, so unread bytes wake nobody.

use std::{io, mem::MaybeUninit, os::fd::OwnedFd, sync::Arc};

use super::super::{connection::ConnectionState, connections::Connections, readable};
use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    io::Errno,
};

const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
/// Events taken per system call.
const BATCH: usize = 64;

/// A registration. It holds nothing: whoever holds it also holds the connection, and so the descriptor.
#[derive(Debug)]
pub(in crate::downstream) struct Watch;

/// One worker's watcher.
#[derive(Debug)]
pub(in crate::downstream) struct HangupWatcher {
    epoll: Arc<OwnedFd>,
}

impl HangupWatcher {
    pub(in crate::downstream) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Arc::new(epoll::create(CreateFlags::CLOEXEC)?),
        })
    }

    /// A client that has left already is reported too: the kernel looks when the socket is added.
    pub(super) fn watch(&self, connection: &Arc<ConnectionState>) -> io::Result<Watch> {
        epoll::add(
            &self.epoll,
            &connection.stream,
            EventData::new_u64(connection.key),
            // Once is enough, a client that left stays gone; and without it a level-triggered event would be reported
            // again and again until the request ends.
            EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR | EventFlags::ONESHOT,
        )?;
        Ok(Watch)
    }

    pub(super) fn unwatch(&self, connection: &ConnectionState, Watch: Watch) {
        // The socket is open, because the connection holds it, and registered, because there was a watch.
        let deleted = epoll::delete(&self.epoll, &connection.stream);
        debug_assert_eq!(deleted, Ok(()));
    }

    /// Wakes those whose client has left. Runs on the worker and ends with it.
    pub(in crate::downstream) async fn run(&self, connections: &Connections) -> io::Result<()> {
        let source = readable(Arc::clone(&self.epoll))?;
        loop {
            let mut ready = source.readable().await?;
            let mut events = [const { MaybeUninit::<Event>::uninit() }; BATCH];
            let taken = match epoll::wait(&self.epoll, &mut events, Some(&NOW)) {
                Ok((taken, _)) => taken,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for event in &*taken {
                // Not found: the connection ended after the kernel reported it.
                let data = event.data;
                if let Some(connection) = connections.get(data.u64()) {
                    connection.mark_left();
                }
            }
            if taken.len() < BATCH {
                // An event that comes after the wait is reported by the runtime's next turn, which is on this thread
                // and so later than this.
                ready.clear_ready();
            }
        }
    }
}
