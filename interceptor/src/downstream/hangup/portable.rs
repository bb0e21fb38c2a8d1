//! The watcher elsewhere: a duplicate of the socket's descriptor per watch, registered with the runtime, and a small
//! task that waits for its read side to close. More costly than the Linux one, and enough to develop on.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    task::AbortHandle,
};

use super::super::{connection::ConnectionState, connections::Connections, readable};

/// A registration: the task that waits.
#[derive(Debug)]
pub(in crate::downstream) struct Watch {
    task: AbortHandle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One worker's watcher.
#[derive(Debug)]
pub(in crate::downstream) struct HangupWatcher;

impl HangupWatcher {
    #[allow(clippy::unnecessary_wraps, reason = "as on Linux")]
    pub(in crate::downstream) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    #[allow(clippy::unused_self, reason = "as on Linux")]
    pub(super) fn watch(&self, connection: &Arc<ConnectionState>) -> io::Result<Watch> {
        let descriptor = connection.stream.as_fd().try_clone_to_owned()?;
        let descriptor = readable(descriptor)?;
        let connection = Arc::downgrade(connection);
        let task = tokio::spawn(async move {
            if read_closed(&descriptor).await.is_ok()
                && let Some(connection) = connection.upgrade()
            {
                connection.mark_left();
            }
        });
        Ok(Watch {
            task: task.abort_handle(),
        })
    }

    #[allow(clippy::unused_self, reason = "as on Linux")]
    pub(super) fn unwatch(&self, _connection: &ConnectionState, watch: Watch) {
        drop(watch);
    }

    #[allow(clippy::unused_async, reason = "as on Linux")]
    pub(in crate::downstream) async fn run(&self, _connections: &Connections) -> io::Result<()> {
        std::future::pending().await
    }
}

async fn read_closed(descriptor: &AsyncFd<OwnedFd>) -> io::Result<()> {
    loop {
        let mut ready = descriptor.ready(Interest::READABLE).await?;
        if ready.ready().is_read_closed() {
            return Ok(());
        }
        // Bytes came, and stay where they are.
        ready.clear_ready();
    }
}
