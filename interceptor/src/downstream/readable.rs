//! Registration of a descriptor that tokio has no type for.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// Registers `source` with this thread's runtime, for reading.
///
/// tokio prefers a constructor that is `unsafe`, because of sources that close their descriptor or change it while they
/// are registered. The ones here, owned sockets and epoll instances, do neither.
pub(crate) fn readable<T: AsFd + AsRawFd>(source: T) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "unsafe code is forbidden, and the deprecated constructor is sound for these sources"
    )]
    AsyncFd::with_interest(source, Interest::READABLE)
}
