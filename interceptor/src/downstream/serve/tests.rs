//! What a connection costs.

use std::mem::size_of;

use super::{super::testing::ByPath, *};

/// A task grows silently, and there is one per connection. Its state, hyper's included, without what hyper allocates
/// aside: the boxed request in progress, its read buffer and headers.
#[test]
fn a_connection_task_stays_small() {
    let task = size_of::<ConnectionTask<ByPath>>();
    let state = size_of::<ConnectionState>();
    let http2 = size_of::<Http2Connection<ByPath>>();
    assert!(task <= 704, "task {task} B");
    assert!(state <= 256, "state {state} B");
    assert!(http2 <= 1536, "HTTP/2 connection {http2} B");
}
